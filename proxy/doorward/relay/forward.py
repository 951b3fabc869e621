"""One exchange with an upstream, carried over ASGI: the reference carrier.

Knows ASGI messages and connections; decides nothing. Nothing is buffered beyond a high-water mark
each way, and a cut upstream looks cut to the client.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from doorward.accounts.sessions.sessions import Session
from doorward.gate.accept import Accepted
from doorward.gate.cookies import Cookies, logged
from doorward.gate.decision import Forward, too_large
from doorward.http1.headers import Header, trailer_lines
from doorward.relay.incoming import Answer, AnswerCut, ClientGone, Refused
from doorward.relay.upgrade import SWITCHING, Upgrades
from doorward.relay.watch import Watch
from doorward.rewrite.answer_headers import answer_headers
from doorward.rewrite.relocation import Relocate
from doorward.upstream.connection import Connection, Sink
from doorward.upstream.failures import ConnectFailed, ConnectionLost, Page, UpstreamFailure
from doorward.upstream.heads import Head
from doorward.upstream.own_connections import OwnConnections, Tether
from doorward.upstream.pool import Upstreams

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# What our own server adds to a scope's extensions; see `doorward.server.exchange`.
EXTENSION = "doorward.exchange"

# RFC 9110 9.2.2, less what nobody sends: asked again when a kept connection turns out closed.
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND"))


class Forwarder:
    """Carries decided requests to the upstream of one route and its answers back."""

    def __init__(
        self,
        upstreams: Upstreams,
        response_timeout_s: float,
        idle_timeout_s: float,
        cookies: Cookies,
        watch: Watch,
        upgrades: Upgrades,
        body_bytes: int | None = None,
        maintenance: Page | None = None,
        relocate: Relocate | None = None,
    ) -> None:
        """`body_bytes`: the most of a request's body; `maintenance`: what is served when nobody
        can be reached; `relocate`: what the route changes of its answers' headers."""
        self._relocate = relocate
        self._upstreams = upstreams
        self._body_bytes = body_bytes
        self._maintenance = maintenance
        self._response_timeout_s = response_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._sets_ours = logged(cookies.sets_ours)
        self.watch = watch
        self._upgrades = upgrades
        self.retries = 0
        self.failures: dict[str, int] = {}  # by their words, those that were retried included

    async def __call__(
        self, request: Accepted, decision: Forward, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer the client. Raises UpstreamFailure or Refused before anything was sent, AnswerCut
        after."""
        has_body = request.scan.has_body
        retriable = request.method in IDEMPOTENT and not has_body
        exchange = scope.get("extensions", {}).get(EXTENSION)
        if has_body and self._body_bytes is not None:
            if int(request.scan.content_length or 0) > self._body_bytes:
                raise Refused(too_large())
        upstreams, stale = self._upstreams, False
        while True:
            try:
                bound = None if stale or exchange is None else exchange.bound
                kept = None if stale else self._take(upstreams, bound, decision.session)
                connection = kept or await self._connect(
                    upstreams, exchange, bound, decision.session
                )
            except ClientGone:
                return
            if kept is None or upstreams is not self._upstreams:  # which takes its time
                decision = await self._confirmed(request, decision, connection)
            answer = Answer(connection, exchange, request, decision.session, self.watch, self.bind)
            if decision.binds:
                self.bind(connection, exchange, request, decision.session)
            connection.begin(
                answer,
                decision.head,
                no_body=request.method == b"HEAD",
                ended=not has_body,
                response_timeout_s=self._response_timeout_s,
                idle_timeout_s=self._idle_timeout_s,
                upgrade=bool(request.upgrade),
            )
            # Our own server tells when the client goes away; elsewhere a task has to wait for it.
            task = None
            if has_body or exchange is None:
                task = asyncio.ensure_future(_pump(request, answer, receive, self._body_bytes))
            else:
                exchange.when_gone(answer.on_client_gone)
            try:
                head = await answer.begun()
                if head.status == SWITCHING:
                    headers = self.answer_headers(head.headers, request, decision)
                    await self._upgrades.carry(answer, head, headers)
                elif exchange is None:
                    headers = self.answer_headers(head.headers, request, decision)
                    await self._relay(answer, head.status, headers, send)
                else:
                    exchange.start_with(self.prepared(head, request, decision, exchange.prepare))
                    if not answer.ended or exchange.is_slow:
                        await self._hand_on(answer, exchange)
                    exchange.end(answer.take(), trailer_lines(answer.trailers))
                return
            except UpstreamFailure as failure:
                self.failed(failure)
                if answer.head is not None or not retriable:
                    raise
                # A kept connection that closes unanswered lost a race, and says nothing of the
                # request (RFC 9112 9.3.1): once more. A fresh one that does has refused it.
                if isinstance(failure, ConnectionLost) and connection.reused and not stale:
                    stale = True
                elif (elsewhere := upstreams.without(connection)) is not None:
                    upstreams = elsewhere
                else:
                    raise
                self.retries += 1
            except AnswerCut as cut:
                if isinstance(cut.__cause__, UpstreamFailure):
                    self.failed(cut.__cause__)
                raise
            except ClientGone:
                return
            finally:
                if not answer.ended:
                    connection.abandon()
                if task is not None:
                    await _stop(task)

    def _take(
        self, upstreams: Upstreams, bound: OwnConnections | None, session: Session | None
    ) -> Connection | None:
        """A connection that is kept: the client's own if it has one, else one that is free."""
        own = None if bound is None else bound.take(self, _owner(session))
        return own or upstreams.take()

    async def _seek(
        self, upstreams: Upstreams, bound: OwnConnections | None, session: Session | None
    ) -> Connection:
        own = None if bound is None else await bound.claim(self, _owner(session))
        return own or await upstreams.connect()

    async def _connect(
        self,
        upstreams: Upstreams,
        exchange: Any,
        bound: OwnConnections | None,
        session: Session | None,
    ) -> Connection:
        """A connection, which may take its time; nobody waits for a client that left.

        Raises UpstreamFailure or ClientGone."""
        waiting = asyncio.ensure_future(self._seek(upstreams, bound, session))
        if exchange is not None:
            exchange.when_gone(waiting.cancel)
        try:
            return await waiting
        except UpstreamFailure as failure:
            self.failed(failure)
            if isinstance(failure, ConnectFailed):
                failure.page = self._maintenance
            raise
        except asyncio.CancelledError:
            if not waiting.cancelled():
                if waiting.exception() is None:
                    waiting.result().abandon()
                raise
            if exchange is None or not exchange.disconnected:
                raise
            raise ClientGone from None

    async def _confirmed(
        self, request: Accepted, decision: Forward, connection: Connection
    ) -> Forward:
        """The decision, made again if its session may have ended meanwhile. Raises Refused."""
        try:
            again = await self.watch.confirm(request, decision)
            if isinstance(again, Forward):
                return again
            raise Refused(again)
        except BaseException:
            connection.abandon()
            raise

    def answer_headers(
        self, headers: list[Header], request: Accepted, decision: Forward
    ) -> list[Header]:
        """An answer's headers as the client gets them."""
        kept = answer_headers(headers, self._sets_ours, decision.private)
        return kept if self._relocate is None else self._relocate(kept, request)

    def prepared(
        self,
        head: Head,
        request: Accepted,
        decision: Forward,
        prepare: Callable[[int, list[Header]], Any],
    ) -> Any:
        """An answer's head as `prepare` makes it of the headers that the client gets; made once
        for one that comes again, where nothing but the head has a say in it."""
        if head.prepared is not None and self._relocate is None:
            found = head.prepared.get(decision.private)
            if found is not None:
                return found
        made = prepare(head.status, self.answer_headers(head.headers, request, decision))
        if head.is_remembered and self._relocate is None:
            head.prepared = {**(head.prepared or {}), decision.private: made}
        return made

    @property
    def retried(self) -> int:
        """How often a request was sent, or a connection for it sought, once more."""
        return self.retries + self._upstreams.retries

    def failed(self, failure: UpstreamFailure) -> None:
        """An exchange failed, whatever follows from that."""
        self.failures[failure.word] = self.failures.get(failure.word, 0) + 1

    def has_others(self, connection: Connection) -> bool:
        """Whether what failed over this connection can be tried elsewhere."""
        return self._upstreams.without(connection) is not None

    def take(self, exchange: Any, decision: Forward) -> Connection | None:
        """A connection that is kept, if there is one for this request."""
        bound = exchange.protocol.bound  # past the property, which every request would pay for
        if bound is None:
            return self._upstreams.take()
        return self._take(self._upstreams, bound, decision.session)

    def bind(
        self, connection: Connection, exchange: Any, request: Accepted, session: Session | None
    ) -> None:
        """Have this connection, over which an exchange is under way, belong to this client alone.

        Behind a trusted proxy, whose connections may be many people's, and under another server,
        which does not tell connections apart, it is closed after the exchange."""
        if exchange is None or request.trusted:
            Tether(connection)
        else:
            exchange.own_upstreams().hold(self, _owner(session), connection)

    def begin(
        self,
        connection: Connection,
        sink: Sink,
        request: Accepted,
        exchange: Any,
        decision: Forward,
    ) -> None:
        """Send a decided request's head; the answer goes to `sink`."""
        if decision.binds:
            self.bind(connection, exchange, request, decision.session)
        connection.begin(
            sink,
            decision.head,
            no_body=request.method == b"HEAD",
            ended=not request.scan.has_body,
            upgrade=bool(request.upgrade),
            response_timeout_s=self._response_timeout_s,
            idle_timeout_s=self._idle_timeout_s,
        )

    async def _hand_on(self, answer: Answer, exchange: Any) -> None:
        """The body to our own server, up to its last piece."""
        while not answer.ended:
            await exchange.drained()
            # Also when nothing has come yet: a server may keep the head until the first piece.
            exchange.write(answer.take())
            answer.connection.resume_reading()
            await answer.progress()
        await exchange.drained()

    async def _relay(self, answer: Answer, status: int, headers: list[Header], send: Send) -> None:
        """The answer to another server, in ASGI's words, which know no trailers."""
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while not answer.ended:
            await send({"type": "http.response.body", "body": answer.take(), "more_body": True})
            answer.connection.resume_reading()
            await answer.progress()
        await send({"type": "http.response.body", "body": answer.take(), "more_body": False})


async def _pump(
    request: Accepted, answer: Answer, receive: Receive, body_bytes: int | None
) -> None:
    """Send the request's body on as it comes, then wait for the client to go away.

    More than `body_bytes` ends the exchange with 413, and the upstream sees a cut."""
    connection, chunked = answer.connection, request.scan.chunked
    left = int(request.scan.content_length or 0)
    ended = not request.scan.has_body
    exchange = answer.exchange
    if request.scan.expects and not ended and exchange is not None:
        if not await answer.wants_body():
            exchange.when_gone(answer.on_client_gone)
            return
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            answer.on_client_gone()
            return
        data = message.get("body", b"")
        if ended or answer.is_over:
            continue
        left -= len(data)
        ended = not message.get("more_body", False)
        if chunked and body_bytes is not None and -left > body_bytes:
            answer.end_for(too_large())
            return
        if not chunked and (left < 0 or (ended and left > 0)):
            answer.on_client_gone()  # another length than the head said: never send the rest on
            return
        if data:
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        if ended:
            if chunked:
                trailers = () if exchange is None else exchange.trailers
                connection.write(b"0\r\n%b\r\n" % trailer_lines(trailers))
            connection.end_request()
        elif not connection.writable:
            await answer.writable()


def _owner(session: Session | None) -> int | None:
    return None if session is None else session.number


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
