"""Forwarding between a client and a scripted origin, with Doorward as a process."""

from __future__ import annotations

import time

import pytest

from tests.conftest import Start
from tests.support.origin import OK, answering, silent
from tests.support.stage import Stage, staged
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Wire, read_body, values_of

MIB = 1 << 20
# More than two connections buffer with the usual settings of kernels: 32 MiB to read, 4 to write.
KERNEL_BYTES = 128 * MIB
HASTY = {"response": "1s", "idle": "4s"}  # for origins that say nothing
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def stage(deploy: Start, fast_lane: bool) -> Stage:
    return staged(deploy, HASTY, fast_lane=fast_lane)


# Answers at the client


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_an_answer_reaches_the_client_and_the_connection_is_kept(
    stage: Stage, answer: bytes, body: bytes
) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(answer)

    with stage.playing(script) as act, act.client() as client:
        for _ in range(2):
            client.send(act.request())
            while (got := client.answer()).status < 200:
                assert got.status == 103
            assert got.status == int(answer.rpartition(b"HTTP/1.1 ")[2][:3])
            assert (got.body, got.whole) == (body, True)
            assert got.values(b"x-late") == []
            assert len(got.values(b"date")) == 1


def test_headers_of_an_answer_keep_their_order_and_bytes(stage: Stage) -> None:
    lines = b"X-B: \xff\r\nSet-Cookie: a=1\r\nX-A: 1\r\nSet-Cookie: b=2\r\nServer: old\r\n"
    with stage.playing(answering(OK.replace(b"OK\r\n", b"OK\r\n" + lines))) as act:
        assert lines in act.ask().head


def test_trailers_that_belong_in_a_head_are_removed(stage: Stage) -> None:
    trailer = b"Content-Length: 5\r\nSet-Cookie: a=b\r\nX-Sum: 1\r\nRemote-User: root\r\n"
    answer = CHUNKED + b"2\r\nok\r\n0\r\n" + trailer + b"\r\n"
    with stage.playing(answering(answer)) as act, act.client() as client:
        for _ in range(3):
            got = client.ask(act.request("TE: trailers"))
            assert (got.status, got.body, got.whole) == (200, b"ok", True)
            assert got.trailers == [(b"x-sum", b"1")]
        assert len(act.origin.wires) == 1


def test_a_body_framed_by_the_close_looks_cut_when_it_is_reset(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nhel")
        until(lambda: got_some)
        wire.reset()

    got_some: list[bytes] = []
    with stage.playing(script) as act, act.client() as client:
        client.send(act.request())
        got_some.append(client.until(b"hel"))
        assert b"0\r\n\r\n" not in client.rest()


@pytest.mark.parametrize("said", [b"", b"HELLO\r\n\r\n", b"HTTP/1.1 999 X\r\n\r\n", b"HTTP/1.1 2"])
def test_an_invalid_answer_is_502(stage: Stage, said: bytes) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(said)

    with stage.playing(script) as act, act.client() as client:
        for _ in range(2):
            got = client.ask(act.request())
            assert got.status == 502 and got.whole
            assert b"bad_gateway" in got.body


def test_an_address_without_a_server_is_502_for_people_and_programs(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act:
        pass
    assert b'"bad_gateway"' in act.ask().body
    page = act.ask("Accept: text/html", "Sec-Fetch-Mode: navigate")
    assert page.status == 502
    assert page.values(b"content-type")[0].startswith(b"text/html")


# Requests at the origin


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_arrives_whole_however_it_is_framed(stage: Stage, chunked: bool) -> None:
    got: list[bytes] = []

    def script(wire: Wire) -> None:
        got.append(read_body(wire, wire.head()))
        wire.send(OK)

    line = ["Transfer-Encoding: chunked"] if chunked else []
    body = b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n" if chunked else b"hello"
    with stage.playing(script) as act:
        assert act.ask(*line, method="POST", body=body).status == 200
        head = bytes(act.origin.wire().seen)
        assert values_of(head, b"transfer-encoding") == ([b"chunked"] if chunked else [])
    assert b"".join(got).replace(b"\r\n", b"").strip(b"50") in (b"hello", b"3hel2lo")


def test_the_target_is_never_rewritten(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act:
        for path in ("/a%2Fb//c;d?e=%zz&&f=/../", "/?", "?", "/%C3%A9"):
            act.ask(path=path)
            assert act.origin.heads[-1].startswith(f"GET {act.prefix}{path} HTTP/1.1\r\n".encode())


# Kept connections


def stale(wire: Wire) -> None:
    """Answers once, then closes at the next request without an answer."""
    wire.head()
    wire.send(OK)
    wire.head()


def test_a_repeatable_request_is_retried_if_a_kept_connection_closed(
    stage: Stage,
) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND"):
        with stage.playing(stale, answering(OK)) as act:
            assert act.ask().status == 200
            assert act.ask(method=method).status == 200
            assert len(act.origin.wires) == 2
            assert len(act.origin.heads) == 3


@pytest.mark.parametrize(
    ("method", "body"), [("POST", b""), ("POST", b"x"), ("PATCH", b"x"), ("PUT", b"x")]
)
def test_an_unrepeatable_request_is_sent_once(stage: Stage, method: str, body: bytes) -> None:
    with stage.playing(stale, answering(OK)) as act:
        assert act.ask().status == 200
        assert act.ask(method=method, body=body).status == 502
        assert len(act.origin.heads) == 2


def test_a_fresh_connection_that_closes_without_an_answer_is_not_tried_again(stage: Stage) -> None:
    with stage.playing(lambda wire: wire.head() and None) as act:
        assert act.ask().status == 502
        assert len(act.origin.wires) == 1


def test_unsolicited_bytes_never_become_an_answer(stage: Stage) -> None:
    """CVE-2026-71324: a kept connection was poisoned for other users."""
    poison = OK.replace(b"\r\n\r\nok", b"\r\nX-Poison: 1\r\n\r\nno")
    with stage.playing(answering(OK + poison), answering(OK)) as act:
        for _ in range(3):
            got = act.ask()
            assert (got.body, got.values(b"x-poison")) == (b"ok", [])
    with stage.playing(answering(OK), answering(OK)) as act:
        assert act.ask().status == 200
        act.origin.wire().send(poison)
        assert act.origin.wire().is_closed()
        assert act.ask().values(b"x-poison") == []


# Time


def test_no_answer_in_time_is_504(stage: Stage) -> None:
    with stage.playing(silent, hasty=True) as act:
        got = act.ask()
        assert got.status == 504 and b"gateway_timeout" in got.body
        assert act.origin.wire().is_closed()


def test_silence_in_mid_answer_is_a_cut(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED + b"2\r\nok\r\n")
        wire.until(b"never")

    with stage.playing(script, hasty=True) as act:
        assert not act.ask().whole


def test_a_slow_answer_does_not_time_out(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            time.sleep(0.25)  # the test is about the silence
            wire.send(b"x")

    with stage.playing(script, hasty=True) as act:
        assert act.ask().body == b"x" * 20


def test_a_client_that_stops_sending_its_body_is_disconnected(stage: Stage) -> None:
    with stage.playing(silent, hasty=True) as act, act.client() as client:
        client.send(act.request("Content-Length: 9", method="POST") + b"abc")
        assert client.answer().status == 504
        assert b"abc" in act.origin.wire().rest() + bytes(act.origin.wire().seen)


# Streaming


def test_bodies_stream_in_both_directions(stage: Stage) -> None:
    """Promise 8."""

    def script(wire: Wire) -> None:
        wire.head()
        for number in range(3):
            assert wire.read(1) == b"%d" % number
            if not number:
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
            wire.send(b"%c" % (97 + number))

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request("Content-Length: 3", method="POST"))
        for number in range(3):
            client.send(b"%d" % number)
            if not number:
                assert client.head().startswith(b"HTTP/1.1 200")
            assert client.read(1) == b"%c" % (97 + number)


def pour(wire: Wire, size: int) -> None:
    block = b"x" * MIB
    for _ in range(size // MIB):
        wire.send(block)


def test_a_hundred_mebibytes_pass_in_bounded_memory_both_ways(stage: Stage) -> None:
    """Promise 8: it may only take a few buffers."""
    size = 100 * MIB

    def script(wire: Wire) -> None:
        head = wire.head()
        left = size - (len(wire.seen) - len(head))
        while left:
            data = wire.sock.recv(MIB)
            assert data
            left -= len(data)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        pour(wire, size)

    with stage.playing(answering(OK)) as act:
        act.ask()
    before = stage.live.resident_kib()
    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(f"Content-Length: {size}", method="POST"))
        pour(client, size)
        head = client.head()
        left, peak = size - (len(client.seen) - len(head)), 0
        while left:
            data = client.sock.recv(MIB)
            assert data
            left -= len(data)
            peak = max(peak, stage.live.resident_kib()) if left % 64 == 0 else peak
        peak = max(peak, stage.live.resident_kib())
    assert peak - before < 16 * 1024


def sendable(wire: Wire, seconds: float = 0.4) -> int:
    """The number of bytes that the other side accepts before it pauses."""
    sent = 0
    wire.sock.settimeout(seconds)
    try:
        while sent < 256 * MIB:
            sent += wire.sock.send(b"x" * 65536)
    except TimeoutError:
        pass
    wire.sock.settimeout(PATIENCE_S)
    return sent


def test_a_client_that_does_not_read_holds_its_origin_back(stage: Stage) -> None:
    sent: list[int] = []

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (512 * MIB))
        sent.append(sendable(wire))

    before = stage.live.resident_kib()
    with stage.playing(script) as act, act.client(receive_buffer=65536) as client:
        client.send(act.request())
        until(lambda: sent, "for the origin to be held back")
        assert sent[0] < KERNEL_BYTES
        assert stage.live.resident_kib() - before < 8 * 1024
        assert client.head().startswith(b"HTTP/1.1 200")
        assert client.read(4 * MIB) == b"x" * 4 * MIB


def test_an_origin_that_does_not_read_holds_its_client_back(stage: Stage) -> None:
    with stage.playing(lambda wire: until(lambda: done)) as act, act.client() as client:
        done: list[bool] = []
        before = stage.live.resident_kib()
        client.send(act.request(f"Content-Length: {512 * MIB}", method="POST"))
        assert sendable(client) < KERNEL_BYTES
        assert stage.live.resident_kib() - before < 8 * 1024
        done.append(True)


# Clients that leave


def test_a_client_that_leaves_while_a_later_request_waits_ends_the_one_under_way(
    stage: Stage,
) -> None:
    """With pipelining, an unread download must not continue to its end."""
    sent: list[int] = []

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        with pytest.raises(OSError):
            while True:
                sent.append(wire.sock.send(b"x" * MIB))

    with stage.playing(script) as act:
        client = act.client()
        client.send(act.request() + act.request(path="/2"))
        client.read(MIB)
        client.reset()
        until(act.origin.is_done)
        assert sum(sent) < KERNEL_BYTES


def test_an_answer_for_one_client_never_reaches_another(stage: Stage) -> None:
    """CVE-2026-33544, CVE-2026-71324: an aborted request must not leave its answer on the
    connection."""

    def echo(wire: Wire) -> None:
        while head := wire.head():
            name = head.split(b" ")[1].rpartition(b"/")[2]
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    with stage.playing(echo) as act:
        for number in range(40):
            with act.client() as client:
                client.send(act.request(path=f"/left{number}"))
                if number % 2:
                    client.sock.recv(1)
            assert act.ask(path=f"/kept{number}").body == b"kept%d" % number
