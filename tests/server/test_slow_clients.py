"""Limits for slow clients. The server is another process, so its clock cannot be moved: limits are
short here for clients that exceed them, and far longer than a pause for those that stay within
them, so that a machine that stalls decides nothing."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.live import Live
from tests.support.origin import OK, answering
from tests.support.stage import Stage, staged
from tests.support.waiting import until
from tests.support.wire import Wire, get

CLIENT_TIMEOUTS = ("idle_timeout", "body_timeout", "write_timeout")
SHORT_S, SHORT = 1.0, dict.fromkeys(("header_timeout", *CLIENT_TIMEOUTS), "1s")  # exceeded
KEPT_S, KEPT = 4.0, dict.fromkeys(CLIENT_TIMEOUTS, "4s")  # sixteen pauses
PAUSE_S = 0.25


@pytest.fixture(scope="module")
def stage(deploy: Start) -> Stage:
    return staged(deploy, limits=SHORT)


@pytest.fixture(scope="module")
def patient(deploy: Start) -> Stage:
    return staged(deploy, limits=KEPT)


@pytest.fixture(scope="module")
def live(stage: Stage) -> Live:
    return stage.live


def closes_after(live: Live, *sent: bytes, answers: int = 0) -> float:
    """The time until a connection closes on which only these bytes were sent."""
    started = time.monotonic()
    with live.client() as client:
        for data in sent:
            client.send(data)
            if answers:
                assert client.answer().status == 200
                answers -= 1
        assert client.is_closed()
        return time.monotonic() - started


HEALTH = get("/.doorward/healthz")


def test_a_silent_connection_is_closed(live: Live) -> None:
    assert closes_after(live) > 0.9 * SHORT_S


@pytest.mark.parametrize("part", [b"G", b"\r\n", b"GET / HTTP/1.1\r\n", HEALTH[:-2]])
def test_an_incomplete_head_times_out(live: Live, part: bytes) -> None:
    assert closes_after(live, part) > 0.9 * SHORT_S
    assert closes_after(live, HEALTH, part, answers=1) > 0.9 * SHORT_S


def test_a_head_sent_byte_by_byte_times_out(live: Live) -> None:
    """Single bytes do not extend the time, which is for the whole head."""
    with live.client() as client:
        with pytest.raises(OSError):
            for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 1000:
                client.send(bytes([byte]))
                time.sleep(0.05)  # the slowness is what this is about


@pytest.mark.parametrize("behind", [b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"nonsense\r\n\r\n"])
def test_invalid_bytes_after_a_request_do_not_shorten_its_time(stage: Stage, behind: bytes) -> None:
    """`header_timeout` is only for heads that have not arrived yet."""

    def script(wire: Wire) -> None:
        wire.head()
        time.sleep(1.5 * SHORT_S)  # longer than `header_timeout`
        wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request() + behind)
        assert [client.answer().status for _ in range(2)] == [200, 400]
        assert client.is_closed()


def test_an_idle_connection_is_closed_after_its_time(live: Live) -> None:
    assert closes_after(live, HEALTH, answers=1) > 0.9 * SHORT_S


def test_a_request_within_the_idle_time_is_answered(patient: Stage) -> None:
    with patient.live.client() as client:
        until_s = time.monotonic() + 1.1 * KEPT_S
        while time.monotonic() < until_s:
            assert client.ask(HEALTH).status == 200
            time.sleep(PAUSE_S)  # idle, but not long enough


def test_a_slow_answer_is_not_idle(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        time.sleep(1.5 * SHORT_S)  # longer than a client may be idle
        wire.send(OK)

    with stage.playing(script) as act:
        assert act.ask().body == b"ok"


def test_a_form_body_that_never_arrives_times_out(live: Live) -> None:
    """A form can be sent without a login, so it must not keep a connection open."""
    form = "Content-Type: application/x-www-form-urlencoded"
    head = get("/.doorward/login", form, "Content-Length: 100").replace(b"GET", b"POST", 1)
    with live.client() as client:
        client.send(head + b"username=")
        assert client.answer().status == 408
        assert client.is_closed()


@pytest.mark.parametrize(
    "part",
    [
        b"abc",  # of nine bytes
        b"",
    ],
)
def test_a_body_that_stops_is_408_and_cut_for_the_upstream(stage: Stage, part: bytes) -> None:
    with stage.playing(lambda wire: wire.head() and wire.rest() and None) as act:
        with act.client() as client:
            client.send(act.request("Content-Length: 9", method="POST") + part)
            assert client.answer().status == 408
            assert client.is_closed()
        until(act.origin.is_done)
        assert bytes(act.origin.wire().seen).endswith(b"\r\n\r\n" + part)


@pytest.mark.parametrize("part", [b"3\r\nab", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\nX: y"])
def test_chunks_that_stop_look_cut_to_the_upstream(stage: Stage, part: bytes) -> None:
    with stage.playing(lambda wire: wire.head() and wire.rest() and None) as act:
        with act.client() as client:
            client.send(act.request("Transfer-Encoding: chunked", method="POST") + part)
            assert client.answer().status == 408
        until(act.origin.is_done)
        assert b"\r\n0\r\n" not in act.origin.wire().seen


def test_a_body_that_stops_during_an_answer_cuts_it(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")
        wire.rest()

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request("Content-Length: 9999", method="POST"))
        while client.is_silent(0.1):  # it stops only under the answer
            client.send(b"x")
        got = client.answer()
        assert (got.status, got.body, got.whole) == (200, b"hel", False)


def test_a_slow_body_is_accepted(patient: Stage) -> None:
    """The timeout is for the pause between two pieces; the upload as a whole may take any time."""
    with patient.playing(answering(OK)) as act, act.client() as client:
        client.send(act.request("Content-Length: 20", method="POST"))
        for _ in range(20):
            time.sleep(PAUSE_S)  # the slowness is what this is about
            client.send(b"x")
        assert client.answer().status == 200


def test_a_body_that_the_upstream_does_not_take_is_not_late(patient: Stage) -> None:
    """With back-pressure, it is not the client that is slow."""
    size = 8 * 1024 * 1024
    done: list[int] = []

    def script(wire: Wire) -> None:
        wire.head()
        time.sleep(1.1 * KEPT_S)  # longer than the client may be silent
        done.append(len(wire.read(size)))
        wire.send(OK)

    with patient.playing(script) as act, act.client() as client:
        client.send(act.request(f"Content-Length: {size}", method="POST"))
        client.send(b"x" * size)
        assert client.answer().status == 200
        assert done == [size]


def flood(wire: Wire) -> None:
    wire.head()
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            wire.send(b"x" * 65536)


@pytest.mark.parametrize("asked", [(), ("Connection: Upgrade", "Upgrade: echo/1")])
def test_a_client_that_reads_nothing_is_disconnected(stage: Stage, asked: tuple[str, ...]) -> None:
    """Also if it asked for an upgrade and gets an ordinary answer."""
    with stage.playing(flood) as act, act.client(receive_buffer=4096) as client:
        client.send(act.request(*asked))
        until(act.origin.is_done)


def test_a_client_that_reads_slowly_is_served(patient: Stage) -> None:
    with patient.playing(flood) as act, act.client(receive_buffer=65536) as client:
        client.send(act.request())
        for _ in range(20):
            time.sleep(PAUSE_S)  # the slowness is what this is about
            assert client.read(200_000)
        assert not act.origin.is_done()


def test_a_client_that_does_not_read_the_end_is_disconnected(stage: Stage) -> None:
    """The rest is too short for back-pressure, and the connection is already closing."""

    def descriptors() -> int:
        return len(list(Path(f"/proc/{stage.live.pid}/fd").iterdir()))

    size = 5_000_000
    body = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)
    with stage.playing(answering(body)) as act, act.client(receive_buffer=4096) as client:
        assert client.ask(get("/.doorward/healthz", host=stage.live.host)).status == 200
        before = descriptors()
        client.send(act.request("Connection: close"))
        until(lambda: act.origin.heads)
        until(lambda: descriptors() < before)


def test_an_endless_body_after_its_answer_is_disconnected(stage: Stage) -> None:

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        wire.rest()

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request("Content-Length: 1000", method="POST"))
        assert client.answer().status == 413
        with pytest.raises(OSError):
            while True:
                client.send(b"x")
                time.sleep(0.05)  # a client that keeps sending
