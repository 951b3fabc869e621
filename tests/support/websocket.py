"""An application with WebSockets, based on a third-party library."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.support.waiting import PATIENCE_S

MIB = 1 << 20
FLOOD = 200  # messages of a MiB: more than should be buffered


@dataclass
class Application:
    """Echoes, acts according to the path, and records connections and how each ended."""

    url: str = ""
    sent: int = 0
    users: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    heads: list[Headers] = field(default_factory=list)
    ends: list[tuple[int | None, str | None]] = field(default_factory=list)

    def serve(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        self.users.append(request.headers.get("Remote-User", ""))
        self.heads.append(request.headers)
        self.paths.append(request.path)
        try:
            self._answer(connection, request.path)
        except ConnectionClosed:
            pass
        self.ends.append((connection.close_code, connection.close_reason))

    def _answer(self, connection: ServerConnection, path: str) -> None:
        if path.startswith("/close/"):
            connection.close(int(path.removeprefix("/close/")), "as you wish")
        elif path == "/abrupt":
            connection.socket.shutdown(2)
        elif path == "/pieces":
            connection.send(["gr", "uß", ""])
        elif path == "/large":
            with contextlib.suppress(ConnectionClosed):
                connection.send(bytes(3 * MIB))
        elif path == "/flood":
            for _ in range(FLOOD):
                connection.send(bytes(MIB))
                self.sent += 1
        elif path == "/invalid":
            connection.socket.sendall(bytes([0x81, 1, 0xFF]))
        elif path == "/ping":
            assert connection.ping(b"are you there?").wait(PATIENCE_S)
            connection.send("yes")
        for message in connection:
            connection.send(message)


def chosen(connection: ServerConnection, asked: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((name for name in ("chat", "talk") if name in asked), None)  # type: ignore[return-value]


def refused(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/teapot":
        return connection.respond(418, "no tea\n")
    return None


@contextlib.contextmanager
def serving() -> Iterator[Application]:
    """An application that runs in a thread."""
    application = Application()
    with serve(
        application.serve,
        "127.0.0.1",
        0,
        select_subprotocol=chosen,
        process_request=refused,
        max_size=8 * MIB,
        open_timeout=PATIENCE_S,
    ) as server:
        host, port = server.socket.getsockname()
        application.url = f"http://{host}:{port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield application
        server.shutdown()
        thread.join(PATIENCE_S)
