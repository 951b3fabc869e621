"""WebSockets with a library at both ends, under Doorward's own server and under any other ASGI
server.

Doorward's own server forwards every byte unchanged. Under others, messages are forwarded, and each
side has its own handshake, pings and extensions. If the session ends, a WebSocket is closed with
1008 there, and without a close frame under Doorward's own server.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin as PageOrigin
from websockets.typing import Subprotocol

from tests.conftest import Start
from tests.support.live import Live
from tests.support.origin import Origin
from tests.support.servers import EVERY, OWN
from tests.support.waiting import PATIENCE_S, until
from tests.support.websocket import FLOOD, MIB, Application, serving
from tests.support.wire import Wire, get

# A second, with a margin for a busy machine.
CLOSED_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with serving() as application:
        yield application


@pytest.fixture(scope="module", params=EVERY)
def live(deploy: Start, application: Application, request: pytest.FixtureRequest) -> Live:
    limits = {"message_bytes": "2MiB", "tunnels": 4}
    live = deploy(application.url, server=request.param, limits=limits)
    live.add_user("alice")
    return live


@pytest.fixture(scope="module")
def cookie(live: Live) -> str:
    return live.login("alice").partition(": ")[2]


def visit(live: Live, cookie: str | None, path: str = "/", **more: object) -> ClientConnection:
    headers = {} if cookie is None else {"Cookie": cookie}
    options: dict[str, object] = {"proxy": None, "max_size": 8 * MIB, "open_timeout": PATIENCE_S}
    options |= {"additional_headers": headers, **more}
    return connect(f"ws://{live.host}{path}", **options)  # type: ignore[arg-type]


def status(live: Live, cookie: str | None, path: str = "/", **more: object) -> int:
    """The status of the answer to a refused handshake."""
    with pytest.raises(InvalidStatus) as refused, visit(live, cookie, path, **more):
        pass
    return refused.value.response.status_code


def test_messages_of_every_kind_and_size_are_echoed(live: Live, cookie: str) -> None:
    with visit(live, cookie) as socket:
        for message in ("", "gruß", b"", b"\x00\xff", "x" * MIB, bytes(MIB)):
            socket.send(message)
            assert socket.recv(PATIENCE_S) == message
        for number in range(100):
            socket.send(str(number))
        assert [socket.recv(PATIENCE_S) for _ in range(100)] == [str(n) for n in range(100)]


def test_fragments_arrive_as_one_message(live: Live, cookie: str) -> None:
    with visit(live, cookie, "/pieces") as socket:
        assert socket.recv(PATIENCE_S) == "gruß"
        socket.send(["a" * 1000, "b", "", "c" * 100_000])
        assert socket.recv(PATIENCE_S) == "a" * 1000 + "b" + "c" * 100_000


def test_pings_of_either_side_are_answered(live: Live, cookie: str) -> None:
    with visit(live, cookie, "/ping") as socket:
        assert socket.recv(PATIENCE_S) == "yes"
        assert socket.ping(b"and you?").wait(PATIENCE_S)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4000, 4999])
def test_close_codes_and_reasons_pass_both_ways(
    live: Live, application: Application, cookie: str, code: int
) -> None:
    with visit(live, cookie, f"/close/{code}") as socket, pytest.raises(ConnectionClosed):
        socket.recv(PATIENCE_S)
    assert (socket.close_code, socket.close_reason) == (code, "as you wish")
    ended = len(application.ends)
    with visit(live, cookie) as socket:
        socket.close(code, "so I wish")
    ends = {(code, "so I wish")}
    if live.server == "hypercorn":  # which reports every close as abnormal
        ends = {(1006, "")}
    elif live.server != OWN:
        ends.add((code, ""))
    until(lambda: ends & {*application.ends[ended:]})


def test_an_abrupt_end_of_one_side_is_abrupt_for_the_other(
    live: Live, application: Application, cookie: str
) -> None:
    with visit(live, cookie, "/abrupt") as socket, pytest.raises(ConnectionClosed):
        socket.recv(PATIENCE_S)
    assert socket.close_code == 1006 or (live.server != OWN and socket.close_code == 1014)
    ended = len(application.ends)
    with visit(live, cookie) as socket:
        socket.socket.shutdown(2)
        until(lambda: application.ends[ended:])
    code, _ = application.ends[ended]
    assert code == 1006 or (live.server != OWN and code == 1005)


@pytest.mark.parametrize("asked", [["talk"], ["talk", "chat"], []])
def test_the_subprotocol_is_agreed_on_between_the_ends(
    live: Live, cookie: str, asked: list[str]
) -> None:
    with visit(live, cookie, subprotocols=[Subprotocol(name) for name in asked] or None) as socket:
        expected = "chat" if "chat" in asked else next(iter(asked), None)
        assert socket.subprotocol == expected


def test_the_application_learns_which_user_opened_it(
    live: Live, application: Application, cookie: str
) -> None:
    lines = {"Cookie": f"a=b; {cookie}", "Remote-User": "bob"}
    with visit(live, cookie, additional_headers=lines) as socket:
        socket.send("here")
        assert socket.recv(PATIENCE_S) == "here"
    head = application.heads[-1]
    assert head.get_all("Remote-User") == ["alice"]
    assert head.get_all("Cookie") == ["a=b"]
    assert head["Host"] == live.host
    assert head["X-Forwarded-For"] == "127.0.0.1"


# Refusals


def test_clients_without_a_session_and_pages_of_other_sites_are_refused(
    live: Live, application: Application, cookie: str
) -> None:
    assert status(live, None, "/refused") == 401
    assert status(live, cookie, "/refused", origin=PageOrigin("https://evil.example")) == 403
    assert "/refused" not in application.paths
    with visit(live, cookie, origin=PageOrigin(f"http://{live.host}")) as socket:
        socket.send("mine")
        assert socket.recv(PATIENCE_S) == "mine"


def test_doorwards_own_paths_ignore_an_upgrade(live: Live, cookie: str) -> None:
    assert status(live, cookie, "/.doorward/healthz") == 200


def test_an_early_refusal_of_an_upstream_is_forwarded(live: Live, cookie: str) -> None:
    assert status(live, cookie, "/teapot") == 418


def test_websockets_are_limited(live: Live, cookie: str) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(visit(live, cookie)) for _ in range(4)]
        assert status(live, cookie) == 503
        for socket in sockets:
            socket.close()
    with visit(live, cookie) as socket:
        socket.send("room")
        assert socket.recv(PATIENCE_S) == "room"


# Buffering in the relay of messages


def test_a_message_beyond_the_limit_closes_both_sides(
    live: Live, application: Application, cookie: str
) -> None:
    if live.server == OWN:
        return  # which buffers no messages
    with visit(live, cookie, "/large") as socket, pytest.raises(ConnectionClosed):
        socket.recv(PATIENCE_S)
    assert socket.close_code == 1009
    ended = len(application.ends)
    with visit(live, cookie) as socket, pytest.raises(ConnectionClosed):
        socket.send(bytes(3 * MIB))
        socket.recv(PATIENCE_S)
    assert socket.close_code == 1009
    until(lambda: application.ends[ended:])


def test_data_that_are_no_websocket_frames_close_it(live: Live, cookie: str) -> None:
    with visit(live, cookie, "/invalid") as socket, pytest.raises(ConnectionClosed):
        socket.recv(PATIENCE_S)
    assert socket.close_code != 1000


def test_a_client_that_does_not_read_makes_the_application_wait(
    live: Live, application: Application, cookie: str
) -> None:
    application.sent = 0
    lines = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    key = f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}"
    with live.client(receive_buffer=4096) as client:
        client.send(get("/flood", f"Cookie: {cookie}", *lines, key, host=live.host))
        assert client.head().startswith(b"HTTP/1.1 101 ")
        seen = -1
        while seen != application.sent:
            seen = application.sent
            time.sleep(1)  # there is no event for a socket that accepts no more
        assert seen < FLOOD // 2
        client.read(FLOOD * MIB)
        assert application.sent == FLOOD


HANDSHAKES = {
    "accept": b"Sec-WebSocket-Accept: AAAA\r\n",
    "none": b"",
}


@pytest.mark.parametrize("lines", HANDSHAKES.values(), ids=HANDSHAKES)
def test_an_invalid_handshake_of_the_upstream_is_502(deploy: Start, lines: bytes) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        head = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        wire.send(head + lines + b"\r\n")
        wire.rest()

    with Origin((script,)) as origin:
        live = deploy(origin.url, server="uvicorn", access={"default": "public"})
        assert status(live, None) == 502


# Promise 3


@pytest.mark.parametrize("ending", ["revoke", "logout"])
def test_a_websocket_is_closed_with_its_session(live: Live, cookie: str, ending: str) -> None:
    mine = live.login("alice")
    with visit(live, mine.partition(": ")[2]) as socket, visit(live, cookie) as stays:
        for each in (socket, stays):
            each.send("here")
            assert each.recv(PATIENCE_S) == "here"
        if ending == "revoke":
            listed = json.loads(live.command("session", "list", "--user", "alice", "--json").stdout)
            done = live.command("session", "revoke", listed[0]["id"])
            assert done.returncode == 0, done.stderr
        else:
            assert live.get("/.doorward/account", mine).status == 200
            request = f"POST /xhr/logout HTTP/1.1\r\nHost: {live.host}\r\n{mine}\r\n\r\n"
            with live.client() as client:
                assert client.ask(request.encode()).status == 204
        began = time.monotonic()
        with pytest.raises(ConnectionClosed):
            socket.recv(CLOSED_WITHIN_S)
        assert time.monotonic() - began < CLOSED_WITHIN_S
        assert socket.close_code == (1006 if live.server == OWN else 1008)
        stays.send("still here")
        assert stays.recv(PATIENCE_S) == "still here"
