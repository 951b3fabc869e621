"""The gate as a whole: any error on the way to a decision counts as no session (promise 1)."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from doorward.accounts.sessions.live import CONFIRMATION_S
from doorward.gate.credentials import CredentialReader
from doorward.gate.gate import Gate
from doorward.gate.identify import Identify

from tests.support.asgi import scope
from tests.support.front import Build, Front
from tests.support.origin import OK, Origin, answering
from tests.support.wire import values_of


def break_storage(front: Front, folder: Any) -> None:
    """Make every query fail from now on."""
    with closing(sqlite3.connect(folder / "doorward.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in tables.fetchall():
            if not name.startswith("sqlite_"):
                connection.execute(f'ALTER TABLE "{name}" RENAME TO "gone_{name}"')
    front.clock.now += CONFIRMATION_S


async def test_a_storage_failure_answers_503_instead_of_401(front: Front, tmp_path: Any) -> None:
    """A 401 would make a program discard its token."""
    session = front.cookie(await front.opened())
    assert (await front.get("/", session)).status == 200
    break_storage(front, tmp_path)
    answer = await front.get("/", session)
    assert (answer.status, answer.values(b"retry-after")) == (503, [b"5"])
    assert json.loads(answer.body)["error"] == "storage_unavailable"
    navigates = (b"sec-fetch-mode", b"navigate"), (b"accept", b"text/html")
    page = await front.get("/", session, *navigates)
    assert page.status == 503 and page.values(b"content-type")[0].startswith(b"text/html")
    assert len(front.origin.heads) == 1


async def test_a_storage_failure_does_not_affect_requests_without_a_carrier(
    front: Front, tmp_path: Any
) -> None:
    break_storage(front, tmp_path)
    assert (await front.get("/")).status == 401
    assert (await front.get("/", (b"cookie", b"doorward=forged.signature"))).status == 401


async def test_a_storage_failure_leaves_public_paths_without_identity(
    front: Front, tmp_path: Any
) -> None:
    session = front.cookie(await front.opened())
    break_storage(front, tmp_path)
    assert (await front.get("/public/", session)).status == 200
    assert values_of(front.origin.heads[-1], b"remote-user") == []


@pytest.mark.parametrize(
    ("part", "step"), [(Identify, "peek"), (Identify, "ask"), (CredentialReader, "_read_cookie")]
)
async def test_an_error_while_identifying_forwards_nothing(
    front: Front, monkeypatch: pytest.MonkeyPatch, part: type, step: str
) -> None:
    """CVE-2021-32637, CVE-2024-47070, CVE-2026-25748: an error counted as permission."""

    def fail(*anything: object) -> None:
        raise ZeroDivisionError

    session = front.cookie(await front.opened())
    monkeypatch.setattr(part, step, fail)
    for path in ("/", "/public/"):
        answer = await front.get(path, session)
        assert answer.status == 500
        assert b"ZeroDivisionError" not in answer.body
    assert front.origin.heads == []


async def test_an_error_while_judging_forwards_nothing(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*anything: object) -> None:
        raise KeyError

    monkeypatch.setattr(Gate, "_judge", fail)
    assert (await front.get("/public/")).status == 500
    assert front.origin.heads == []


async def test_a_websocket_cannot_bypass_the_rules(front: Front) -> None:
    """CVE-2024-28179: the path of the WebSocket had no authentication."""
    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    websocket = scope("/") | {"type": "websocket", "scheme": "ws"}
    await front.app(websocket, receive, send)
    assert [message["type"] for message in said] == ["websocket.close"]
    assert front.origin.wires == []


async def test_concurrent_requests_keep_their_own_users(front: Front) -> None:
    """CVE-2026-33544, CVE-2026-71326: state shared between concurrent requests."""
    names = [f"user{number}" for number in range(5)]
    cookies = {name: front.cookie(await front.opened(name)) for name in names}

    async def one(name: str) -> None:
        assert (await front.get(f"/{name}", cookies[name])).status == 200

    await asyncio.gather(*(one(name) for name in names * 10))
    assert len(front.origin.heads) == 50
    for head in front.origin.heads:
        assert values_of(head, b"remote-user") == [head.split(b" ")[1][1:]]


async def test_a_request_is_forwarded_unchanged(front: Front) -> None:
    headers = [
        (b"accept", b"*/*"),
        (b"x-twice", b"1"),
        (b"cookie", b"a=1"),
        (b"x-twice", b"2"),
        (b"x-bytes", b"\xff\xfe"),
        (b"user-agent", b"test"),
    ]
    assert (await front.get("/public/x?y", *headers, method="DELETE")).status == 200
    head = front.origin.heads[0]
    assert head.startswith(b"DELETE /public/x?y HTTP/1.1\r\nhost: app.test\r\n")
    assert values_of(head, b"x-twice") == [b"1", b"2"]
    assert values_of(head, b"x-bytes") == [b"\xff\xfe"]


@pytest.mark.parametrize("peer", ["10.0.0.1", "192.0.2.1"])
async def test_only_a_trusted_peers_chain_is_forwarded(fronts: Build, peer: str) -> None:
    """CVE-2026-35051, CVE-2026-54764: X-Forwarded-Port and -Prefix were not rebuilt."""
    front = await fronts(
        trusted_proxies=["10.0.0.0/8"],
        trusted_headers=["x-forwarded-port", "x-forwarded-prefix"],
        access={"default": "public"},
    )
    said = {
        b"x-forwarded-for": b"203.0.113.9",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"wiki.test:444",
        b"x-forwarded-port": b"444",
        b"x-forwarded-prefix": b"/wiki",
        b"x-request-id": b"abc",
    }
    assert (await front.get("/", *said.items(), peer=peer)).status == 200
    head = front.origin.heads[0]
    got = {name: values_of(head, name) for name in said}
    if peer == "10.0.0.1":
        said[b"x-forwarded-for"] = b"203.0.113.9, 10.0.0.1"
        assert got == {name: [value] for name, value in said.items()}
        assert values_of(head, b"x-real-ip") == [b"203.0.113.9"]
    else:
        assert got[b"x-forwarded-for"] == [b"192.0.2.1"]
        assert got[b"x-forwarded-proto"] == [b"http"]
        assert got[b"x-forwarded-host"] == [b"app.test"]
        assert got[b"x-forwarded-port"] == [b"80"]
        assert got[b"x-forwarded-prefix"] == []
        assert got[b"x-request-id"] != [b"abc"]


async def test_an_answer_cannot_set_doorwards_cookie(fronts: Build) -> None:
    answer = OK.replace(
        b"OK\r\n", b"OK\r\nSet-Cookie: doorward=evil\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    )
    with Origin((answering(answer),)) as origin:
        front = await fronts(routes=[{"upstream": origin.url}], access={"default": "public"})
        got = await front.get("/")
    assert got.values(b"set-cookie") == [b"a=1", b"b=2"]


async def test_tokens_are_never_logged(
    front: Front, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """CVE-2022-23469, CVE-2022-24757: credentials in logs."""
    opened = await front.opened()
    for headers in ([front.cookie(opened)], [(b"authorization", opened.token.encode())]):
        await front.get("/x" * 5000, *headers)
        await front.get("/../", *headers)
    front.origin.__exit__(None)
    await front.get("/", front.cookie(opened))
    captured = capsys.readouterr()
    assert opened.token not in captured.out + captured.err + caplog.text
