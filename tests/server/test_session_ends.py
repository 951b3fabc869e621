"""Open exchanges are closed within two seconds after their session ends (promise 3), in every
process. Others stay open."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.conftest import Start
from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin
from tests.support.servers import FOREIGN
from tests.support.waiting import until
from tests.support.wire import Client, Wire, get

WITHIN_S = 15.0  # two, with a margin for a busy machine; nothing else ends these in that time
ASKED = ("Connection: Upgrade", "Upgrade: echo/1")
RULES = [
    {"path": "/public/*", "require": "public"},
    {"path": "/staff/*", "groups": ["staff"]},
]


def application(wire: Wire) -> None:
    """An application that acts according to the path, until the other side closes."""
    path = wire.head().split(b" ")[1].rpartition(b"/")[2]
    while path == b"kept":
        wire.send(OK)
        path = wire.head().split(b" ")[1].rpartition(b"/")[2]
    if path == b"tunnel":
        wire.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\nhello")
        while data := wire.sock.recv(65536):
            wire.send(data)
    elif path == b"events":
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        wire.rest()
    elif path == b"ticks":
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        while True:
            wire.send(b"4\r\ntick\r\n")
            time.sleep(0.02)  # like an application that sends data from time to time
    elif path in (b"download", b"slow"):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nhello")
        while True:
            wire.send(bytes(65536))
    elif path == b"whole":
        wire.send(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
    else:  # an upload that never ends, or a long poll
        wire.rest()


@contextmanager
def opened(live: Live, cookie: str, kind: str, prefix: str = "") -> Iterator[Client]:
    """A client with an open exchange."""
    with live.client() as client:
        lines = [cookie, *(ASKED if kind == "tunnel" else ())]
        if kind == "upload":
            lines.append("Transfer-Encoding: chunked")
        request = get(f"{prefix}/{kind}", *lines, host=live.host)
        client.send(request.replace(b"GET", b"POST", 1) if kind == "upload" else request)
        if kind == "kept":
            assert client.answer().body == b"ok"
        elif kind not in ("upload", "poll"):
            assert client.head().split(b" ")[1] in (b"101", b"200")
            assert client.until(b"hello")
        if kind == "upload":
            threading.Thread(target=upload, args=(client,), daemon=True).start()
        yield client


def upload(client: Client) -> None:
    try:
        while True:
            client.send(b"400\r\n" + bytes(1024) + b"\r\n")
            time.sleep(0.001)  # a slow upload, so that it stays open
    except OSError:
        pass


def is_over(client: Client, kind: str, *, closes: bool = True) -> bool:
    """Whether the exchange ends in time, and never as if it were complete. `closes`: whether the
    connection closes, too, if the answer comes before the end of the request."""
    deadline = time.monotonic() + WITHIN_S
    kept = b""
    try:
        while (left := deadline - time.monotonic()) > 0:
            client.sock.settimeout(left)
            data = client.sock.recv(1 << 20)
            kept = (kept + data)[-4096:]
            is_refused = kind == "poll" or (kind == "upload" and not closes)
            if not data or (is_refused and kept.endswith(b"}")):
                break
        else:
            return False
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    assert b"\r\n0\r\n" not in kept, "it must look cut"
    if kind in ("upload", "poll"):
        assert kept.startswith(b"HTTP/1.1 401 ") or not kept
    return True


KINDS = ("tunnel", "events", "ticks", "download", "slow", "upload", "poll")


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((application,)) as origin:
        yield origin


def house(deploy: Start, origin: Origin, **values: object) -> Live:
    return deploy(origin.url, access={"rules": RULES}, **values)


@pytest.fixture(scope="module")
def one(deploy: Start, origin: Origin) -> Live:
    live = house(deploy, origin)
    for name in ("alice", "bob"):
        live.add_user(name)
    return live


@pytest.fixture(scope="module")
def two(deploy: Start, origin: Origin) -> Live:
    live = house(deploy, origin, workers=2)
    for name in ("alice", "bob"):
        live.add_user(name)
    return live


def newest(live: Live, name: str) -> str:
    listed = json.loads(live.command("session", "list", "--user", name, "--json").stdout)
    sessions = listed if isinstance(listed, list) else listed["sessions"]
    number: str = sessions[0]["id"]
    return number


def run(live: Live, *words: str) -> None:
    done = live.command(*words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["tunnel", "events", "download", "poll"])
def test_a_revocation_closes_open_exchanges_of_its_session(one: Live, kind: str) -> None:
    mine, other = one.login("alice"), one.login("bob")
    with opened(one, other, "tunnel") as stays, opened(one, mine, kind) as client:
        run(one, "session", "revoke", newest(one, "alice"))
        assert is_over(client, kind)
        stays.send(b"still here")
        assert stays.read(10) == b"still here"


@pytest.mark.parametrize("kind", KINDS)
def test_a_revocation_closes_exchanges_on_a_kept_connection(one: Live, kind: str) -> None:
    cookie = one.login("alice")
    with opened(one, cookie, "kept"), opened(one, cookie, kind) as client:
        run(one, "session", "revoke-all", "alice")
        assert is_over(client, kind)


@pytest.fixture(scope="module", params=FOREIGN)
def elsewhere(deploy: Start, origin: Origin, request: pytest.FixtureRequest) -> Live:
    live = house(deploy, origin, server=request.param)
    live.add_user("alice")
    return live


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_revocation_closes_open_exchanges_under_any_server(elsewhere: Live, kind: str) -> None:
    """WebSockets are in tests/journeys/test_websockets.py."""
    cookie = elsewhere.login("alice")
    with opened(elsewhere, cookie, kind) as client:
        run(elsewhere, "session", "revoke-all", "alice")
        # The server decides when to close a connection with an unfinished request.
        assert is_over(client, kind, closes=False)


@pytest.mark.parametrize("kind", ["tunnel", "events", "download", "upload"])
def test_a_revocation_closes_open_exchanges_in_every_process(two: Live, kind: str) -> None:
    cookie = two.login("alice")
    with ExitStack() as stack:
        clients = [stack.enter_context(opened(two, cookie, kind)) for _ in range(8)]
        run(two, "session", "revoke-all", "alice")
        assert all(is_over(client, kind) for client in clients)


ENDINGS = {
    "ban": ("user", "ban", "carol"),
    "disable": ("user", "disable", "carol"),
    "delete": ("user", "delete", "carol", "--yes"),
    "passwd": ("user", "passwd", "carol", "--generate"),
    "revoke-all": ("session", "revoke-all", "carol"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_way_to_end_a_session_closes_open_exchanges(two: Live, ending: str) -> None:
    name = f"carol-{ending}"
    two.add_user(name)
    cookie = two.login(name)
    with ExitStack() as stack:
        kinds = ("tunnel", "events", "download") * 2
        clients = [(stack.enter_context(opened(two, cookie, kind)), kind) for kind in kinds]
        run(two, *(name if word == "carol" else word for word in ENDINGS[ending]))
        assert all(is_over(client, kind) for client, kind in clients)


@pytest.mark.parametrize("kind", ["tunnel", "events", "download", "upload"])
def test_a_revoked_token_closes_its_open_exchanges(two: Live, kind: str) -> None:
    made = json.loads(two.command("token", "add", "alice", "--name", kind, "--json").stdout)
    line = f"Authorization: Bearer {made['token']}"
    with ExitStack() as stack:
        stays = stack.enter_context(opened(two, two.login("alice"), "tunnel"))
        clients = [stack.enter_context(opened(two, line, kind)) for _ in range(4)]
        run(two, "token", "revoke", made["id"])
        assert all(is_over(client, kind) for client in clients)
        stays.send(b"still here")
        assert stays.read(10) == b"still here"


def test_a_logout_closes_open_exchanges(one: Live) -> None:
    cookie = one.login("alice")
    with opened(one, cookie, "tunnel") as client:
        with one.client() as other:
            request = get("/xhr/logout", cookie, host=one.host).replace(b"GET", b"POST", 1)
            assert other.ask(request).status == 204
        assert is_over(client, "tunnel")


def test_a_stream_of_a_user_on_a_public_path_ends_too(one: Live) -> None:
    """The application knows the user."""
    with opened(one, one.login("alice"), "events", "/public") as mine:
        with opened(one, "X: y", "events", "/public") as nobodys:
            run(one, "session", "revoke-all", "alice")
            assert is_over(mine, "events")
            assert nobodys.is_silent(0.5)


def test_a_user_who_lost_access_is_cut_off_and_others_are_not(one: Live) -> None:
    """CVE-2021-41230: a change of groups did not affect open sessions."""
    one.add_user("dora")
    run(one, "user", "edit", "dora", "--add-group", "staff")
    cookie = one.login("dora")
    with opened(one, cookie, "tunnel", "/staff") as staff, opened(one, cookie, "tunnel") as all_:
        run(one, "user", "edit", "dora", "--add-group", "others")
        for client in (staff, all_):
            assert client.is_silent(0.7)
            client.send(b"x")
            assert client.read(1) == b"x"
        run(one, "user", "edit", "dora", "--remove-group", "staff")
        assert is_over(staff, "tunnel")
        all_.send(b"y")
        assert all_.read(1) == b"y"


@pytest.mark.parametrize("key", ["idle_timeout", "lifetime"])
def test_an_expired_session_closes_its_open_exchanges(
    deploy: Start, origin: Origin, key: str
) -> None:
    sessions = {key: "6s"}  # the login and the two requests have to fit into it
    live = house(deploy, origin, users=[config_user()], sessions=sessions)
    began = time.monotonic()
    cookie = live.login()
    with opened(live, cookie, "tunnel") as tunnel, opened(live, cookie, "events") as events:
        tunnel.send(b"what runs through a tunnel is no request")
        assert tunnel.until(b"no request")
        assert tunnel.is_closed() and is_over(events, "events")
        assert time.monotonic() - began > 5


def test_a_request_keeps_an_idle_session_and_its_exchanges_open(
    deploy: Start, origin: Origin
) -> None:
    sessions = {"idle_timeout": "4s"}  # far longer than the pauses
    live = house(deploy, origin, users=[config_user()], sessions=sessions)
    cookie = live.login()
    began = time.monotonic()
    with opened(live, cookie, "tunnel") as client:
        while time.monotonic() - began < 5:
            assert live.get("/whole", cookie).status == 200
            time.sleep(0.2)  # real time: the server is a separate process
        client.send(b"x")
        assert client.read(1) == b"x"
        assert client.is_closed()


def test_an_answer_that_ends_with_the_connection_looks_cut_as_well(one: Live) -> None:
    """In HTTP/1.0, closing the connection ends the body, so an aborted answer needs a reset."""
    cookie = one.login("alice")
    request = get("/events", cookie, host=one.host).replace(b"HTTP/1.1", b"HTTP/1.0")
    with one.client() as client:
        client.send(request)
        assert client.until(b"hello").endswith(b"hello")
        run(one, "session", "revoke-all", "alice")
        client.sock.settimeout(WITHIN_S)
        with pytest.raises(ConnectionResetError):
            client.sock.recv(1)


def test_the_connection_to_the_application_is_closed(one: Live, origin: Origin) -> None:
    cookie = one.login("alice")
    known = len(origin.wires)
    with opened(one, cookie, "events"):
        until(lambda: len(origin.wires) > known)
        wire = origin.wires[-1]
        run(one, "session", "revoke-all", "alice")
        until(lambda: has_ended(wire), "for the upstream's connection to end")


def has_ended(wire: Wire) -> bool:
    state = wire.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    established = 1
    return state != established
