"""The promises of the README, each tested with real processes, sockets, commands and files.

All hold under our own server, with and without the synchronous start, and under uvicorn, hypercorn
and granian. Other servers read requests before Doorward does, which shows in two places: they
refuse some targets that ours forwards, and ASGI does not tell `/?` from `/` (promise 6); and bytes
of an upgrade other than a WebSocket never reach an application (promise 3). Limits on heads and
connections, half-closed connections, trailers and answers before the answer are the server's own
affair, and tested in tests/server and tests/upstream under ours alone.

The tenth promise is measured by `make bench`.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from tests.conftest import Carrier, Start
from tests.support.corpora import corpus
from tests.support.live import PASSWORD, Live, config_user
from tests.support.origin import OK, Origin, answering
from tests.support.servers import OWN
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Answer, Client, Wire, get, values_of

RULES = [
    {"path": "/public/*", "require": "public"},
    {"path": "/admin/*", "groups": ["admins"]},
    {"path": "/never/*", "require": "deny"},
]


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((answering(OK),)) as origin:
        yield origin


@pytest.fixture(scope="module")
def live(deploy: Start, origin: Origin, carrier: Carrier) -> Live:
    users = [config_user("alice"), config_user("root", groups=["admins"], email="root@app.test")]
    return deploy(origin.url, access={"rules": RULES}, users=users, **carrier)


@pytest.fixture(scope="module")
def alice(live: Live) -> str:
    return live.login("alice")


def raw(live: Live, target: bytes, *lines: str) -> Answer:
    """The answer to a GET of exactly this target."""
    request = get("TARGET", *lines, host=live.host).replace(b"TARGET", target, 1)
    with live.client() as client:
        return client.ask(request)


def forwarded(origin: Origin) -> int:
    return len(origin.heads)


def test_1_no_request_reaches_an_upstream_unless_a_rule_lets_it(
    live: Live, origin: Origin, alice: str
) -> None:
    before = forwarded(origin)
    refused = {
        "/": 401,
        "/anything": 401,
        "/never/x": 403,
        "/admin/": 401,
        "/.doorward/unknown": 404,
        "/public/../admin/": 400,
    }
    for target, status in refused.items():
        assert live.get(target).status == status, target
    assert live.get("/admin/", alice).status == 403
    assert live.get("/never/x", alice).status == 403
    forgeries = [b"Cookie: doorward=" + value for value in corpus("forged_cookies.txt")]
    for line in [*forgeries, b"Authorization: Bearer " + b"x" * 43, b"Remote-User: root"]:
        assert live.get("/", line.decode("latin-1")).status in (400, 401), line
    assert forwarded(origin) == before
    assert live.get("/public/x").status == live.get("/", alice).status == 200
    assert forwarded(origin) == before + 2


def test_2_identity_headers_are_ours_alone(live: Live, origin: Origin, alice: str) -> None:
    forged = [f"{name.decode()}: forged" for name in corpus("identity_headers.txt")]
    connection = "Connection: keep-alive, Remote-User, X-Forwarded-For"
    chunked = b"0\r\nRemote-User: forged\r\n\r\n"
    for lines, some in product(([alice], []), batched(forged, LINES_OF_A_HEAD)):
        every = [*lines, *some, connection, "Transfer-Encoding: chunked"]
        request = get("/public/", *every, host=live.host).replace(b"GET", b"POST", 1)
        with live.client() as client:
            assert client.ask(request + chunked).status == 200
        head = origin.heads[-1]
        assert b"forged" not in head
        assert values_of(head, b"remote-user") == ([b"alice"] if lines else [])
        assert values_of(head, b"x-forwarded-for") == [b"127.0.0.1"]


# Header lines per request that every server accepts; granian's limit is 100.
LINES_OF_A_HEAD = 50


def batched(lines: list[str], size: int) -> list[list[str]]:
    return [lines[at : at + size] for at in range(0, len(lines), size)]


ENDINGS = {
    "ban": ("user", "ban"),
    "passwd": ("user", "passwd", "--generate"),
    "delete": ("user", "delete", "--yes"),
    "disable": ("user", "disable"),
}


class Hammer(threading.Thread):
    """A client that sends requests without a pause and records when each began and how it ended."""

    def __init__(self, live: Live, cookie: str) -> None:
        super().__init__(daemon=True)
        self._live, self._request = live, get("/", cookie, host=live.host)
        self.noted: list[tuple[float, int]] = []
        self.stop = False

    def run(self) -> None:
        while not self.stop:
            with self._live.client() as client:
                self._ask_until_closed(client)

    def _ask_until_closed(self, client: Client) -> None:
        """The request that is running when its session ends is the last of its connection."""
        is_open = True
        while is_open and not self.stop:
            began = time.monotonic()
            answer = client.ask(self._request)
            self.noted.append((began, answer.status))
            is_open = bool(answer.head) and answer.values(b"connection") != [b"close"]


@pytest.fixture(scope="module")
def database_users(deploy: Start, origin: Origin, carrier: Carrier) -> Live:
    live = deploy(origin.url, **carrier)
    for name in ENDINGS:
        live.add_user(name)
    return live


@pytest.mark.parametrize("ending", ENDINGS)
def test_3_revoked_means_revoked(database_users: Live, ending: str) -> None:
    """CVE-2025-29928, CVE-2026-40934, CVE-2025-53942, CVE-2025-64521, CVE-2024-21492. While
    requests are running, and from the moment at which the command returns."""
    live = database_users
    cookie = live.login(ending)
    hammers = [Hammer(live, cookie) for _ in range(3)]
    for hammer in hammers:
        hammer.start()
    done = live.command(*ENDINGS[ending][:2], ending, *ENDINGS[ending][2:])
    returned = time.monotonic()
    assert done.returncode == 0, done.stderr
    until(lambda: all(sum(b > returned for b, _ in h.noted) >= 20 for h in hammers))
    for hammer in hammers:
        hammer.stop = True
        hammer.join(PATIENCE_S)
    noted = [note for hammer in hammers for note in hammer.noted]
    assert {status for began, status in noted if began < returned} >= {200}
    assert {status for began, status in noted if began > returned} == {401}


def test_3_a_logout_over_the_api_takes_effect_before_its_answer(live: Live) -> None:
    cookie = live.login("alice")
    for _ in range(2):
        assert live.get("/", cookie).status == 200
    request = get("/xhr/logout", cookie, host=live.host).replace(b"GET", b"POST", 1)
    with live.client() as client:
        assert client.ask(request).status == 204
    assert live.get("/", cookie).status == 401


def test_3_open_exchanges_are_closed_with_their_session(deploy: Start, carrier: Carrier) -> None:
    """tests/server/test_session_ends.py and tests/journeys/test_websockets.py test every kind of
    stream, every way to end a session, and two processes."""

    def script(wire: Wire) -> None:
        if b"Upgrade" in wire.head():
            wire.send(b"HTTP/1.1 101 Go on\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello")
        else:
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        wire.rest()

    with Origin((script,)) as origin:
        live = deploy(origin.url, **carrier)
        live.add_user("alice")
        cookie = live.login()
        tunnel = ["Connection: Upgrade", "Upgrade: x"]
        kinds = [[], tunnel] if live.server == OWN else [[]]
        with ExitStack() as stack:
            clients = [stack.enter_context(live.client()) for _ in kinds]
            for client, lines in zip(clients, kinds, strict=True):
                client.send(get("/", cookie, *lines, host=live.host))
                assert client.until(b"hello").endswith(b"hello")
            assert live.command("session", "revoke-all", "alice").returncode == 0
            for client in clients:
                assert b"0\r\n" not in client.rest(), "it looks cut"


def test_4_a_restart_logs_nobody_out(deploy: Start, origin: Origin, carrier: Carrier) -> None:
    """With `kill -9`, so that nothing is written at the last moment."""
    live = deploy(origin.url, **carrier)
    for name in ("alice", "banned"):
        live.add_user(name)
    cookie, banned = live.login("alice"), live.login("banned")
    assert live.command("user", "ban", "banned").returncode == 0
    live.kill()
    live.start()
    assert live.get("/", cookie).status == 200
    assert values_of(origin.heads[-1], b"remote-user") == [b"alice"]
    assert live.get("/", banned).status == 401
    live.stop()
    live.start()
    assert live.get("/", cookie).status == 200


def test_5_a_stolen_database_backup_is_not_a_stolen_login(
    deploy: Start, origin: Origin, carrier: Carrier
) -> None:
    live = deploy(origin.url, **carrier)
    live.add_user("alice")
    cookie = live.login("alice")
    assert live.get("/", cookie).status == 200
    value = cookie.partition("=")[2]
    token, _, signature = value.partition(".")
    live.stop()
    data = Path(str(live.settings["data_dir"]))
    database = b"".join(file.read_bytes() for file in data.glob("doorward.db*"))
    key = (data / "doorward.key").read_text().strip()
    secrets = {
        "token": token.encode(),
        "token, decoded": base64.urlsafe_b64decode(token + "="),
        "signature": signature.encode(),
        "password": PASSWORD.encode(),
        "key": key.encode(),
        "key, decoded": base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)),
    }
    assert b"alice" in database
    for name, secret in secrets.items():
        assert secret not in database, name
        assert secret.hex().encode() not in database, name
    assert (data / "doorward.key").stat().st_mode & 0o077 == 0
    log = live.log.read_bytes()
    assert token.encode() not in log and PASSWORD.encode() not in log


@pytest.mark.parametrize("target", corpus("paths_forwarded.txt"), ids=ascii)
def test_6_the_bytes_decided_on_are_the_bytes_forwarded(
    live: Live, origin: Origin, alice: str, target: bytes
) -> None:
    before = forwarded(origin)
    status = raw(live, target, alice).status
    if live.server == OWN:
        assert status == 200
    elif status == 400:
        assert forwarded(origin) == before
        return
    else:
        target = target.removesuffix(b"?")
    assert origin.heads[before].startswith(b"GET %b HTTP/1.1\r\n" % target)


def test_6_a_path_that_leads_elsewhere_when_read_otherwise_is_refused(
    live: Live, origin: Origin
) -> None:
    root = live.login("root")
    before = forwarded(origin)
    for target in corpus("paths_with_two_readings.txt"):
        assert raw(live, target, root).status == 400, target
    assert forwarded(origin) == before


def test_8_nothing_is_buffered(deploy: Start, carrier: Carrier) -> None:
    """The first byte of a body is at the origin before the second is sent, and back again; sizes
    and memory are in tests/upstream/test_forwarding.py."""

    def echo(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        for _ in range(3):
            wire.send(wire.read(1))

    with Origin((echo,)) as origin:
        live = deploy(origin.url, users=[config_user()], **carrier)
        head = get("/", live.login(), "Content-Length: 3", host=live.host)
        with live.client() as client:
            client.send(head.replace(b"GET", b"POST", 1))
            assert client.head().startswith(b"HTTP/1.1 200 ")
            for byte in (b"a", b"b", b"c"):
                client.send(byte)
                assert client.read(1) == byte


def page_login(live: Live) -> str:
    """The Cookie line of a session opened by the login page."""
    form = f"username=alice&password={PASSWORD.replace(' ', '+')}".encode()
    lines = [
        f"Origin: http://{live.host}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(form)}",
    ]
    request = get("/.doorward/login", *lines, host=live.host).replace(b"GET", b"POST", 1)
    with live.client() as client:
        answer = client.ask(request + form)
    assert answer.status == 303, answer
    found = re.search(rb"doorward=[^;]{60,}", b";".join(answer.values(b"set-cookie")))
    assert found
    return "Cookie: " + found[0].decode()


def test_9_a_session_opened_through_one_api_is_seen_and_ended_through_every_other(
    live: Live,
) -> None:
    by_page, by_xhr = page_login(live), live.login("alice")
    with live.client() as client:
        seen = client.get("/xhr/session", by_page, host=live.host)
        assert seen.status == 200 and b"alice" in seen.body
        assert json.loads(seen.body)
        ended = get("/xhr/logout", by_page, host=live.host).replace(b"GET", b"POST", 1)
        assert client.ask(ended).status == 204
        assert client.get("/", by_page, host=live.host).status == 401
        assert client.get("/", by_xhr, host=live.host).status == 200
        out = get("/.doorward/logout", by_xhr, f"Origin: http://{live.host}", host=live.host)
        assert client.ask(out.replace(b"GET", b"POST", 1)).status in (200, 303)
        assert client.get("/", by_xhr, host=live.host).status == 401
