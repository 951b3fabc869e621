"""One decided request: sent to an upstream, again if needed, and its answer sent back.

It starts without waiting. If it has to wait for a connection or for the request's body, a task
continues with the same relay, so that id, start time, tried upstreams and the one record of the
exchange stay the same. The connection calls it with the answer (`Sink`), which is written as it
arrives. It ends in exactly one way: `on_end` or `on_whole`, a failure, the client leaving, the end
of its session (`end_for`), or the end of its tunnel.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

import structlog

from doorward.accounts.sessions.sessions import Session
from doorward.gate.accept import Accepted
from doorward.gate.decision import Forward, Refuse, too_large
from doorward.gate.gate import RequestFacts
from doorward.http1.client_exchange import ClientExchange, ClientTunnel
from doorward.http1.headers import Header, trailer_lines
from doorward.observe.observer import (
    ANSWER_CUT,
    CLIENT_GONE,
    FORWARDED,
    SWITCHED,
    BriefRecord,
    Observer,
    failure_outcome,
)
from doorward.relay.forwarder import Forwarder
from doorward.relay.preparation import Preparation
from doorward.relay.request_body import Refused, RequestBody, declared_bytes
from doorward.relay.retry import Next, SentRequest, next_step
from doorward.relay.tunnels import CLOSE_CODES, SWITCHING, Tunnels
from doorward.relay.watch import Watch
from doorward.rewrite.answer_headers import interim_headers
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.heads import Head
from doorward.upstream.pool import Upstreams

_log = structlog.get_logger("doorward.gate")

CONTINUE = 100

Waiting = Coroutine[Any, Any, None]


class Pending:
    """One request that is being answered: its exchange, what is known of it, its id, and when it
    began (in `observer.now_s`)."""

    def __init__(
        self, exchange: ClientExchange, facts: RequestFacts, request_id: str, started: float
    ) -> None:
        self.exchange = exchange
        self.facts = facts
        self.request_id = request_id
        self.started = started

    @property
    def request(self) -> Accepted:
        return self.facts.request_as(self.request_id)


class Replies(Protocol):
    """Doorward's own answers in place of an upstream's."""

    def refuse(self, pending: Pending, refusal: Refuse, route: int) -> None: ...
    def fail(self, pending: Pending, failure: UpstreamFailure, route: int) -> None: ...


class Services:
    """What all relays of one gateway share."""

    __slots__ = ("observer", "preparation", "replies", "tunnels", "watch")

    def __init__(
        self,
        replies: Replies,
        tunnels: Tunnels,
        watch: Watch,
        observer: Observer,
        preparation: Preparation,
    ) -> None:
        self.preparation = preparation
        self.replies = replies
        self.tunnels = tunnels
        self.watch = watch
        self.observer = observer


class Relay(Pending):
    """Implements `Sink`, `BodyOwner`, `watch.Stream` and `ExchangeRecord`."""

    # Class attributes, so that values that most requests share cost nothing.
    is_whole = True  # if an observer gets the relay itself
    _connection: Connection | None = None
    _body: RequestBody | None = None
    _tunnel: ClientTunnel | None = None
    _status = 0  # of the upstream's answer
    _was_stale = False
    _ended_for = ""

    def __init__(
        self,
        exchange: ClientExchange,
        facts: RequestFacts,
        request_id: str,
        started: float,
        services: Services,
        decision: Forward,
        forwarder: Forwarder,
    ) -> None:
        self.exchange = exchange  # without calling Pending's: this is made for every request
        self.facts = facts
        self.request_id = request_id
        self.started = started
        self.session: Session | None = decision.session
        self._services = services
        self._decision = decision
        self._forwarder = forwarder
        self._upstreams: Upstreams = forwarder.upstreams  # the upstreams that have not been tried

    def start(self) -> Waiting | None:
        """Send the request, or return what has to be awaited."""
        exchange, headers = self.exchange, self.facts.request.headers
        if headers.has_body:
            if self._refuse_size():
                return None
            if RequestBody.must_wait(exchange, headers):
                return self._send(is_first=True)
        connection = self._forwarder.take(exchange, self.session, self._upstreams)
        if connection is None:
            return self._send(is_first=True)
        return self._begin(connection, has_body=headers.has_body)

    def _refuse_size(self) -> bool:
        """Refuse a body that announces to be larger than its limit; False for others."""
        most = self._forwarder.body_bytes
        if most is None or declared_bytes(self.facts.request.headers) <= most:
            return False
        self._refuse(too_large())
        return True

    async def _send(self, *, is_first: bool = False) -> None:
        """Find a connection, decide again if that took long, and send the request."""
        try:
            connection = await self._find(is_first=is_first)
            body = self._begin(connection, has_body=self.facts.request.headers.has_body)
            if body is not None:
                await body
        except UpstreamFailure as failure:
            self._services.replies.fail(self, failure, self._decision.route)
        except Refused as over:
            self._refuse(over.refusal)
        except asyncio.CancelledError:
            if self._connection is None or not self.is_over:
                self._leave()
            raise

    async def _find(self, *, is_first: bool) -> Connection:
        """Raises UpstreamFailure, and Refused if the decision has changed meanwhile."""
        exchange, forwarder, upstreams = self.exchange, self._forwarder, self._upstreams
        if not self._was_stale:
            connection = forwarder.take(exchange, self.session, upstreams)
            if connection is not None and is_first:
                return connection
        else:
            connection = None
        if connection is None:
            task = asyncio.current_task()
            assert task is not None
            exchange.when_gone(task.cancel)
            connection = await forwarder.connect(
                exchange, self.session, upstreams, fresh=self._was_stale
            )
        try:
            decision = await self._services.watch.confirm(self.facts, self._decision)
            if isinstance(decision, Refuse):
                raise Refused(decision)
        except BaseException:
            connection.abandon()
            raise
        self._decision, self.session = decision, decision.session
        return connection

    def _begin(self, connection: Connection, *, has_body: bool) -> Waiting | None:
        """Begin the exchange, and return what has to be awaited for the request's body."""
        exchange, forwarder, facts = self.exchange, self._forwarder, self.facts
        self._connection = connection
        if self._decision.binds:
            forwarder.bind(connection, exchange, facts.request, self.session)
        forwarder.begin(connection, self, facts, self.request_id, self._decision, has_body=has_body)
        exchange.when_gone(self._on_client_gone)
        if not has_body:
            return None
        headers, most = facts.request.headers, forwarder.body_bytes
        self._body = RequestBody(self, exchange, connection, headers, most)
        return self._body.start()

    # Called by the connection

    def on_interim(self, status: int, headers: list[Header]) -> None:
        if status != CONTINUE:
            self.exchange.interim(status, interim_headers(headers))
        elif self._body is not None:
            self._body.go_on()

    def on_head(self, head: Head) -> None:
        exchange, forwarder, connection = self.exchange, self._forwarder, self._connection
        assert connection is not None
        if head.status == SWITCHING:
            self._switch(connection, head)
            return
        if head.binds:
            forwarder.bind(connection, exchange, self.facts.request, self.session)
        self._status = head.status
        exchange.start_with(forwarder.response_head(head, self.facts.request, self._decision))
        if self._body is not None:
            self._body.on_answer()

    def on_whole(self, head: Head, body: bytes) -> None:
        self.on_head(head)
        self._end(body, b"")

    def on_body(self, data: bytes) -> None:
        exchange, connection = self.exchange, self._connection
        exchange.write(data)
        if exchange.is_slow:
            assert connection is not None
            connection.pause_reading()
            exchange.when_drained(connection.resume_reading)

    def on_end(self, trailers: tuple[Header, ...]) -> None:
        self._end(b"", trailer_lines(trailers) if trailers else b"")

    def _end(self, data: bytes, trailers: bytes) -> None:
        """Send the last piece, and record the exchange."""
        self.exchange.end(data, trailers)
        route, observer = self._decision.route, self._services.observer
        observer.ended(FORWARDED, route, self._status, self.started, self)
        if self._body is not None:
            self._stop_body()

    def _stop_body(self) -> None:
        """Send no more of it. It refers back here: without it, memory is free at once."""
        body, self._body = self._body, None
        if body is not None:
            body.stop()

    def on_writable(self) -> None:
        if self._body is not None:
            self._body.on_writable()

    def on_sweep(self, now: float) -> None:
        if self._tunnel is not None:
            self._tunnel.sweep(now)
        if not self.is_over:
            self._services.watch.look(self)

    def on_failure(self, failure: UpstreamFailure) -> None:
        exchange, connection = self.exchange, self._connection
        assert connection is not None
        self._forwarder.count(failure)
        self._stop_body()
        if exchange.response_started:
            _log.warning("answer_cut", reason=str(failure), request=self.request_id)
            self._record_cut(ANSWER_CUT)
            exchange.cut()
            return
        elsewhere = self._upstreams.without(connection)
        request = self.facts.request
        attempt = SentRequest(
            request.method,
            request.headers.has_body,
            connection.reused,
            elsewhere is not None,
            self._was_stale,
        )
        step = next_step(attempt, failure)
        if step is Next.GIVE_UP:
            self._services.replies.fail(self, failure, self._decision.route)
            return
        if step is Next.SAME_UPSTREAM_FRESH:
            self._was_stale = True
        else:
            assert elsewhere is not None
            self._upstreams, self._was_stale = elsewhere, False
        self._forwarder.retries += 1
        self._connection = None
        exchange.spawn(self._send())

    # A tunnel

    def _switch(self, connection: Connection, head: Head) -> None:
        request, forwarder = self.facts.request, self._forwarder
        headers = forwarder.answer_headers(head.headers, request, self._decision)
        try:
            self._tunnel = self._services.tunnels.join(
                self.exchange, request, connection, head, headers, self._decision.route
            )
        except UpstreamFailure as failure:
            connection.abandon()
            self.on_failure(failure)
        except Refused as over:
            connection.abandon()
            self._refuse(over.refusal)
        else:
            self._tunnel.over.add_done_callback(self._tunnel_over)

    def _tunnel_over(self, over: "asyncio.Future[None]") -> None:
        outcome = failure_outcome(self._ended_for) if self._ended_for else FORWARDED
        observer = self._services.observer
        observer.ended(outcome, self._decision.route, SWITCHED, self.started, self)

    # Ends that do not come from the upstream

    def _on_client_gone(self) -> None:
        if self._tunnel is None and not self.is_over:
            self._leave()

    def _leave(self) -> None:
        self._abandon()
        self._record_cut(self.exchange.gone_for)

    def refuse_rest(self, refusal: Refuse) -> None:
        """The request's body is not sent any further."""
        self._abandon()
        self._refuse(refusal)

    def cut(self) -> None:
        """The request is incomplete; both sides see a cut."""
        self._leave()
        self.exchange.cut()

    def end_for(self, refusal: Refuse) -> None:
        """The session is over or has lost access: end the relay at once."""
        if self._tunnel is not None:
            self._ended_for = refusal.code
            self._tunnel.cut(CLOSE_CODES + refusal.status, refusal.code)
            return
        self._abandon()
        if self.exchange.response_started:
            self._record_cut(refusal.code)
            self.exchange.cut(at_once=True)
        else:
            self._refuse(refusal)

    def _refuse(self, refusal: Refuse) -> None:
        self.exchange.keep_alive = False  # the rest of the request, if any, is not awaited
        self._services.replies.refuse(self, refusal, self._decision.route)

    def _abandon(self) -> None:
        if self._connection is not None:
            self._connection.abandon()
        self._stop_body()

    # Asked by the observer and the watch

    def _record_cut(self, reason: str) -> None:
        record = BriefRecord(self.request, self.session, self.sent_bytes, is_whole=False)
        status = self._status or self.exchange.turned_away or CLIENT_GONE
        outcome, route = failure_outcome(reason), self._decision.route
        self._services.observer.ended(outcome, route, status, self.started, record)

    @property
    def sent_bytes(self) -> int:
        return self.exchange.sent_bytes if self._tunnel is None else self._tunnel.sent_bytes

    @property
    def is_over(self) -> bool:
        return self._connection is None or not self._connection.serves(self)
