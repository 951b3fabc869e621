"""A WebSocket library at both ends: the data of its client and server are forwarded unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin as PageOrigin

from tests.conftest import Start
from tests.support.live import Live
from tests.support.waiting import PATIENCE_S, until
from tests.support.websocket import MIB, Application, serving


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with serving() as application:
        yield application


@pytest.fixture(scope="module")
def live(deploy: Start, application: Application) -> Live:
    live = deploy(application.url, workers=2)
    for name in ("alice", "bob"):
        live.add_user(name)
    return live


@pytest.fixture(scope="module")
def cookie(live: Live) -> str:
    return live.login("alice").partition(": ")[2]


def visit(live: Live, cookie: str | None, path: str = "/", **more: Any) -> ClientConnection:
    headers = {} if cookie is None else {"Cookie": cookie}
    options: dict[str, Any] = {"additional_headers": headers, "proxy": None, "max_size": 8 * MIB}
    options |= {"open_timeout": PATIENCE_S, "ping_timeout": PATIENCE_S} | more
    return connect(f"ws://{live.host}{path}", **options)


def test_messages_of_every_kind_and_size_are_echoed(live: Live, cookie: str) -> None:
    with visit(live, cookie) as socket:
        for message in ("", "gruß", b"\x00\xff", "x" * MIB, bytes(MIB), "y" * (5 * MIB)):
            socket.send(message)
            assert socket.recv() == message
        for number in range(200):
            socket.send(str(number))
        assert [socket.recv() for _ in range(200)] == [str(number) for number in range(200)]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_fragments_and_extensions_pass(live: Live, cookie: str, compression: str | None) -> None:
    with visit(live, cookie, compression=compression) as socket:
        names = [type(extension).__name__ for extension in socket.protocol.extensions]
        assert names == (["PerMessageDeflate"] if compression else [])
        socket.send(["a" * 1000, "b", "", "c" * 100_000])
        assert socket.recv() == "a" * 1000 + "b" + "c" * 100_000


def test_an_incomplete_message_is_not_delivered(
    live: Live, application: Application, cookie: str
) -> None:
    ended = len(application.ends)
    with visit(live, cookie) as socket:
        frame = bytes([0x80 | Opcode.TEXT, 0x80 | 100, 1, 2, 3, 4]) + b"x" * 50
        socket.socket.sendall(frame)
        socket.socket.shutdown(2)
        until(lambda: 1006 in (code for code, _ in application.ends[ended:]))


# Access


def refusal(live: Live, cookie: str | None, **more: object) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as refused, visit(live, cookie, **more):  # type: ignore[arg-type]
        pass
    return refused.value


def test_a_client_without_a_session_gets_an_ordinary_401(
    live: Live, application: Application
) -> None:
    response = refusal(live, None).response
    assert response.status_code == 401
    assert json.loads(response.body or b"")["error"] == "unauthenticated"
    assert "" not in application.users


def test_a_page_of_another_site_gets_403(live: Live, cookie: str) -> None:
    """Cross-site WebSocket hijacking: the browser also sends the cookie for pages of other
    sites."""
    evil = refusal(live, cookie, origin=PageOrigin("https://evil.example")).response
    assert evil.status_code == 403
    assert json.loads(evil.body or b"")["error"] == "cross_origin"
    with visit(live, cookie, origin=PageOrigin(f"http://{live.host}")) as socket:
        socket.send("mine")
        assert socket.recv() == "mine"


# Promise 3


@pytest.mark.parametrize("ending", ["revoke", "ban"])
def test_an_open_websocket_is_closed_with_its_session(live: Live, ending: str) -> None:
    mine = live.login("bob").partition(": ")[2]
    other = live.login("alice").partition(": ")[2]
    with ExitStack() as stack:
        sockets = [stack.enter_context(visit(live, mine)) for _ in range(6)]
        stays = stack.enter_context(visit(live, other))
        for socket in (*sockets, stays):
            socket.send("here")
            assert socket.recv() == "here"
        if ending == "revoke":
            listed = json.loads(live.command("session", "list", "--user", "bob", "--json").stdout)
            done = live.command("session", "revoke", listed[0]["id"])
        else:
            done = live.command("user", "ban", "bob")
        assert done.returncode == 0, done.stderr
        for socket in sockets:
            with pytest.raises(ConnectionClosed):
                socket.recv(PATIENCE_S)
            assert socket.close_code == 1006
        stays.send("still here")
        assert stays.recv() == "still here"
    assert refusal(live, mine).response.status_code == 401
