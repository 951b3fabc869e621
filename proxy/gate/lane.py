"""The fast lane: a decided request goes to its upstream and back without a task, scope or queue.

A second carrier of the same decisions and exchanges as `asgi.py`, for requests without a body
whose session is in memory, under our own server. Whatever it does not take goes the other way.
"""

from collections.abc import Callable
from typing import Any

import structlog
from starlette.responses import Response

from proxy.gate.accept import Accept, Accepted, Arrival, LastHop, Unfit
from proxy.gate.answer_headers import interim_headers
from proxy.gate.answers import Answers
from proxy.gate.decision import Forward, Refuse, broken
from proxy.gate.forward import IDEMPOTENT, Forwarder
from proxy.gate.gate import Gate
from proxy.gate.headers import BadHeaders, Header, trailer_lines
from proxy.gate.incoming import CONTINUE
from proxy.upstream.connection import Connection
from proxy.upstream.failures import ConnectionLost, UpstreamFailure

_log = structlog.get_logger("doorward.gate")


class Lane:
    """Called by the server with each plain request, before anything else is done for it."""

    __slots__ = ("_accept", "_answers", "_clock", "_forwarders", "_gate", "_is_ours")

    def __init__(
        self,
        accept: Accept,
        gate: Gate,
        forwarders: tuple[Forwarder, ...],
        is_ours: Callable[[bytes], bool],
        answers: Answers,
        clock: Callable[[], float],
    ) -> None:
        self._accept = accept
        self._gate = gate
        self._forwarders = forwarders
        self._is_ours = is_ours
        self._answers = answers
        self._clock = clock

    def __call__(self, exchange: Any, arrival: Arrival) -> bool:
        """True when it is being answered, or has been; False when nothing was done, and the request
        goes the ASGI way. `exchange` is a `proxy.server.exchange.Exchange`."""
        try:
            request = self._accept(arrival)
        except (Unfit, BadHeaders, LastHop):
            return False  # refused there, in one place
        if self._is_ours(request.path):
            return False
        try:
            decision = self._gate.decide(request, self._clock())
        except Exception:  # whatever breaks on the way lets nobody through (promise 1)
            _log.exception("decision_failed", request=request.request_id)
            decision = broken()
        if decision is None:
            return False
        if isinstance(decision, Forward):
            return self._forward(exchange, arrival, request, decision)
        self.refuse(exchange, arrival, request, decision)
        return True

    def _forward(
        self, exchange: Any, arrival: Arrival, request: Accepted, decision: Forward
    ) -> bool:
        forwarder = self._forwarders[decision.route]
        connection = forwarder.take()
        if connection is None:
            return False
        relay = Relay(self, exchange, arrival, request, decision, forwarder, connection)
        exchange.when_gone(connection.abandon)
        forwarder.begin(connection, relay, request, decision.head)
        return True

    def refuse(self, exchange: Any, arrival: Arrival, request: Accepted, refusal: Refuse) -> None:
        """Give an answer of ours."""
        give(exchange, self._answers.to(refusal, arrival, request.client))

    def fail(
        self, exchange: Any, arrival: Arrival, request: Accepted, failure: UpstreamFailure
    ) -> None:
        """Give an answer of ours instead of the upstream's."""
        give(exchange, self._answers.failure(failure, arrival, request))


def give(exchange: Any, response: Response) -> None:
    exchange.start(response.status_code, response.raw_headers)
    exchange.end(bytes(response.body))


class Relay:
    """A `Sink` that writes an answer to its client as it comes."""

    __slots__ = (
        "_arrival",
        "_connection",
        "_decision",
        "_exchange",
        "_forwarder",
        "_lane",
        "request",
        "session",
    )

    def __init__(
        self,
        lane: Lane,
        exchange: Any,
        arrival: Arrival,
        request: Accepted,
        decision: Forward,
        forwarder: Forwarder,
        connection: Connection,
    ) -> None:
        self._lane = lane
        self._exchange = exchange
        self._arrival = arrival
        self._forwarder = forwarder
        self._connection = connection
        self.request = request
        self._decision = decision
        self.session = decision.session

    def on_interim(self, status: int, headers: list[Header]) -> None:
        if status != CONTINUE:
            self._exchange.interim(status, interim_headers(headers))

    def on_head(self, status: int, reason: bytes, headers: list[Header]) -> None:
        kept = self._forwarder.answer_headers(headers, self.request, self._decision)
        self._exchange.start(status, kept)

    def on_body(self, data: bytes) -> None:
        exchange = self._exchange
        exchange.write(data)
        if exchange.is_slow:
            self._connection.pause_reading()
            exchange.when_drained(self._connection.resume_reading)

    def on_end(self, trailers: list[Header]) -> None:
        self._exchange.end(b"", trailer_lines(trailers) if trailers else b"")

    def on_writable(self) -> None:
        pass  # there is no body to send

    def on_sweep(self, now: float) -> None:
        self._forwarder.watch.look(self)

    def on_failure(self, failure: UpstreamFailure) -> None:
        exchange, request = self._exchange, self.request
        if exchange.response_started:
            _log.warning("answer_cut", reason=str(failure), request=request.request_id)
            exchange.cut()
        elif request.method in IDEMPOTENT and (
            # Every connection of the lane is a kept one: it lost a race (RFC 9112 9.3.1).
            isinstance(failure, ConnectionLost) or self._forwarder.has_others(self._connection)
        ):
            exchange.fall_back()
        else:
            self._lane.fail(exchange, self._arrival, request, failure)

    @property
    def is_over(self) -> bool:
        return not self._connection.serves(self)

    def end_for(self, refusal: Refuse) -> None:
        """Its session is over, or may not do this any more: end it at once."""
        self._connection.abandon()
        if self._exchange.response_started:
            self._exchange.cut(at_once=True)
        else:
            self._lane.refuse(self._exchange, self._arrival, self.request, refusal)
