"""Calls an ASGI application like a server."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.wire import Answer, Header


def scope(
    target: bytes | str = "/",
    headers: list[Header] | None = None,
    method: str = "GET",
    peer: str = "192.0.2.1",
) -> dict[str, Any]:
    """An ASGI scope with exactly this target, as built by other servers than Doorward's own."""
    raw = target.encode("latin-1") if isinstance(target, str) else target
    path, _, query = raw.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"app.test")] if headers is None else headers,
        "client": (peer, 50000) if peer else None,
        "server": ("127.0.0.1", 80),
    }


async def ask(app: Any, scope: dict[str, Any], *pieces: bytes) -> Answer:
    """The answer of an ASGI application; `pieces` are the request's body."""
    todo = [
        {"type": "http.request", "body": piece, "more_body": at < len(pieces)}
        for at, piece in enumerate(pieces or (b"",), 1)
    ]
    return await _ask(app, scope, todo)


async def leave(app: Any, scope: dict[str, Any], piece: bytes) -> Answer:
    """The answer to a client that disconnects after this piece of its body."""
    begun = {"type": "http.request", "body": piece, "more_body": True}
    return await _ask(app, scope, [begun, {"type": "http.disconnect"}])


async def _ask(app: Any, scope: dict[str, Any], todo: list[dict[str, Any]]) -> Answer:
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if todo:
            return todo.pop(0)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody sets a result")

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, send)
    start, *bodies = said
    lines = b"".join(b"%b: %b\r\n" % line for line in start["headers"])
    head = b"HTTP/1.1 %d \r\n%b\r\n" % (start["status"], lines)
    whole = bool(bodies) and not bodies[-1].get("more_body", False)
    return Answer(head, b"".join(message.get("body", b"") for message in bodies), whole)
