"""Streaming, ends and cuts, under Doorward's own server and under any other ASGI server."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import Carrier, Start
from tests.support.origin import OK, Origin, answering
from tests.support.servers import OWN
from tests.support.stage import Stage, staged
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Wire, read_body, values_of

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1 << 20
# The total capacity of sockets, servers and the queue for a slow client; 8 MiB is the kernel's
# largest buffer on either side.
HELD_BYTES = 40 * MIB


@pytest.fixture(scope="module")
def stage(deploy: Start, carrier: Carrier) -> Iterator[Stage]:
    """No task may be left over: a loop reports each one when it is closed."""
    stage = staged(deploy, **carrier)
    yield stage
    try:
        stage.live.stop()
    except subprocess.TimeoutExpired:
        # If it is cancelled while it closes a connection whose answer was cut, hypercorn discards
        # the cancellation, and sometimes waits for that connection forever.
        if stage.live.server != "hypercorn":
            raise
    log = stage.live.log.read_text()
    for words in ("was destroyed", "never retrieved", "never awaited"):
        assert words not in log


# Requests


def test_a_trailer_does_not_become_a_header(stage: Stage) -> None:
    """RFC 9110 6.5.1. It could replace the address that a trusted proxy names."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.until(b"hi\r\n0\r\n")
        wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        body = b"2\r\nhi\r\n0\r\nX-Mark: 1\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"
        request = act.request("Transfer-Encoding: chunked", method="POST", body=body)
        assert client.ask(request).body == b"ok"
        head = act.origin.heads[0]
        assert values_of(head, b"x-mark") == []
        assert b"192.0.2.9" not in head


# Answers


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked", "X: y"])
def test_an_answer_to_head_has_no_body(stage: Stage, framing: str) -> None:
    head = f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode()
    with stage.playing(answering(head)) as act, act.client() as client:
        for _ in range(2):
            got = client.ask(act.request(method="HEAD"))
            assert got.status == 200
            lengths = [b"9"] if "9" in framing else []
            if lengths or stage.live.server == OWN:
                assert got.values(b"content-length") == lengths


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("line", ["Content-Length: 9", "Etag: x"])
def test_an_answer_without_a_body_leaves_the_connection_usable(
    stage: Stage, status: int, line: str
) -> None:
    head = f"HTTP/1.1 {status} X\r\n{line}\r\n\r\n".encode()
    with stage.playing(answering(head, OK)) as act, act.client() as client:
        assert client.ask(act.request()).status == status
        assert client.ask(act.request()).body == b"ok"


def test_an_empty_answer_is_whole(stage: Stage) -> None:
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with stage.playing(answering(empty, OK)) as act, act.client() as client:
        assert client.ask(act.request()).whole
        assert client.ask(act.request()).body == b"ok"


def test_a_head_arrives_before_its_body(stage: Stage) -> None:
    """An event stream sends no data until there is an event."""
    may_go_on = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED)
        assert may_go_on.wait(PATIENCE_S)
        wire.send(b"5\r\nhello\r\n0\r\n\r\n")

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request())
        assert client.head().startswith(b"HTTP/1.1 200 ")
        may_go_on.set()
        assert client.until(b"hello").endswith(b"hello")


@pytest.mark.parametrize("framed", [True, False])
def test_pieces_arrive_as_they_are_sent(stage: Stage, framed: bool) -> None:
    """In chunks, and in a body that ends with the connection."""
    may_go_on = [threading.Event() for _ in range(3)]

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED if framed else b"HTTP/1.1 200 OK\r\n\r\n")
        for number, event in enumerate(may_go_on):
            wire.send(b"5\r\nword%d\r\n" % number if framed else b"word%d" % number)
            assert event.wait(PATIENCE_S)
        wire.send(b"0\r\n\r\n" if framed else b"")

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request())
        client.head()
        for number, event in enumerate(may_go_on):
            assert client.until(b"word%d" % number).endswith(b"word%d" % number)
            event.set()
        assert client.until(b"0\r\n\r\n").endswith(b"0\r\n\r\n")


CUTS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel",
    "chunk": CHUNKED + b"9\r\nhel",
    "chunks": CHUNKED + b"3\r\nhel\r\n",
    "no chunk": CHUNKED + b"3\r\nhel\r\nxyz\r\n",
}


@pytest.mark.parametrize("kind", CUTS)
def test_an_incomplete_answer_is_recognizable(stage: Stage, kind: str) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(CUTS[kind])

    with stage.playing(script) as act, act.client() as client:
        got = client.ask(act.request())
        assert (got.status, got.whole) == (200, False)
        assert client.is_closed()


# Requests


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 5"])
@pytest.mark.parametrize("expect", [[], ["Expect: 100-continue"]])
def test_a_body_arrives_whole(stage: Stage, framing: str, expect: list[str]) -> None:
    got: list[bytes] = []

    def script(wire: Wire) -> None:
        got.append(read_body(wire, wire.head()))
        wire.send(OK)

    body = b"5\r\nhello\r\n0\r\n\r\n" if "chunked" in framing else b"hello"
    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(framing, *expect, method="POST"))
        if expect:
            assert client.head().startswith(b"HTTP/1.1 100 ")
        client.send(body)
        assert client.answer().status == 200
    assert got == [body]


def test_an_early_refusal_is_forwarded_before_the_body_ends(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        wire.rest()

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request("Content-Length: 1000000", method="POST") + b"x" * 1000)
        got = client.answer()
        assert (got.status, got.body) == (413, b"no")


# Back-pressure


def flood(send: Wire, sent: list[int], piece: bytes) -> None:
    """Send as much as the other side accepts."""
    with contextlib.suppress(OSError):
        while sum(sent) < 4 * HELD_BYTES:
            send.send(piece)
            sent.append(MIB)


def comes_to_rest(sent: list[int]) -> bool:
    """Whether the other side stops accepting data once all buffers are full."""
    seen = -1
    deadline = time.monotonic() + PATIENCE_S
    while seen != len(sent) and time.monotonic() < deadline:
        seen = len(sent)
        time.sleep(1)  # there is no event for a socket that accepts no more
    return sum(sent) <= HELD_BYTES


def test_a_client_that_does_not_read_makes_the_upstream_wait(stage: Stage) -> None:
    sent: list[int] = []

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        flood(wire, sent, bytes(MIB))

    with stage.playing(script) as act, act.client(receive_buffer=4096) as client:
        client.send(act.request())
        assert client.head()
        assert comes_to_rest(sent)
        held = len(sent)
        client.read((held + 2) * MIB)
        until(lambda: len(sent) > held, "for more to be taken")


def test_an_upstream_that_does_not_read_makes_the_client_wait(stage: Stage) -> None:
    may_read = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        assert may_read.wait(PATIENCE_S)
        wire.rest()

    sent: list[int] = []
    with stage.playing(script) as act, act.client() as client:
        client.send(act.request("Content-Length: 1000000000000", method="POST"))
        sending = threading.Thread(target=flood, args=(client, sent, bytes(MIB)), daemon=True)
        sending.start()
        assert comes_to_rest(sent)
        held = len(sent)
        may_read.set()
        until(lambda: len(sent) > held + 8, "for more to be taken")
        client.end()
        sending.join(PATIENCE_S)


# Clients that leave


def test_a_client_that_leaves_before_the_answer_ends_the_request(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.rest()

    with stage.playing(script) as act:
        with act.client() as client:
            client.send(act.request())
            act.origin.wire()
        until(act.origin.is_done, "for the upstream to see that nobody waits")


def test_a_client_that_leaves_in_an_answer_ends_it(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED + b"5\r\nhello\r\n")
        wire.rest()

    with stage.playing(script) as act:
        with act.client() as client:
            client.send(act.request())
            assert client.until(b"hello").endswith(b"hello")
        until(act.origin.is_done, "for the upstream to see that nobody listens")


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhello"),
        ("Transfer-Encoding: chunked", b"9\r\nhello"),
        ("Content-Length: 1000", b"hello"),
    ],
)
def test_a_client_that_leaves_in_an_upload_ends_it(stage: Stage, framing: str, body: bytes) -> None:
    got: list[bytes] = []

    def script(wire: Wire) -> None:
        wire.head()
        got.append(wire.until(b"hello"))
        wire.rest()

    with stage.playing(script) as act:
        with act.client() as client:
            client.send(act.request(framing, method="POST") + body)
            until(lambda: got)
        until(act.origin.is_done, "for the upstream to see that the body is not whole")
        assert b"\r\n0\r\n\r\n" not in bytes(act.origin.wires[0].seen)


# HTTP/2, which hypercorn and granian support


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
def test_a_request_of_http_2_is_forwarded_whole(deploy: Start, server: str) -> None:
    """It may have a body without a header about it, and several cookie headers (RFC 9113 8.1,
    8.2.3)."""
    got: list[bytes] = []

    def script(wire: Wire) -> None:
        while head := wire.head():
            got.append(read_body(wire, head))
            wire.send(OK)

    def pieces() -> Iterator[bytes]:
        yield b"hel"
        yield b"lo"

    with Origin((script,)) as origin:
        live = deploy(origin.url, server=server, access={"default": "public"})
        with httpx.Client(http1=False, http2=True, trust_env=False, timeout=PATIENCE_S) as client:
            url = f"http://{live.host}/"
            lines = [("cookie", "a=1"), ("cookie", "b=2")]
            assert client.post(url, content=pieces(), headers=lines).text == "ok"
            assert client.post(url, content=b"hello").text == "ok"
            assert client.get(url).text == "ok"
    assert got[0].replace(b"\r\n", b"").strip(b"035") in (b"hello", b"hel2lo")
    assert got[1:] == [b"hello", b""]
    assert values_of(origin.heads[0], b"cookie") == [b"a=1; b=2"]
    assert values_of(origin.heads[2], b"transfer-encoding") == []
