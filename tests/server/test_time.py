"""How slow a client may be. No clock of ours moves another process, so limits are short here."""

from __future__ import annotations

import time

import pytest

from tests.conftest import Start
from tests.fakes import OK, Wire, get
from tests.live import Live
from tests.stage import Stage, staged

LATE_S = 2.0


@pytest.fixture(scope="module")
def stage(deploy: Start) -> Stage:
    return staged(deploy, limits={"header_timeout": "300ms", "idle_timeout": "600ms"})


@pytest.fixture(scope="module")
def live(stage: Stage) -> Live:
    return stage.live


def closes_in(live: Live, *sent: bytes, answers: int = 0) -> float:
    """After how long a connection is closed on which this was sent and nothing more."""
    with live.client() as client:
        for data in sent:
            client.send(data)
            if answers:
                assert client.answer().status == 200
                answers -= 1
        started = time.monotonic()
        assert client.is_closed()
        return time.monotonic() - started


HEALTH = get("/.doorward/healthz")


def test_a_connection_that_says_nothing_is_closed(live: Live) -> None:
    assert 0.2 < closes_in(live) < LATE_S


@pytest.mark.parametrize("part", [b"G", b"\r\n", b"GET / HTTP/1.1\r\n", HEALTH[:-2]])
def test_a_head_that_does_not_come_to_its_end_is_given_up(live: Live, part: bytes) -> None:
    assert closes_in(live, part) < LATE_S
    assert closes_in(live, HEALTH, part, answers=1) < LATE_S


def test_a_head_that_dribbles_is_given_up(live: Live) -> None:
    """Byte by byte is no progress: the time is for the whole head."""
    with live.client() as client:
        started = time.monotonic()
        with pytest.raises(OSError):
            for byte in HEALTH * 1000:
                client.send(bytes([byte]))
                time.sleep(0.05)  # the slowness is what this is about
        assert time.monotonic() - started < LATE_S


def test_an_idle_connection_is_closed_after_its_time(live: Live) -> None:
    assert 0.4 < closes_in(live, HEALTH, answers=1) < LATE_S


def test_a_request_within_the_idle_time_is_answered(live: Live) -> None:
    with live.client() as client:
        for _ in range(3):
            assert client.ask(HEALTH).status == 200
            time.sleep(0.35)  # idle, yet not for long enough


def test_a_slow_answer_is_not_idle(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        time.sleep(0.9)
        wire.send(OK)

    with stage.playing(script) as act:
        assert act.ask().body == b"ok"


@pytest.mark.xfail(reason="paths of ours wait for a body as long as it takes", raises=TimeoutError)
def test_the_body_of_a_form_that_never_comes_is_given_up(live: Live) -> None:
    """Nobody has to be logged in to send one, so nobody may keep a connection with it."""
    form = "Content-Type: application/x-www-form-urlencoded"
    head = get("/.doorward/login", form, "Content-Length: 100").replace(b"GET", b"POST", 1)
    with live.client() as client:
        client.send(head + b"username=")
        client.sock.settimeout(LATE_S)
        started = time.monotonic()
        client.rest()
        assert time.monotonic() - started < LATE_S


def test_a_body_that_goes_on_after_its_answer_does_not_hold_the_connection(stage: Stage) -> None:

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        wire.rest()

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request("Content-Length: 1000", method="POST"))
        assert client.answer().status == 413
        started = time.monotonic()
        with pytest.raises(OSError):
            while True:
                client.send(b"x")
                time.sleep(0.05)  # a client that goes on and on
        assert time.monotonic() - started < LATE_S
