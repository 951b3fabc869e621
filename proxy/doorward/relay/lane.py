"""The fast lane: a decided request goes to its upstream and back without a task, scope or queue.

A second carrier of the same decisions and exchanges as `asgi.py`, for requests without a body
whose session is in memory, under our own server. Whatever it does not take goes the other way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from doorward.accounts.randomness import request_id
from doorward.gate.accept import REMEMBERED_BYTES, Accept, Accepted
from doorward.gate.decision import Forward, Refuse, broken
from doorward.gate.gate import Gate, Plan
from doorward.http1.headers import Block, Header, trailer_lines
from doorward.http1.repeats import make_room
from doorward.observe.observer import (
    ANSWER_CUT,
    CLIENT_GONE,
    FORWARDED,
    Decided,
    Observer,
    Short,
    failed,
    now_s,
    refused,
)
from doorward.relay.forward import IDEMPOTENT, Forwarder
from doorward.relay.incoming import CONTINUE
from doorward.rewrite.answer_headers import interim_headers
from doorward.upstream.connection import Connection
from doorward.upstream.failures import ConnectionLost, UpstreamFailure
from doorward.upstream.heads import Head
from doorward.web.answers import Answers

_log = structlog.get_logger("doorward.gate")


# What asked for whom: method, target and headers; and who sent it by which scheme.
Key = tuple[bytes, bytes, Block]
Link = tuple[str, str]
# Plans that are kept; four KiB each at most, one as a rule.
PLANS = 2048


class Lane:
    """Called by the server with each plain request, before anything else is done for it."""

    __slots__ = (
        "_accept",
        "_answers",
        "_clock",
        "_forwarders",
        "_gate",
        "_is_internal",
        "_observer",
        "_plans",
        "ended",
    )

    def __init__(
        self,
        accept: Accept,
        gate: Gate,
        forwarders: tuple[Forwarder, ...],
        is_internal: Callable[[bytes], bool],
        answers: Answers,
        clock: Callable[[], float],
        observer: Observer,
    ) -> None:
        self._observer = observer
        self.ended = observer.ended
        self._accept = accept
        self._gate = gate
        self._forwarders = forwarders
        self._is_internal = is_internal
        self._answers = answers
        self._clock = clock
        self._plans: dict[Key, Kept] = {}

    def __call__(self, exchange: Any) -> bool:
        """True when it is being answered, or has been; False when nothing was done, and the request
        goes the ASGI way. `exchange` is a `doorward.server.exchange.Exchange`."""
        started = now_s()
        key = (exchange.method, exchange.target, exchange.block)
        kept = self._plans.get(key)
        if kept is not None and kept.link == exchange.link:
            number = request_id()
        else:
            kept = self._read(exchange, key)
            if kept is None:
                return False
            number = kept.plan.request.request_id
        try:
            decision = self._gate.settle(kept.plan, number, self._clock())
        except Exception:  # whatever breaks on the way lets nobody through (promise 1)
            _log.exception("decision_failed", request=number)
            decision = broken()
        if decision is None:
            return False
        if isinstance(decision, Forward):
            return self._forward(exchange, kept.plan, number, decision, started)
        return self._refuse(kept, Turn(exchange, kept.plan, number, started), decision)

    def _read(self, exchange: Any, key: Key) -> "Kept | None":
        """A request that did not come before; None when the ASGI way is to say what it is."""
        try:
            request = self._accept(exchange.arrival)
            if self._is_internal(request.path):
                return None
            plan = self._gate.plan(request)
        except Exception:  # refused there, or broken there again, in one place
            return None
        if isinstance(plan, Refuse):
            return None
        kept = Kept(exchange.link, plan)
        if exchange.block is not None and plan.may_come_again:
            self._keep(key, kept)
        return kept

    def _keep(self, key: Key, kept: "Kept") -> None:
        if len(key[1]) <= REMEMBERED_BYTES:
            make_room(self._plans, PLANS)
            kept.is_kept = True
            self._plans[key] = kept

    def _forward(
        self, exchange: Any, plan: Plan, number: str, decision: Forward, started: float
    ) -> bool:
        forwarder = self._forwarders[decision.route]
        connection = forwarder.take(exchange, decision)
        if connection is None:
            return False
        relay = Relay(exchange, plan, number, started, self, decision, forwarder, connection)
        forwarder.begin(connection, relay, plan.request, exchange, decision)
        exchange.when_gone(relay.on_client_gone)
        return True

    def _refuse(self, kept: "Kept", turn: "Turn", refusal: Refuse) -> bool:
        """Give an answer of ours, which is drawn once for what comes again. False for a form that
        the login page may keep: the ASGI way does that."""
        drawn = kept.drawn
        if drawn is None or drawn.refusal is not refusal:
            if self._answers.may_keep(refusal, turn.exchange.arrival):
                return False
            drawn = self._drawn(turn, refusal)
            if kept.is_kept and drawn.differs_by_id_alone:
                kept.drawn = drawn
        body = drawn.body.replace(drawn.number.encode(), turn.number.encode())
        self._give(turn, refused(refusal.code), refusal.route, drawn.head, body)
        return True

    def refuse(self, turn: "Turn", refusal: Refuse, route: int) -> None:
        """Give an answer of ours."""
        drawn = self._drawn(turn, refusal)
        self._give(turn, refused(refusal.code), route, drawn.head, drawn.body)

    def _drawn(self, turn: "Turn", refusal: Refuse) -> "Drawn":
        response = self._answers.to(refusal, turn.exchange.arrival, turn.request.client)
        head = turn.exchange.prepare(response.status_code, response.raw_headers)
        return Drawn(refusal, turn.number, head, bytes(response.body))

    def fail(self, turn: "Turn", failure: UpstreamFailure, route: int) -> None:
        """Give an answer of ours instead of the upstream's."""
        response = self._answers.failure(failure, turn.exchange.arrival, turn.request)
        head = turn.exchange.prepare(response.status_code, response.raw_headers)
        self._give(turn, failed(failure.code), route, head, bytes(response.body))

    def _give(self, turn: "Turn", decided: Decided, route: int, head: Any, body: bytes) -> None:
        request, session = turn.plan.request, None
        if self._observer.writes:
            request = turn.request
            session = self._gate.known(request, self._clock())
        size = 0 if request.method == b"HEAD" else len(body)
        self.ended(decided, route, head.status, turn.started, Short(request, session, size))
        turn.exchange.start_with(head)
        turn.exchange.end(body)


@dataclass(slots=True)
class Drawn:
    """An answer of ours to the request with this number."""

    refusal: Refuse
    number: str
    head: Any
    body: bytes

    @property
    def differs_by_id_alone(self) -> bool:
        """False for a page, which may have a nonce of its own each time."""
        return b"text/html" not in self.head.text and self.number.encode() not in self.head.text


@dataclass(slots=True)
class Kept:
    """What is known of a request that may come again. `is_kept`: it is looked for when it does."""

    link: Link
    plan: Plan
    is_kept: bool = False
    drawn: Drawn | None = None


class Turn:
    """One request's turn: the exchange that it came by, and the number that is its id."""

    __slots__ = ("exchange", "number", "plan", "started")

    def __init__(self, exchange: Any, plan: Plan, number: str, started: float) -> None:
        self.exchange = exchange
        self.plan = plan
        self.number = number
        self.started = started

    @property
    def request(self) -> Accepted:
        return self.plan.request_as(self.number)


class Relay(Turn):
    """A `Sink` that writes an answer to its client as it comes."""

    __slots__ = (
        "_connection",
        "_decision",
        "_forwarder",
        "_lane",
        "_status",
        "session",
    )

    is_whole = True  # where an observer is told of the relay itself

    def __init__(
        self,
        exchange: Any,
        plan: Plan,
        number: str,
        started: float,
        lane: Lane,
        decision: Forward,
        forwarder: Forwarder,
        connection: Connection,
    ) -> None:
        self.exchange = exchange  # without a call of Turn's: this is made for every request
        self.plan = plan
        self.number = number
        self.started = started
        self._status = 0
        self._lane = lane
        self._decision = decision
        self._forwarder = forwarder
        self._connection = connection
        self.session = decision.session

    def on_interim(self, status: int, headers: list[Header]) -> None:
        if status != CONTINUE:
            self.exchange.interim(status, interim_headers(headers))

    def on_head(self, head: Head) -> None:
        self._status = head.status
        exchange = self.exchange
        if head.binds:
            self._forwarder.bind(self._connection, exchange, self.plan.request, self.session)
        exchange.start_with(
            self._forwarder.prepared(head, self.plan.request, self._decision, exchange.prepare)
        )

    def on_whole(self, head: Head, body: bytes) -> None:
        self.on_head(head)
        self.exchange.write(body)
        self._lane.ended(FORWARDED, self._decision.route, self._status, self.started, self)
        self.exchange.end()

    def on_body(self, data: bytes) -> None:
        exchange = self.exchange
        exchange.write(data)
        if exchange.is_slow:
            self._connection.pause_reading()
            exchange.when_drained(self._connection.resume_reading)

    def on_end(self, trailers: tuple[Header, ...]) -> None:
        self._lane.ended(FORWARDED, self._decision.route, self._status, self.started, self)
        self.exchange.end(b"", trailer_lines(trailers) if trailers else b"")

    def on_writable(self) -> None:
        pass  # there is no body to send

    def on_sweep(self, now: float) -> None:
        self._forwarder.watch.look(self)

    def on_failure(self, failure: UpstreamFailure) -> None:
        exchange, request = self.exchange, self.request
        self._forwarder.failed(failure)
        if exchange.response_started:
            _log.warning("answer_cut", reason=str(failure), request=request.request_id)
            self._cut_for(ANSWER_CUT)
            exchange.cut()
        elif request.method in IDEMPOTENT and (
            # Every connection of the lane is a kept one: it lost a race (RFC 9112 9.3.1).
            isinstance(failure, ConnectionLost) or self._forwarder.has_others(self._connection)
        ):
            self._forwarder.retries += 1
            exchange.fall_back()
        else:
            self._lane.fail(self, failure, self._decision.route)

    def on_client_gone(self) -> None:
        if not self.is_over:
            self._connection.abandon()
            self._cut_for(self.exchange.gone_for)

    def _cut_for(self, reason: str) -> None:
        told = Short(self.request, self.session, self.sent_bytes, is_whole=False)
        status = self._status or self.exchange.turned_away or CLIENT_GONE
        self._lane.ended(failed(reason), self._decision.route, status, self.started, told)

    @property
    def sent_bytes(self) -> int:
        return int(self.exchange.sent_bytes)

    @property
    def is_over(self) -> bool:
        return not self._connection.serves(self)

    def end_for(self, refusal: Refuse) -> None:
        """Its session is over, or may not do this any more: end it at once."""
        self._connection.abandon()
        if self.exchange.response_started:
            self._cut_for(refusal.code)
            self.exchange.cut(at_once=True)
        else:
            self._lane.refuse(self, refusal, self._decision.route)
