"""A request's body on its way to an upstream: forwarded as it arrives, within its limits.

Knows framing and back-pressure; must not know the client.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from doorward.gate.decision import Refuse, too_large
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.headers import RequestHeaders, trailer_lines
from doorward.http1.joining import Piece
from doorward.upstream.connection import Connection

# How long a client that sent Expect: 100-continue waits for the upstream's answer (RFC 9110 10.1.1:
# many never do).
CONTINUE_S = 1.0


class Refused(Exception):
    """The exchange ends with an answer by Doorward, before any other answer was sent."""

    def __init__(self, refusal: Refuse) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class BodyOwner(Protocol):
    """Ends the exchange if its body cannot be sent."""

    def refuse_rest(self, refusal: Refuse) -> None:
        """The body is larger than its limit."""

    def cut(self) -> None:
        """The server delivered another length than the head announced."""


def declared_bytes(headers: RequestHeaders) -> int:
    """The length of a body that the head announces, 0 if none."""
    return int(headers.content_length or 0)


class RequestBody:
    """Sends the body over `connection`, on which the request was begun. Implements `BodyTaker`.

    `most` limits it in bytes; a head that announces more was refused before. `stop` ends every
    wait when the exchange is over.
    """

    def __init__(
        self,
        owner: BodyOwner,
        exchange: ClientExchange,
        connection: Connection,
        headers: RequestHeaders,
        most: int | None,
    ) -> None:
        self._owner = owner
        self._exchange = exchange
        self._connection = connection
        self._headers = headers
        self._left = declared_bytes(headers)  # less than none of a body in chunks
        self._most = most
        self._news: asyncio.Future[None] | None = None
        self._may_go_on = self._is_answered = self._is_over = False

    @staticmethod
    def must_wait(exchange: ClientExchange, headers: RequestHeaders) -> bool:
        """Whether a body has to be awaited, before it is sent or piece by piece."""
        return headers.expects or not exchange.gives_body

    def start(self) -> Coroutine[Any, Any, None] | None:
        """Send the request's head and what has come of the body; returns what has to be awaited for
        the rest, if anything."""
        waiting = None
        if self.must_wait(self._exchange, self._headers):
            waiting = self._send()
        else:
            self._exchange.give_body(self)
        self._connection.send_head()
        return waiting

    async def _send(self) -> None:
        if self._headers.expects and not await self._is_wanted():
            return
        if self._exchange.gives_body:
            self._exchange.give_body(self)
            return
        more = True
        while more and not self._is_over:
            message = await self._exchange.receive()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
            self.take(message.get("body", b""), more=more)
            if more and not self.is_ready:
                await self._ready()

    @property
    def is_ready(self) -> bool:
        """Whether a piece can be sent now, or is not needed any more."""
        return self._connection.writable or self._is_over

    def take(self, data: Piece, *, more: bool) -> None:
        """Send a piece, the last one unless `more`."""
        if self._is_over:
            return
        chunked, connection = self._headers.chunked, self._connection
        self._left -= len(data)
        if chunked and self._most is not None and -self._left > self._most:
            self._owner.refuse_rest(too_large())
            return
        if not chunked and (self._left < 0 or (self._left > 0 and not more)):
            self._owner.cut()
            return
        if data:
            connection.write(b"%x\r\n%b\r\n" % (len(data), bytes(data)) if chunked else data)
        if not more:
            if chunked:
                connection.write(b"0\r\n%b\r\n" % trailer_lines(self._exchange.trailers))
            connection.end_request()

    def go_on(self) -> None:
        """The upstream wants the body (RFC 9110 10.1.1)."""
        self._may_go_on = True
        self._wake()

    def on_answer(self) -> None:
        """The upstream has answered, so a body that it did not ask for is not sent any more."""
        self._is_answered = True
        self._wake()

    def on_writable(self) -> None:
        """The upstream has taken what was sent."""
        self._wake()
        if self._exchange.gives_body:
            self._exchange.give_more()

    def stop(self) -> None:
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _is_wanted(self) -> bool:
        """Whether the upstream asks for the body, or does not answer for a while; False if it
        answers instead."""
        timer = self._connection.loop.call_later(CONTINUE_S, self.go_on)
        try:
            while not (self._may_go_on or self._is_answered or self._is_over):
                await self._wait()
        finally:
            timer.cancel()
        return self._may_go_on and not self._is_over

    async def _ready(self) -> None:
        while not self.is_ready:
            await self._wait()

    async def _wait(self) -> None:
        self._news = self._connection.loop.create_future()
        await self._news
