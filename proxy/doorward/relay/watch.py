"""What is still open when its session ends: checked four times a second, and closed.

Knows sessions and the gate's decision; must not know connections. A request that ends before the
next check costs nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import Session
from doorward.gate.decision import Decision, Forward, Refuse, broken, unauthenticated, unavailable
from doorward.gate.gate import RequestFacts

_log = structlog.get_logger("doorward.gate")

# New requests are refused after three seconds without an answer from storage. Open streams continue
# for as long as a restart of the database takes, but not if this host is cut off from the others.
SILENCE_S = 30.0

Ask = Callable[[RequestFacts, float], Awaitable[Decision]]


class WatchedStream(Protocol):
    """An open exchange or tunnel; `session` is the session that it was allowed with."""

    facts: RequestFacts
    request_id: str
    session: Session | None

    @property
    def is_over(self) -> bool: ...

    def end_for(self, refusal: Refuse) -> None:
        """The session is over or has lost access: end the stream at once."""


class Watch:
    """Decides again on open streams once their session may have ended or changed."""

    def __init__(self, live: Live, ask: Ask, clock: Callable[[], float]) -> None:
        self._live = live
        self._ask = ask
        self._clock = clock
        self._waiting: dict[int, WatchedStream] = {}  # by identity, to be decided again
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    def look(self, stream: WatchedStream) -> None:
        """Called regularly while `stream` is open."""
        session = stream.session
        if session is None:
            return
        now = self._clock()
        if not self._live.is_current(now) and self._reading is None:
            self._reading = asyncio.ensure_future(self._read_news(now))
        if session.stale or not session.is_live(now):
            self._waiting[id(stream)] = stream
            if self._task is None:
                self._task = asyncio.ensure_future(self._decide_again())
        elif self._live.silence_s(now) > SILENCE_S:
            _end(stream, unavailable())

    async def confirm(self, facts: RequestFacts, decision: Forward) -> Decision:
        """A decision that took long before the request was seen here: the decision as it is now."""
        session, now = decision.session, self._clock()
        if session is None or (
            self._live.is_current(now) and session.is_live(now) and not session.stale
        ):
            return decision
        return await self._decide(facts)

    async def _read_news(self, now: float) -> None:
        try:
            await self._live.catch_up(now)
        except Refusal:
            pass  # storage does not answer: housekeeping logs it
        finally:
            self._reading = None

    async def _decide_again(self) -> None:
        """One after another, and once for all streams of a session that is over."""
        ended: set[int] = set()
        try:
            while self._waiting:
                _, stream = self._waiting.popitem()
                assert stream.session is not None
                number, facts = stream.session.number, stream.facts
                nobody = unauthenticated(facts.request.target)
                decision = nobody if number in ended else await self._decide(facts)
                if isinstance(decision, Forward):
                    if decision.session is not None and decision.session.number == number:
                        stream.session = decision.session
                        continue
                    decision = nobody  # public, but it began with a session
                if decision.code == nobody.code:
                    ended.add(number)
                if not stream.is_over:  # meanwhile
                    _log.info("stream_closed", reason=decision.code, request=stream.request_id)
                    _end(stream, decision)
        finally:
            self._task = None

    async def _decide(self, facts: RequestFacts) -> Decision:
        try:
            return await self._ask(facts, self._clock())
        except Exception:  # as for any request: no session (promise 1)
            _log.exception("decision_failed", request=facts.request.request_id)
            return broken()


def _end(stream: WatchedStream, refusal: Refuse) -> None:
    """One that cannot be ended must not keep the others open."""
    try:
        stream.end_for(refusal)
    except Exception:
        _log.exception("stream_not_closed", request=stream.request_id)
