"""Open exchanges are decided on again when their session may have ended or changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.session import FULL
from doorward.accounts.sessions.live import CONFIRMATION_S
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.accept import Accept
from doorward.gate.authorize import Target
from doorward.gate.credentials import Credentials
from doorward.gate.decision import Decision, Forward, Refuse, forbidden, unauthenticated
from doorward.gate.gate import RequestFacts
from doorward.http1.arrival import Arrival
from doorward.relay.watch import SILENCE_S, Watch
from doorward.upstream.connection import Connection
from doorward.upstream.pool import Pool

from tests.support.clock import FixedClock
from tests.support.front import Build
from tests.support.origin import Origin

ALICE = User(1, "a", "database", "alice", None, (), (), (), False, True, False, False, 0.0)


def session(number: int = 7, idle_timeout_s: float | None = None) -> Session:
    now = FixedClock().now
    return Session(
        number,
        "s",
        ALICE,
        0,
        now,
        now,
        idle_timeout_s,
        now + 3600,
        False,
        "",
        "",
        "",
        "page",
        FULL,
    )


def facts() -> RequestFacts:
    arrival = Arrival(b"GET", b"/x", [(b"host", b"app.test")], "192.0.2.1", "http")
    request = Accept((), lambda host: True)(arrival)
    return RequestFacts(request, Target(0, 0), Credentials(None, (), False))


class Stream:
    def __init__(self, session: Session | None) -> None:
        self.facts = facts()
        self.request_id = "1"
        self.session = session
        self.is_over = False
        self.refusals: list[Refuse] = []

    def end_for(self, refusal: Refuse) -> None:
        self.refusals.append(refusal)
        self.is_over = True


class Memory:
    """The part of the core's live sessions that `Watch` uses."""

    def __init__(self) -> None:
        self.current, self.silent_s, self.reads = True, 0.0, 0
        self.fault: Exception | None = None

    def is_current(self, now: float) -> bool:
        return self.current

    def silence_s(self, now: float) -> float:
        return self.silent_s

    async def catch_up(self, now: float) -> None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        self.current = True


class House:
    def __init__(self, *decisions: Decision | Exception) -> None:
        self.memory, self.clock, self.asked = Memory(), FixedClock(), 0
        self.decisions = list(decisions)
        live: Any = self.memory
        self.watch = Watch(live, self.ask, self.clock)

    async def ask(self, facts: RequestFacts, now: float) -> Decision:
        self.asked += 1
        await asyncio.sleep(0)
        decision = self.decisions.pop(0)
        if isinstance(decision, Exception):
            raise decision
        return decision


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def forward(session: Session | None) -> Forward:
    return Forward(0, session)


async def test_a_live_session_is_not_decided_on_again() -> None:
    house, stream = House(), Stream(session())
    house.watch.look(stream)
    house.watch.look(Stream(None))
    await settle()
    assert (house.asked, house.memory.reads, stream.refusals) == (0, 0, [])


async def test_an_open_stream_survives_a_refresh_that_changes_nothing() -> None:
    old, new = session(), session()
    house, stream = House(forward(new)), Stream(old)
    old.stale = True
    house.watch.look(stream)
    house.watch.look(stream)
    await settle()
    assert (house.asked, stream.refusals) == (1, [])
    assert stream.session is new


@pytest.mark.parametrize(
    ("decision", "code"),
    [
        (unauthenticated(b"/x"), "unauthenticated"),
        (forbidden(b"/x", home=True), "forbidden"),
        (forward(None), "unauthenticated"),
        (forward(session(8)), "unauthenticated"),
        (RuntimeError("it broke"), "internal_error"),
    ],
)
async def test_any_other_decision_ends_a_stream(decision: Decision | Exception, code: str) -> None:
    house, stream = House(decision), Stream(session())
    assert stream.session is not None
    stream.session.stale = True
    house.watch.look(stream)
    await settle()
    assert [refusal.code for refusal in stream.refusals] == [code]


async def test_an_expired_session_is_checked_in_storage_first() -> None:
    house, stream = House(unauthenticated(b"/x")), Stream(session(idle_timeout_s=60.0))
    house.clock.now += 59
    house.watch.look(stream)
    await settle()
    assert house.asked == 0
    house.clock.now += 2
    house.watch.look(stream)
    await settle()
    assert [refusal.code for refusal in stream.refusals] == ["unauthenticated"]


async def test_streams_of_an_ended_session_share_one_decision() -> None:
    house, one = House(unauthenticated(b"/x")), session()
    one.stale = True
    streams = [Stream(one) for _ in range(5)]
    for stream in streams:
        house.watch.look(stream)
    await settle()
    assert house.asked == 1
    assert all(len(stream.refusals) == 1 for stream in streams)


async def test_an_exchange_that_has_ended_is_left_alone() -> None:
    """By then, its connection may carry another user's request."""
    house, stream = House(unauthenticated(b"/x")), Stream(session())
    assert stream.session is not None
    stream.session.stale = True
    house.watch.look(stream)
    stream.is_over = True
    await settle()
    assert (house.asked, stream.refusals) == (1, [])


async def test_the_feed_is_read_by_one_task_at_a_time() -> None:
    house = House()
    house.memory.current = False
    for _ in range(5):
        house.watch.look(Stream(session()))
    await settle()
    assert house.memory.reads == 1 and house.memory.current


async def test_streams_stay_open_for_a_while_without_storage() -> None:
    house, stream = House(), Stream(session())
    house.memory.current, house.memory.fault = False, StorageUnavailable()
    house.memory.silent_s = SILENCE_S - 1
    house.watch.look(stream)
    await settle()
    assert stream.refusals == []
    house.memory.silent_s = SILENCE_S + 1
    house.watch.look(stream)
    await settle()
    assert [refusal.code for refusal in stream.refusals] == ["storage_unavailable"]
    assert house.memory.reads == 2


async def test_a_delayed_decision_is_made_again_if_it_may_have_changed() -> None:
    house = House(unauthenticated(b"/x"), forbidden(b"/x", home=True))
    nobodys, alices = forward(None), forward(session())
    assert await house.watch.confirm(facts(), nobodys) is nobodys
    assert await house.watch.confirm(facts(), alices) is alices
    assert house.asked == 0
    house.memory.current = False
    assert await house.watch.confirm(facts(), alices) == unauthenticated(b"/x")
    house.memory.current = True
    assert alices.session is not None
    alices.session.stale = True
    assert await house.watch.confirm(facts(), alices) == forbidden(b"/x", home=True)


async def test_nothing_is_sent_for_a_session_revoked_while_a_connection_was_waited_for(
    fronts: Build, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 3."""
    front = await fronts()
    opened = await front.opened()
    connect = Pool.connect

    async def slowly(pool: Pool, **how: bool) -> Connection:
        connection = await connect(pool, **how)
        await front.accounts.sessions.end(opened.session, front.clock())
        front.clock.now += CONFIRMATION_S
        return connection

    monkeypatch.setattr(Pool, "connect", slowly)
    assert (await front.get("/x", front.cookie(opened))).status == 401
    assert origin.heads == []


class Stuck(Stream):
    """Cannot be ended, for whatever reason."""

    def end_for(self, refusal: Refuse) -> None:
        super().end_for(refusal)
        raise RuntimeError("Cannot call write() after write_eof()")


async def test_a_stream_that_cannot_be_ended_keeps_no_other_open() -> None:
    house, one = House(unauthenticated(b"/x")), session()
    one.stale = True
    streams = [Stream(one), Stuck(one), Stream(one), Stuck(one), Stream(one)]
    for stream in streams:
        house.watch.look(stream)
    await settle()
    assert all(len(stream.refusals) == 1 for stream in streams)


async def test_an_error_while_ending_a_stream_is_contained() -> None:
    house, stream = House(), Stuck(session())
    house.memory.current, house.memory.silent_s = False, SILENCE_S + 1
    house.watch.look(stream)
    await settle()
    assert len(stream.refusals) == 1
