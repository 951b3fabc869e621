"""Clients that close their sending side and wait for the answer, and clients that leave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.test_stopping import EVENTS
from tests.support.live import Live
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Client, Wire, get

HEALTH = get("/.doorward/healthz")


@pytest.fixture(scope="module", params=["tcp", "unix"])
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, fast_lane: bool
) -> Iterator[Live]:
    """A deployment whose upstream is the origin of the current test."""
    folder = tmp_path_factory.mktemp("live")
    place = folder / "app.sock"
    values: dict[str, Any] = {"fast_lane": fast_lane, "access": {"default": "public"}}
    if request.param == "unix":
        values |= {"listen": f"unix:{folder / 's'}", "public_url": "http://app.test"}
    live = Live(folder, f"unix:{place}", **values)
    if request.param == "unix":
        live.place = folder / "s"

    with live:
        yield live


@pytest.fixture
def live(started: Live) -> Live:
    (started.folder / "app.sock").unlink(missing_ok=True)
    return started


def origin_of(live: Live, *scripts: Callable[[Wire], object]) -> Origin:
    return Origin(scripts, path=live.folder / "app.sock")


def last_word(client: Client, data: bytes) -> None:
    client.send(data)
    client.sock.shutdown(socket.SHUT_WR)


class Slow:
    """Answers the first request at once, and later ones when released, so that these use the fast
    lane."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.let = threading.Event()

    def __call__(self, wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        while wire.head():
            assert self.let.wait(PATIENCE_S)
            wire.send(self.answer)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_half_closed_client_gets_its_answer(live: Live, method: str) -> None:
    slow = Slow()
    with origin_of(live, slow) as origin, live.client() as client:
        assert client.get("/").status == 200
        request = get("/", *(["Content-Length: 2"] if method == "POST" else []))
        last_word(client, request.replace(b"GET", method.encode(), 1) + b"hi" * (method == "POST"))
        until(lambda: len(origin.heads) == 2)
        assert client.is_silent()
        slow.let.set()
        got = client.answer()
        while got.status == 100:
            got = client.answer()
        assert (got.body, got.values(b"connection")) == (b"ok", [b"close"])
        assert client.is_closed()


def test_a_half_closed_client_gets_doorwards_own_pages(live: Live) -> None:
    with live.client() as client:
        last_word(client, HEALTH)
        assert client.answer().status == 200
        assert client.is_closed()


def test_pipelined_requests_before_a_half_close_are_answered(live: Live) -> None:
    with origin_of(live, answering(OK)), live.client() as client:
        last_word(client, get("/") * 5)
        assert [client.answer().body for _ in range(5)] == [b"ok"] * 5
        assert client.is_closed()


def test_a_large_answer_is_whole(live: Live) -> None:
    size = 8_000_000
    body = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)
    with origin_of(live, answering(body)), live.client(receive_buffer=4096) as client:
        last_word(client, get("/"))
        assert len(client.answer().body) == size
        assert client.is_closed()


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"GET / HT",
        get("/")[:-2],
        get("/", "Content-Length: 9").replace(b"GET", b"PUT", 1) + b"abc",
        get("/", "Transfer-Encoding: chunked").replace(b"GET", b"PUT", 1) + b"3\r\nabc\r\n",
    ],
)
def test_a_half_close_within_a_request_counts_as_leaving(live: Live, part: bytes) -> None:
    with origin_of(live, lambda wire: wire.rest() and None) as origin:
        with live.client() as client:
            last_word(client, part)
            assert client.is_closed()
        until(lambda: not origin.wires or origin.is_done())
        assert not any(b"\r\n0\r\n" in wire.seen for wire in origin.wires)


def test_a_half_close_on_an_idle_connection_closes_it(live: Live) -> None:
    with live.client() as client:
        assert client.ask(HEALTH).status == 200
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()


def test_a_client_that_closes_is_noticed_before_it_is_answered(live: Live) -> None:
    """At first, a close looks like a half-close."""
    slow = Slow()
    with origin_of(live, slow) as origin:
        with live.client() as client:
            assert client.get("/").status == 200
            client.send(get("/"))
            until(lambda: len(origin.heads) == 2)
        until(lambda: gone(origin.wire()), "for the upstream to be let go")
        slow.let.set()


def test_a_close_after_a_half_close_is_noticed(live: Live) -> None:
    slow = Slow()
    with origin_of(live, slow) as origin:
        with live.client() as client:
            assert client.get("/").status == 200
            last_word(client, get("/"))
            until(lambda: len(origin.heads) == 2)
            assert client.is_silent()
        until(lambda: gone(origin.wire()), "for the upstream to be let go")
        slow.let.set()


def gone(wire: Wire) -> bool:
    """Whether the other side has closed, checked while another thread uses the socket."""
    try:
        return wire.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_client_that_closes_an_event_stream_is_noticed_at_once(live: Live) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(EVENTS + b"6\r\ndata:1\r\n")
        wire.rest()

    with origin_of(live, script) as origin:
        with live.client() as client:
            client.send(get("/"))
            client.until(b"data:1")
        until(origin.is_done)
