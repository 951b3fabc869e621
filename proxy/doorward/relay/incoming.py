"""The answer of an exchange, as the carrier's coroutine takes it: what came, and what comes next.

Knows connections and waiting; must not know what is sent to the client, or how.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from doorward.accounts.sessions.sessions import Session
from doorward.gate.accept import Accepted
from doorward.gate.decision import Refuse
from doorward.http1.headers import Header
from doorward.relay.watch import Watch
from doorward.rewrite.answer_headers import interim_headers
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.heads import Head

# What of an answer may wait for a slow client before its upstream is made to wait.
HIGH_WATER_BYTES = 256 * 1024

# How long a client that asked whether to go on waits for the upstream to say so (RFC 9110 10.1.1:
# many never do).
CONTINUE_S = 1.0
CONTINUE = 100


# Has a connection, over which an exchange is under way, belong to one client from now on.
Bind = Callable[[Connection, Any, Accepted, Session | None], None]


class ClientGone(Exception):
    """The client went away before the answer was whole."""


class Refused(Exception):
    """An exchange that ends with an answer of ours, before anything was sent of another."""

    def __init__(self, refusal: Refuse) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class AnswerCut(Exception):
    """The upstream failed in mid-answer: the client must see a cut, not an end."""


class Answer:
    """A `Sink` that keeps what came until the carrier's coroutine takes it.

    `exchange` is what our own server knows of the request, None under another one. `refusal` is set
    when the session ended meanwhile that the request was let through with.
    """

    __slots__ = (
        "_bind",
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
        "head",
        "refusal",
        "request",
        "session",
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
        bind: Bind,
    ) -> None:
        self.connection = connection
        self.exchange = exchange
        self.request = request
        self.session = session
        self._watch = watch
        self._bind = bind
        self.refusal: Refuse | None = None
        self.tunnel: Any = None  # when there is one: joins this client and this upstream
        self.head: Head | None = None
        self.ended = False
        self.gone = False
        self.failure: UpstreamFailure | None = None
        self.trailers: tuple[Header, ...] = ()
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

    def on_head(self, head: Head) -> None:
        self.head = head
        if head.binds:
            self._bind(self.connection, self.exchange, self.request, self.session)
        self._wake()

    def on_whole(self, head: Head, body: bytes) -> None:
        self.head = head
        self._chunks.append(body)
        self.ended = True
        self._wake()

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES:
            self.connection.pause_reading()
        self._wake()

    def on_end(self, trailers: tuple[Header, ...]) -> None:
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
        elif self.head is not None and self.exchange is not None:
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

    def _news(self) -> asyncio.Future[None]:
        """Whatever comes next. Only the coroutine that relays may wait for it."""
        self._waiter = self.connection.loop.create_future()
        return self._waiter

    async def writable(self) -> None:
        """Wait until the upstream takes more. Only the coroutine that sends the body may."""
        while not (self.connection.writable or self.is_over):
            self._drained = self.connection.loop.create_future()
            await self._drained

    async def wants_body(self) -> bool:
        """Wait until the upstream says that it wants the body, or says nothing for a while; False
        when it answered without it. Only the coroutine that sends the body may."""
        loop = self.connection.loop
        self._may_continue = loop.create_future()
        timer = loop.call_later(CONTINUE_S, self._go_on)
        try:
            await self._may_continue
        finally:
            timer.cancel()
        return self.head is None and not self.is_over

    async def begun(self) -> Head:
        """Wait for the answer's head. Raises UpstreamFailure, ClientGone or Refused."""
        while self.head is None:
            if self.refusal is not None:
                raise Refused(self.refusal)
            if self.failure is not None:
                raise self.failure
            if self.gone:
                raise ClientGone
            await self._news()
        return self.head

    async def progress(self) -> None:
        """Wait for more of the body, or its end. Raises AnswerCut or ClientGone."""
        while not (self._chunks or self.ended):
            if self.gone:
                raise ClientGone
            if self.refusal is not None:
                raise AnswerCut from Refused(self.refusal)
            if self.failure is not None:
                raise AnswerCut from self.failure
            await self._news()

    def take(self) -> bytes:
        """What has come of the body since the last call."""
        chunks, self._chunks, self._size = self._chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
