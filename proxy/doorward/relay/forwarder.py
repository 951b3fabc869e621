"""One route's upstreams: which connection a request uses, and which headers its answer gets.

Knows connections and the route's settings; must not know what happens to an exchange.
"""

from collections.abc import Callable
from typing import Any

from doorward.accounts.sessions.sessions import Session
from doorward.gate.accept import Accepted
from doorward.gate.cookies import Cookies, log_drops
from doorward.gate.decision import Forward
from doorward.gate.gate import RequestFacts
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.headers import Header
from doorward.http1.heads import AnswerHead
from doorward.http1.response_head import ResponseHead
from doorward.rewrite.added_headers import AddedHeaders
from doorward.rewrite.answer_headers import (
    answer_headers,
    plain_response_head,
    read_private,
    read_shared,
)
from doorward.rewrite.relocation import Relocate
from doorward.rewrite.request_head import RequestHeads
from doorward.upstream.bound_connections import BoundConnection, BoundConnections
from doorward.upstream.connection import Connection
from doorward.upstream.failures import ConnectFailed, Page, UpstreamFailure
from doorward.upstream.heads import Head
from doorward.upstream.pool import Upstreams
from doorward.upstream.sink import Sink


class Forwarder:
    """`body_bytes` limits a request's body; None is no limit."""

    def __init__(
        self,
        upstreams: Upstreams,
        response_timeout_s: float,
        idle_timeout_s: float,
        cookies: Cookies,
        heads: RequestHeads,
        body_bytes: int | None = None,
        maintenance: Page | None = None,
        relocate: Relocate | None = None,
    ) -> None:
        """`maintenance`: what is served when no upstream can be reached; `relocate`: what the route
        changes in the headers of answers."""
        self.upstreams = upstreams
        self.body_bytes = body_bytes
        self.retries = 0
        self.failures: dict[str, int] = {}  # by reason, including those that were retried
        self._heads = heads
        self._relocate = relocate
        self._maintenance = maintenance
        self._response_timeout_s = response_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._is_ours = cookies.sets_ours
        self._sets_ours = log_drops(cookies.sets_ours)

    # Counts

    @property
    def retried(self) -> int:
        """Count a request that was sent again, or a connection that was tried again."""
        return self.retries + self.upstreams.retries

    def count(self, failure: UpstreamFailure) -> None:
        """Count a failed exchange, whatever happens next."""
        self.failures[failure.word] = self.failures.get(failure.word, 0) + 1

    # A connection

    def take(
        self, exchange: ClientExchange, session: Session | None, upstreams: Upstreams
    ) -> Connection | None:
        """An idle connection: the client's own if it has one, else one from the pool."""
        attached = exchange.attached
        if attached is None:
            return upstreams.take()
        own = _bound(attached).take(self, _owner(session))
        return own or upstreams.take()

    async def connect(
        self,
        exchange: ClientExchange,
        session: Session | None,
        upstreams: Upstreams,
        *,
        fresh: bool = False,
    ) -> Connection:
        """A connection, new or idle; `fresh`: a new one.

        Raises UpstreamFailure; nothing was sent then.
        """
        try:
            attached = exchange.attached
            if attached is not None and not fresh:
                own = await _bound(attached).acquire(self, _owner(session))
                if own is not None:
                    return own
            return await upstreams.connect(fresh=fresh)
        except UpstreamFailure as failure:
            self.count(failure)
            if isinstance(failure, ConnectFailed):
                failure.page = self._maintenance
            raise

    def bind(
        self,
        connection: Connection,
        exchange: ClientExchange,
        request: Accepted,
        session: Session | None,
    ) -> None:
        """Bind this connection, which an exchange uses, to this client.

        Behind a trusted proxy, whose connections several users may share, and under a server that
        does not tell connections apart, it is closed after the exchange.
        """
        attached = exchange.attached or BoundConnections()
        if request.trusted or not exchange.attach(attached):
            BoundConnection(connection)
        else:
            _bound(attached).hold(self, _owner(session), connection)

    # Heads

    def begin(
        self,
        connection: Connection,
        sink: Sink,
        facts: RequestFacts,
        request_id: str,
        decision: Forward,
        *,
        has_body: bool,
    ) -> None:
        """Send a decided request's head; the answer goes to `sink`."""
        request = facts.request
        connection.begin(
            sink,
            self._heads.make(facts, decision, request_id),
            no_body=request.method == b"HEAD",
            ended=not has_body,
            upgrade=bool(request.upgrade),
            read_plain=read_private if decision.private else read_shared,
            response_timeout_s=self._response_timeout_s,
            idle_timeout_s=self._idle_timeout_s,
        )

    def answer_headers(
        self, headers: list[Header], request: Accepted, decision: Forward
    ) -> list[Header]:
        """An answer's headers for the client."""
        kept = answer_headers(headers, self._sets_ours, decision.private)
        return kept if self._relocate is None else self._relocate(kept, request)

    def response_head(self, head: Head, request: Accepted, decision: Forward) -> ResponseHead:
        """An answer's head for the client."""
        if self._relocate is None and isinstance(head, AnswerHead):
            made = plain_response_head(head, self._is_ours, decision.private)
            if made is not None:
                return made
        return ResponseHead(head.status, self.answer_headers(head.headers, request, decision))


class AddingForwarder(Forwarder):
    """For a route that adds headers to its answers; others have no cost."""

    def __init__(
        self, *args: Any, added: AddedHeaders, clock: Callable[[], float], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._added = added
        self._clock = clock

    def response_head(self, head: Head, request: Accepted, decision: Forward) -> ResponseHead:
        made = super().response_head(head, request, decision)
        expiry = self._added.expiry(decision.session, decision.private, self._clock())
        made.text += b"".join([b"%b: %b\r\n" % line for line in expiry])
        return self._added.complete(made, secure=request.scheme == "https")


def _bound(attached: object) -> BoundConnections:
    assert isinstance(attached, BoundConnections)
    return attached


def _owner(session: Session | None) -> int | None:
    return None if session is None else session.number
