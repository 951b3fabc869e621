"""The fast lane: a decided request goes to its upstream and back without a task, scope or queue.

A second carrier of the same decisions and exchanges as `asgi.py`, for requests without a body
whose session is in memory, under our own server. Whatever it does not take goes the other way.
"""

from collections.abc import Callable
from typing import Any

import structlog
from starlette.responses import Response

from proxy.accounts.chance import request_id
from proxy.gate.accept import REMEMBERED_BYTES, Accept, Accepted
from proxy.gate.answer_headers import interim_headers
from proxy.gate.answers import Answers
from proxy.gate.decision import Forward, Refuse, broken
from proxy.gate.forward import IDEMPOTENT, Forwarder
from proxy.gate.gate import Gate, Plan
from proxy.gate.headers import BadHeaders, Block, Header, trailer_lines
from proxy.gate.incoming import CONTINUE
from proxy.gate.targets import LastHop, Unfit
from proxy.observe.observer import (
    ANSWER_CUT,
    CLIENT_GONE,
    FORWARDED,
    LEFT,
    TURNED_AWAY,
    Decided,
    Observer,
    Short,
    failed,
    now_s,
    refused,
)
from proxy.upstream.connection import Connection
from proxy.upstream.failures import ConnectionLost, UpstreamFailure
from proxy.upstream.heads import Head

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
        "_is_ours",
        "_observer",
        "_plans",
        "ended",
    )

    def __init__(
        self,
        accept: Accept,
        gate: Gate,
        forwarders: tuple[Forwarder, ...],
        is_ours: Callable[[bytes], bool],
        answers: Answers,
        clock: Callable[[], float],
        observer: Observer,
    ) -> None:
        self._observer = observer
        self.ended = observer.ended
        self._accept = accept
        self._gate = gate
        self._forwarders = forwarders
        self._is_ours = is_ours
        self._answers = answers
        self._clock = clock
        self._plans: dict[Key, tuple[Link, Plan]] = {}

    def __call__(self, exchange: Any) -> bool:
        """True when it is being answered, or has been; False when nothing was done, and the request
        goes the ASGI way. `exchange` is a `proxy.server.exchange.Exchange`."""
        started = now_s()
        key = (exchange.method, exchange.target, exchange.block)
        link, plan = self._plans.get(key, _NO_PLAN)
        if plan is not None and link == exchange.link:
            number = request_id()
        else:
            try:
                request = self._accept(exchange.arrival)
            except (Unfit, BadHeaders, LastHop):
                return False  # refused there, in one place
            if self._is_ours(request.path):
                return False
            number = request.request_id
            try:
                found = self._gate.plan(request)
            except Exception:  # whatever breaks on the way lets nobody through (promise 1)
                _log.exception("decision_failed", request=number)
                found = broken()
            if isinstance(found, Refuse):
                self.refuse(exchange, request, found, found.route, started)
                return True
            plan = found
            if exchange.block is not None and plan.may_come_again:
                self._remember(key, exchange.link, plan)
        try:
            decision = self._gate.settle(plan, number, self._clock())
        except Exception:
            _log.exception("decision_failed", request=number)
            decision = broken()
        if decision is None:
            return False
        if isinstance(decision, Forward):
            return self._forward(exchange, plan, number, decision, started)
        self.refuse(exchange, plan.request_as(number), decision, decision.route, started)
        return True

    def _remember(self, key: Key, link: Link, plan: Plan) -> None:
        if len(plan.request.target) <= REMEMBERED_BYTES:
            while len(self._plans) >= PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = link, plan

    def _forward(
        self, exchange: Any, plan: Plan, number: str, decision: Forward, started: float
    ) -> bool:
        forwarder = self._forwarders[decision.route]
        connection = forwarder.take()
        if connection is None:
            return False
        relay = Relay(self, exchange, plan, number, decision, forwarder, connection, started)
        forwarder.begin(connection, relay, plan.request, decision.head)
        exchange.when_gone(relay.on_client_gone)
        return True

    def refuse(
        self, exchange: Any, request: Accepted, refusal: Refuse, route: int, started: float
    ) -> None:
        """Give an answer of ours."""
        response = self._answers.to(refusal, exchange.arrival, request.client)
        self._note(refused(refusal.code), route, response, started, request)
        give(exchange, response)

    def fail(
        self, exchange: Any, request: Accepted, failure: UpstreamFailure, route: int, started: float
    ) -> None:
        """Give an answer of ours instead of the upstream's."""
        response = self._answers.failure(failure, exchange.arrival, request)
        self._note(failed(failure.code), route, response, started, request)
        give(exchange, response)

    def _note(
        self, decided: Decided, route: int, response: Response, started: float, request: Accepted
    ) -> None:
        session = self._gate.known(request, self._clock()) if self._observer.writes else None
        size = 0 if request.method == b"HEAD" else len(response.body)
        self.ended(decided, route, response.status_code, started, Short(request, session, size))


_NO_PLAN: tuple[Link | None, Plan | None] = (None, None)


def give(exchange: Any, response: Response) -> None:
    exchange.start(response.status_code, response.raw_headers)
    exchange.end(bytes(response.body))


class Relay:
    """A `Sink` that writes an answer to its client as it comes."""

    __slots__ = (
        "_connection",
        "_decision",
        "_exchange",
        "_forwarder",
        "_lane",
        "_number",
        "_plan",
        "_started",
        "_status",
        "session",
    )

    is_whole = True  # where an observer is told of the relay itself

    def __init__(
        self,
        lane: Lane,
        exchange: Any,
        plan: Plan,
        number: str,
        decision: Forward,
        forwarder: Forwarder,
        connection: Connection,
        started: float,
    ) -> None:
        self._started = started
        self._status = 0
        self._lane = lane
        self._exchange = exchange
        self._forwarder = forwarder
        self._connection = connection
        self._plan = plan
        self._number = number  # the request's id
        self._decision = decision
        self.session = decision.session

    @property
    def request(self) -> Accepted:
        return self._plan.request_as(self._number)

    def on_interim(self, status: int, headers: list[Header]) -> None:
        if status != CONTINUE:
            self._exchange.interim(status, interim_headers(headers))

    def on_head(self, head: Head) -> None:
        self._status = head.status
        exchange = self._exchange
        exchange.start_with(
            self._forwarder.prepared(head, self._plan.request, self._decision, exchange.prepare)
        )

    def on_whole(self, head: Head, body: bytes) -> None:
        self.on_head(head)
        self._exchange.write(body)
        self._lane.ended(FORWARDED, self._decision.route, self._status, self._started, self)
        self._exchange.end()

    def on_body(self, data: bytes) -> None:
        exchange = self._exchange
        exchange.write(data)
        if exchange.is_slow:
            self._connection.pause_reading()
            exchange.when_drained(self._connection.resume_reading)

    def on_end(self, trailers: tuple[Header, ...]) -> None:
        self._lane.ended(FORWARDED, self._decision.route, self._status, self._started, self)
        self._exchange.end(b"", trailer_lines(trailers) if trailers else b"")

    def on_writable(self) -> None:
        pass  # there is no body to send

    def on_sweep(self, now: float) -> None:
        self._forwarder.watch.look(self)

    def on_failure(self, failure: UpstreamFailure) -> None:
        exchange, request = self._exchange, self.request
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
            route, started = self._decision.route, self._started
            self._lane.fail(exchange, request, failure, route, started)

    def on_client_gone(self) -> None:
        if not self.is_over:
            self._connection.abandon()
            self._cut_for(TURNED_AWAY.get(self._exchange.turned_away, LEFT))

    def _cut_for(self, reason: str) -> None:
        told = Short(self.request, self.session, self.sent_bytes, is_whole=False)
        status = self._status or self._exchange.turned_away or CLIENT_GONE
        self._lane.ended(failed(reason), self._decision.route, status, self._started, told)

    @property
    def sent_bytes(self) -> int:
        return int(self._exchange.sent_bytes)

    @property
    def is_over(self) -> bool:
        return not self._connection.serves(self)

    def end_for(self, refusal: Refuse) -> None:
        """Its session is over, or may not do this any more: end it at once."""
        self._connection.abandon()
        if self._exchange.response_started:
            self._cut_for(refusal.code)
            self._exchange.cut(at_once=True)
        else:
            route, started = self._decision.route, self._started
            self._lane.refuse(self._exchange, self.request, refusal, route, started)
