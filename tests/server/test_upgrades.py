"""Upgrades over raw sockets: which protocols are tunnelled, and how a tunnel ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.certificates import Authority
from tests.support.live import Live
from tests.support.origin import OK, Origin, Script, answering
from tests.support.stage import Act, Stage, staged
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Client, Wire, get, read_body, values_of

ASKED = ("Connection: keep-alive, Upgrade", "Upgrade: echo/1")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n"
MIB = 1 << 20


@pytest.fixture(scope="module")
def stage(deploy: Start) -> Stage:
    return staged(deploy)


def switching(then: Script, lines: bytes = b"", early: bytes = b"") -> Script:
    """An upstream that switches protocols, and then calls `then` with the connection."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(SWITCHED + lines + b"\r\n" + early)
        then(wire)

    return script


def echo(wire: Wire) -> None:
    while data := wire.sock.recv(1 << 16):
        wire.send(data)


def drain(wire: Wire) -> None:
    wire.rest()


@contextmanager
def tunnel(act: Act, *lines: str, behind: bytes = b"") -> Iterator[Client]:
    with act.client() as client:
        client.send(act.request(*ASKED, *lines) + behind)
        head = client.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield client


def test_every_byte_passes_both_ways(stage: Stage) -> None:
    every = bytes(range(256)) * 8
    with stage.playing(switching(echo)) as act, tunnel(act) as client:
        for size in (1, 7, len(every)):
            client.send(every[:size])
            assert client.read(size) == every[:size]
        head = act.origin.heads[0]
        assert values_of(head, b"upgrade") == [b"echo/1"]
        assert values_of(head, b"connection") == [b"Upgrade"]


def test_the_answer_passes_as_it_is(stage: Stage) -> None:
    said = b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\nX-A: 1\r\nX-A: 2\r\n"
    with stage.playing(switching(echo, said)) as act, act.client() as client:
        client.send(act.request(*ASKED, "Sec-WebSocket-Protocol: chat, talk"))
        head = client.head()
        assert said in head
        assert values_of(head, b"upgrade") == [b"echo/1"]
        assert [value.lower() for value in values_of(head, b"connection")] == [b"upgrade"]
        assert values_of(act.origin.heads[0], b"sec-websocket-protocol") == [b"chat, talk"]


def test_bytes_after_either_head_are_forwarded(stage: Stage) -> None:
    with stage.playing(switching(echo, early=b"first")) as act:
        with tunnel(act, behind=b"second") as client:
            assert client.read(11) == b"firstsecond"


def test_a_head_sent_byte_by_byte_opens_a_tunnel(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        for byte in SWITCHED + b"\r\nhello":
            wire.send(bytes([byte]))
        echo(wire)

    with stage.playing(script) as act, act.client() as client:
        for byte in act.request(*ASKED) + b"x":
            client.send(bytes([byte]))
        assert client.head().startswith(b"HTTP/1.1 101 ")
        assert client.read(6) == b"hellox"


def test_a_tunnel_may_follow_other_requests_on_a_connection(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        switching(echo)(wire)

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request() + act.request(*ASKED) + b"early")
        assert client.answer().body == b"ok"
        assert client.head().startswith(b"HTTP/1.1 101 ")
        assert client.read(5) == b"early"


def test_an_answer_other_than_101_is_forwarded_and_the_connection_stays_open(stage: Stage) -> None:
    refused = (
        b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\nno"
    )
    with stage.playing(answering(refused), answering(OK, OK)) as act, act.client() as client:
        client.send(act.request(*ASKED) + act.request(path="/2"))
        got = client.answer()
        assert (got.status, got.body) == (426, b"no")
        assert got.values(b"sec-websocket-version") == [b"13"]
        assert client.answer().body == b"ok", "the next request was kept meanwhile"
        assert client.ask(act.request()).body == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHED.replace(b"echo/1", b"h2c") + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_a_switch_to_something_else_is_502(stage: Stage, answer: bytes) -> None:
    with stage.playing(answering(answer)) as act:
        assert act.ask(*ASKED).status == 502


def test_an_unrequested_switch_is_502(stage: Stage) -> None:
    with stage.playing(switching(echo)) as act:
        assert act.ask().status == 502


@pytest.mark.parametrize(
    "protocol", ["h2c", "H2C", "HTTP/2.0", "TLS/1.2, HTTP/1.1", "h2c, h2", ","]
)
def test_a_protocol_that_carries_requests_is_not_tunnelled(stage: Stage, protocol: str) -> None:
    """Smuggling with h2c: such a tunnel would carry requests that bypass the rules."""
    lines = (
        "Connection: Upgrade, HTTP2-Settings",
        f"Upgrade: {protocol}",
        "HTTP2-Settings: AAMAAABk",
    )
    with stage.playing(answering(OK)) as act, act.client() as client:
        client.send(act.request(*lines) + act.request(path="/2"))
        assert [client.answer().body, client.answer().body] == [b"ok", b"ok"]
        for head in act.origin.heads:
            for name in (b"upgrade", b"http2-settings", b"connection"):
                assert values_of(head, name) == []


def test_only_protocols_that_can_be_tunnelled_are_forwarded(stage: Stage) -> None:
    with stage.playing(switching(echo)) as act, act.client() as client:
        client.send(act.request("Connection: Upgrade", "Upgrade: h2c, Echo/1", "Upgrade: b@d, x"))
        assert client.head().startswith(b"HTTP/1.1 101 ")
        assert values_of(act.origin.heads[0], b"upgrade") == [b"Echo/1, x"]


def test_upgrade_without_connection_or_over_http_1_0_is_ignored(stage: Stage) -> None:
    """RFC 9110 7.8."""
    with stage.playing(answering(OK)) as act, act.client() as client:
        assert client.ask(act.request("Upgrade: echo/1")).body == b"ok"
        old = act.request("Connection: Upgrade", "Upgrade: echo/1").replace(
            b"HTTP/1.1", b"HTTP/1.0"
        )
        assert client.ask(old).body == b"ok"
        assert [values_of(head, b"upgrade") for head in act.origin.heads] == [[], []]


def unchunked(head: bytes, body: bytes) -> bytes:
    """A body without its chunks: a piece that arrived separately may be forwarded as a separate
    chunk."""
    if not values_of(head, b"transfer-encoding"):
        return body
    found = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        found, body = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("protocol", ["echo/1", "h2c"])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 5", b"GET /"),
        ("Transfer-Encoding: chunked", b"5\r\nGET /\r\n0\r\n\r\n"),
    ],
)
def test_a_request_with_a_body_is_no_upgrade_and_its_body_no_request(
    stage: Stage, framing: str, body: bytes, protocol: str, split: bool
) -> None:
    """As for CVE-2022-22720: a body must not be read as a request."""
    bodies: list[bytes] = []

    def script(wire: Wire) -> None:
        for _ in range(2):
            head = wire.head()
            bodies.append(unchunked(head, read_body(wire, head)))
            wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        lines = ("Connection: Upgrade", f"Upgrade: {protocol}", framing)
        request = act.request(*lines, method="POST", body=body)
        both = request + request
        for piece in [both[i : i + 1] for i in range(len(both))] if split else [both]:
            client.send(piece)
        assert [client.answer().body, client.answer().body] == [b"ok", b"ok"]
        assert bodies == [b"GET /", b"GET /"]
        assert [values_of(head, b"upgrade") for head in act.origin.heads] == [[], []]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(
    ("version", "options", "framing", "body"),
    [
        (b"HTTP/1.1", "Upgrade, close", "Content-Length: 5", b"GET /"),
        (b"HTTP/1.1", "Upgrade, close", "Transfer-Encoding: chunked", b"5\r\nGET /\r\n0\r\n\r\n"),
        (b"HTTP/1.0", "Upgrade", "Content-Length: 5", b"GET /"),
    ],
)
def test_the_body_of_a_last_request_is_read_although_it_offers_an_upgrade(
    stage: Stage, version: bytes, options: str, framing: str, body: bytes, split: bool
) -> None:
    """As clients that offer h2c send it through a proxy that speaks HTTP/1.0. What follows the last
    request of a connection is ignored (RFC 9112 9.6)."""
    bodies: list[bytes] = []

    def script(wire: Wire) -> None:
        head = wire.head()
        bodies.append(unchunked(head, read_body(wire, head)))
        wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        lines = (f"Connection: {options}", "Upgrade: h2c", framing)
        request = act.request(*lines, method="POST", body=body).replace(b"HTTP/1.1", version)
        both = request + act.request(path="/behind")
        for piece in [both[i : i + 1] for i in range(len(both))] if split else [both]:
            client.send(piece)
        assert client.answer().body == b"ok"
        assert bodies == [b"GET /"]
        assert len(act.origin.heads) == 1
        assert client.rest() == b""


# Back-pressure


def test_a_slow_reader_makes_the_other_side_wait(stage: Stage) -> None:
    """In both directions; at the end, everything has arrived."""
    size = 96 * MIB  # far more than the kernel buffers in both directions
    taken: list[int] = []

    def slow(wire: Wire) -> None:
        gate.wait(PATIENCE_S)
        taken.append(len(wire.read(size)))
        wire.seen.clear()

    def fast(wire: Wire) -> None:
        sent = 0
        while sent < size:
            sent += wire.sock.send(bytes(65536))
            progress[0] = sent

    for script, up in ((slow, True), (fast, False)):
        gate, progress = threading.Event(), [0]
        with stage.playing(switching(script)) as act, tunnel(act) as client:
            before = stage.live.resident_kib()
            if up:
                sender = threading.Thread(target=fast, args=(client,))
                sender.start()
            settle(progress)
            assert 0 < progress[0] < size, "it has to wait"
            assert stage.live.resident_kib() - before < 8 * 1024
            gate.set()
            if up:
                until(lambda: taken == [size], "for all of it")
                sender.join()
            else:
                assert len(client.read(size)) == size


def settle(progress: list[int]) -> None:
    """Wait until it grows no more."""
    last = -1
    while progress[0] != last or not progress[0]:
        last = progress[0]
        time.sleep(0.3)  # only waiting can show that nothing happens


# Ends


@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_end_of_the_client_ends_the_upstream(stage: Stage, how: str) -> None:
    with stage.playing(switching(drain)) as act:
        with tunnel(act) as client:
            client.send(b"last")
            getattr(client, how)()
        until(act.origin.is_done)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_end_of_the_upstream_ends_the_client(stage: Stage, how: str) -> None:
    with stage.playing(switching(lambda wire: getattr(wire, how)(), early=b"last")) as act:
        with tunnel(act) as client:
            assert client.rest() == b"last"


def test_a_half_closed_client_still_receives(stage: Stage) -> None:
    """A half-close is forwarded, and the rest still arrives."""

    def script(wire: Wire) -> None:
        said = wire.rest()
        wire.send(said * 2)

    with stage.playing(switching(script)) as act, tunnel(act) as client:
        client.send(b"hello")
        client.sock.shutdown(1)
        assert client.rest() == b"hellohello"


def test_a_half_close_that_is_not_answered_ends_both(stage: Stage) -> None:
    with stage.playing(switching(lambda wire: wait(wire, "rest"))) as act, tunnel(act) as client:
        client.sock.shutdown(1)
        assert client.is_closed()


def wait(wire: Wire, what: str) -> None:
    """Read everything, and then stay connected in silence."""
    getattr(wire, what)()
    threading.Event().wait(9)  # longer than the server waits


def test_a_client_that_leaves_before_the_answer_ends_the_upstream(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        assert wire.rest() == b""

    with stage.playing(script) as act:
        with act.client() as client:
            client.send(act.request(*ASKED))
            until(lambda: act.origin.heads)
        until(act.origin.is_done)


# Limits


@pytest.fixture(scope="module")
def strict(deploy: Start) -> Stage:
    limits = {"tunnels": 2, "tunnel_idle_timeout": "3s"}  # twelve pauses of the busy tunnel
    return staged(deploy, limits=limits)


def test_an_idle_tunnel_is_closed_and_a_busy_one_is_not(strict: Stage) -> None:
    with strict.playing(switching(echo)) as act, tunnel(act) as client:
        for _ in range(15):
            time.sleep(0.25)  # real time: the server's clock is the loop's
            began = time.monotonic()
            client.send(b"x")
            assert client.read(1) == b"x"
        assert client.is_closed()
        assert time.monotonic() - began > 2.5


def test_one_tunnel_too_many_is_503_until_another_ends(strict: Stage) -> None:
    with strict.playing(switching(echo)) as act:
        with tunnel(act) as first:
            with tunnel(act):
                refused = act.ask(*ASKED)
                assert refused.status == 503
                assert refused.values(b"retry-after")
                first.send(b"x")
                assert first.read(1) == b"x"
        until(lambda: act.ask(*ASKED).status == 101, "for a place")


def test_a_stop_of_the_server_does_not_wait_for_tunnels(deploy: Start) -> None:
    with Origin((switching(echo),)) as origin:
        live = deploy(origin.url, access={"default": "public"})
        with live.client() as client:
            client.send(get("/", *ASKED, host=live.host))
            assert client.head().startswith(b"HTTP/1.1 101 ")
            assert live.stop() == 0
            assert client.is_closed()


# Access


@pytest.fixture(scope="module")
def guarded(deploy: Start) -> Iterator[tuple[Live, Origin]]:
    with Origin((switching(echo),)) as origin:
        live = deploy(
            origin.url,
            routes=[{"upstream": origin.url, "host": "app.test"}, {"upstream": origin.url}],
            public_url="https://wiki.example.com",
            access={
                "default": "public",
                "rules": [{"path": "/in/*"}, {"path": "/no/*", "require": "deny"}],
            },
        )
        yield live, origin


def asked(live: Live, target: str, *lines: str, host: str = "app.test:8080") -> int:
    with live.client() as client:
        return client.get(target, *ASKED, *lines, host=host).status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://app.test:8080", 101),
        ("HTTP://APP.TEST:8080", 101),
        ("https://app.test:8080", 101),
        ("https://app.test", 101),
        ("http://app.test", 101),
        ("https://wiki.example.com", 101),
        ("https://wiki.example.com:443", 101),
        ("http://wiki.example.com", 403),
        ("https://evil.example", 403),
        ("https://app.test.evil.example", 403),
        ("https://app.test:8081", 403),
        ("https://evil.example#app.test", 403),
        ("https://u@app.test", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
    ],
)
def test_only_pages_of_this_site_can_request_an_upgrade(
    guarded: tuple[Live, Origin], origin: str, status: int
) -> None:
    """CVE-2026-40110: only a part of the origin was compared; cross-site WebSocket hijacking."""
    assert asked(guarded[0], "/", f"Origin: {origin}") == status
    both = asked(guarded[0], "/", "Origin: https://app.test", f"Origin: {origin}")
    assert both == status


def test_on_a_route_for_every_host_the_origin_must_match_the_host(
    guarded: tuple[Live, Origin],
) -> None:
    for name, status in (("other.test", 101), ("app.test", 403)):
        assert asked(guarded[0], "/", f"Origin: http://{name}", host="other.test") == status


def test_an_upgrade_is_decided_on_like_any_request(guarded: tuple[Live, Origin]) -> None:
    """CVE-2024-28179: the path of the upgrade had no authentication."""
    live, origin = guarded
    before = len(origin.heads)
    assert asked(live, "/in/") == 401
    assert asked(live, "/no/") == 403
    assert asked(live, "/../") == 400
    assert asked(live, "/", host="a b") == 400
    assert asked(live, "/.doorward/healthz") == 200
    assert asked(live, "/.doorward/nothing") == 404
    assert len(origin.heads) == before


def test_a_connection_stays_usable_after_a_refusal(guarded: tuple[Live, Origin]) -> None:
    live, _ = guarded
    with live.client() as client:
        for _ in range(2):
            assert client.get("/in/", *ASKED, host="app.test").status == 401
        client.send(get("/in/", *ASKED, host="app.test") + get("/.doorward/healthz"))
        assert [client.answer().status, client.answer().status] == [401, 200]


# TLS


class Secured:
    """An origin with TLS, and a Doorward that has TLS, too."""

    def __init__(self, folder: Path, script: Script) -> None:
        authority = Authority(folder / "tls")
        pair = authority.issue("127.0.0.1")
        self._context = authority.serving(pair)
        self._script = script
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        route = {"upstream": f"https://127.0.0.1:{port}", "tls": {"ca": str(authority.file)}}
        self.live = Live(
            folder / "live",
            "",
            routes=[route],
            tls={"certificate": str(pair.certificate), "key": str(pair.key)},
            access={"default": "public"},
        )
        self.live.tls = authority.believing()

    def __enter__(self) -> Live:
        threading.Thread(target=self._serve, daemon=True).start()
        return self.live.start()

    def _serve(self) -> None:
        sock = self._listener.accept()[0]
        with self._context.wrap_socket(sock, server_side=True) as secure:
            self._script(Wire(secure))
        self.ended.set()

    def __exit__(self, *failure: object) -> None:
        self._listener.close()
        self.live.__exit__(*failure)


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_tunnel_over_tls_both_ways(tmp_path: Path, who: str) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(SWITCHED + b"\r\nearly")
        while data := wire.sock.recv(1 << 16):
            wire.send(data)
            if who == "upstream" and data.endswith(b"leave"):
                return

    secured = Secured(tmp_path, script)
    with secured as live, live.client() as client:
        client.send(get("/", *ASKED, host=live.host) + b"behind")
        assert client.head().startswith(b"HTTP/1.1 101 ")
        assert client.read(11) == b"earlybehind"
        piece = bytes(range(256)) * 256
        for _ in range(16):  # in turns, because two threads must not use one TLS socket at once
            client.send(piece)
            assert client.read(len(piece)) == piece
        if who == "upstream":
            client.send(b"now leave")
            assert client.rest() == b"now leave"
        else:
            client.close()
        assert secured.ended.wait(PATIENCE_S)
