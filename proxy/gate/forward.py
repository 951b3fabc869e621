"""One exchange with an upstream, carried over ASGI: the reference carrier.

Knows ASGI messages and connections; decides nothing. Nothing is buffered beyond a high-water mark
each way, and a cut upstream looks cut to the client.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from proxy.accounts.sessions import Session
from proxy.gate.accept import Accepted
from proxy.gate.cookies import Cookies
from proxy.gate.decision import Forward, Refuse
from proxy.gate.headers import Header, answer_headers, interim_headers, trailer_lines
from proxy.gate.upgrade import SWITCHING, Refused, Upgrades
from proxy.gate.watch import Watch
from proxy.upstream.connection import Connection, Sink
from proxy.upstream.failures import ConnectionLost, UpstreamFailure
from proxy.upstream.pool import Pool

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# What our own server adds to a scope's extensions; see `proxy.server.exchange`.
EXTENSION = "doorward.exchange"

# What of an answer may wait for a slow client before its upstream is made to wait.
HIGH_WATER_BYTES = 256 * 1024

# RFC 9110 9.2.2, less what nobody sends: asked again when a kept connection turns out closed.
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND"))


# How long a client that asked whether to go on waits for the upstream to say so (RFC 9110 10.1.1:
# many never do).
CONTINUE_S = 1.0
CONTINUE = 100


class ClientGone(Exception):
    """The client went away before the answer was whole."""


class AnswerCut(Exception):
    """The upstream failed in mid-answer: the client must see a cut, not an end."""


class Answer:
    """A `Sink` that keeps what came until the carrier's coroutine takes it.

    `exchange` is what our own server knows of the request, None under another one. `refusal` is set
    when the session ended meanwhile that the request was let through with.
    """

    __slots__ = (
        "_chunks",
        "_drained",
        "_may_continue",
        "_size",
        "_waiter",
        "_watch",
        "connection",
        "ended",
        "exchange",
        "failure",
        "gone",
        "headers",
        "refusal",
        "request",
        "session",
        "status",
        "trailers",
        "tunnel",
    )

    def __init__(
        self,
        connection: Connection,
        exchange: Any,
        request: Accepted,
        session: Session | None,
        watch: Watch,
    ) -> None:
        self.connection = connection
        self.exchange = exchange
        self.request = request
        self.session = session
        self._watch = watch
        self.refusal: Refuse | None = None
        self.tunnel: Any = None  # when there is one: joins this client and this upstream
        self.status = 0
        self.headers: list[Header] = []
        self.ended = False
        self.gone = False
        self.failure: UpstreamFailure | None = None
        self.trailers: list[Header] = []
        self._may_continue: asyncio.Future[None] | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    # What the connection calls

    def on_interim(self, status: int, headers: list[Header]) -> None:
        if status == CONTINUE:
            self._go_on()
        elif self.exchange is not None:
            self.exchange.interim(status, interim_headers(headers))

    def on_head(self, status: int, reason: bytes, headers: list[Header]) -> None:
        self.status = status
        self.headers = headers
        self._wake()

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES:
            self.connection.pause_reading()
        self._wake()

    def on_end(self, trailers: list[Header]) -> None:
        self.trailers = trailers
        self.ended = True
        self._wake()

    def on_failure(self, failure: UpstreamFailure) -> None:
        self.failure = failure
        self._wake()

    def on_writable(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def on_sweep(self, now: float) -> None:
        if self.tunnel is not None:
            self.tunnel.sweep(now)
        if not self.is_over:
            self._watch.look(self)

    # What the watch calls

    def end_for(self, refusal: Refuse) -> None:
        self.refusal = refusal
        if self.tunnel is not None:
            self.tunnel.cut()
        elif self.status and self.exchange is not None:
            self.exchange.cut(at_once=True)
        self._wake()

    # What the carrier calls

    def on_client_gone(self) -> None:
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._drained is not None and self.is_over:
            self.on_writable()
        if self._may_continue is not None:
            self._go_on()

    def _go_on(self) -> None:
        if self._may_continue is not None and not self._may_continue.done():
            self._may_continue.set_result(None)

    @property
    def is_over(self) -> bool:
        return self.ended or self.gone or self.failure is not None or self.refusal is not None

    async def news(self) -> None:
        """Wait for whatever comes next. Only the coroutine that relays may."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    async def writable(self) -> None:
        """Wait until the upstream takes more. Only the coroutine that sends the body may."""
        while not (self.connection.writable or self.is_over):
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    async def wants_body(self) -> bool:
        """Wait until the upstream says that it wants the body, or says nothing for a while; False
        when it answered without it. Only the coroutine that sends the body may."""
        loop = asyncio.get_running_loop()
        self._may_continue = loop.create_future()
        timer = loop.call_later(CONTINUE_S, self._go_on)
        try:
            await self._may_continue
        finally:
            timer.cancel()
        return not (self.status or self.is_over)

    async def head(self) -> None:
        """Wait for the answer's head. Raises UpstreamFailure, ClientGone or Refused."""
        while not self.status:
            if self.refusal is not None:
                raise Refused(self.refusal)
            if self.failure is not None:
                raise self.failure
            if self.gone:
                raise ClientGone
            await self.news()

    async def progress(self) -> None:
        """Wait for more of the body, or its end. Raises AnswerCut or ClientGone."""
        while not (self._chunks or self.ended):
            if self.gone:
                raise ClientGone
            if self.refusal is not None:
                raise AnswerCut from Refused(self.refusal)
            if self.failure is not None:
                raise AnswerCut from self.failure
            await self.news()

    def take(self) -> bytes:
        """What has come of the body since the last call."""
        chunks, self._chunks, self._size = self._chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Forwarder:
    """Carries decided requests to the upstream of one route and its answers back."""

    def __init__(
        self,
        pool: Pool,
        response_timeout_s: float,
        idle_timeout_s: float,
        cookies: Cookies,
        watch: Watch,
        upgrades: Upgrades,
    ) -> None:
        self._pool = pool
        self._response_timeout_s = response_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self.sets_ours = cookies.sets_ours
        self.watch = watch
        self._upgrades = upgrades

    async def __call__(
        self, request: Accepted, decision: Forward, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer the client. Raises UpstreamFailure or Refused before anything was sent, AnswerCut
        after."""
        has_body = request.scan.has_body
        retriable = request.method in IDEMPOTENT and not has_body
        exchange = scope.get("extensions", {}).get(EXTENSION)
        while True:
            kept = self._pool.take()
            connection = kept or await self._pool.connect()
            answer = Answer(connection, exchange, request, decision.session, self.watch)
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
                task = asyncio.ensure_future(_pump(request, answer, receive))
            else:
                exchange.when_gone(answer.on_client_gone)
            try:
                await answer.head()
                headers = answer_headers(answer.headers, self.sets_ours, now_header)
                if answer.status == SWITCHING:
                    await self._upgrades.carry(answer, headers)
                else:
                    await self._relay(answer, headers, send)
                return
            except ConnectionLost:
                # A kept connection that closes unanswered lost a race, and says nothing of the
                # request (RFC 9112 9.3.1). A fresh one that does has refused it.
                if not (kept and retriable and not answer.status):
                    raise
            except ClientGone:
                return
            finally:
                if not answer.ended:
                    connection.abandon()
                if task is not None:
                    await _stop(task)

    def take(self) -> Connection | None:
        """A connection that is kept, if one is free."""
        return self._pool.take()

    def begin(self, connection: Connection, sink: Sink, request: Accepted, head: bytes) -> None:
        """Send a decided request's head; the answer goes to `sink`."""
        connection.begin(
            sink,
            head,
            no_body=request.method == b"HEAD",
            ended=not request.scan.has_body,
            upgrade=bool(request.upgrade),
            response_timeout_s=self._response_timeout_s,
            idle_timeout_s=self._idle_timeout_s,
        )

    async def _relay(self, answer: Answer, headers: list[Header], send: Send) -> None:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while not answer.ended:
            # Also when nothing has come yet: a server may keep the head until the first piece.
            await send({"type": "http.response.body", "body": answer.take(), "more_body": True})
            answer.connection.resume_reading()
            await answer.progress()
        if answer.trailers and answer.exchange is not None:
            answer.exchange.end_with(trailer_lines(answer.trailers))
        await send({"type": "http.response.body", "body": answer.take(), "more_body": False})


def now_header() -> bytes:
    return date_header(int(time.time()))


@lru_cache(maxsize=2)
def date_header(second: int) -> bytes:
    """The Date of a whole Unix second (RFC 9110 5.6.7)."""
    return formatdate(second, usegmt=True).encode()


async def _pump(request: Accepted, answer: Answer, receive: Receive) -> None:
    """Send the request's body on as it comes, then wait for the client to go away."""
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


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
