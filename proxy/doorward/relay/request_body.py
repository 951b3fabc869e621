"""A request's body on its way to an upstream: forwarded as it arrives, within its limits.

Knows framing and back-pressure; must not know the client.
"""

import asyncio

from doorward.gate.decision import Refuse, too_large
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.headers import RequestHeaders, trailer_lines
from doorward.upstream.connection import Connection

# How long a client that sent Expect: 100-continue waits for the upstream's answer (RFC 9110 10.1.1:
# many never do).
CONTINUE_S = 1.0


class Refused(Exception):
    """The exchange ends with an answer by Doorward, before any other answer was sent."""

    def __init__(self, refusal: Refuse) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class BadBody(Exception):
    """The server delivered another length than the head announced."""


def declared_bytes(headers: RequestHeaders) -> int:
    """The length of a body that the head announces, 0 if none."""
    return int(headers.content_length or 0)


class RequestBody:
    """Sends the body over `connection`, on which the request's head was sent.

    `most` limits it in bytes; a head that announces more was refused before. `stop` ends every
    sender's wait when the exchange is over or answered.
    """

    def __init__(
        self,
        exchange: ClientExchange,
        connection: Connection,
        headers: RequestHeaders,
        most: int | None,
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._headers = headers
        self._most = most
        self._news: asyncio.Future[None] | None = None
        self._may_go_on = self._is_answered = self._is_over = False

    async def send(self) -> None:
        """Send all of it. Raises Refused for more than the limit, BadBody for another length than
        the head's; the upstream then sees a cut."""
        if self._headers.expects and not await self._is_wanted():
            return
        chunked = self._headers.chunked
        left = declared_bytes(self._headers)
        more = True
        while more:
            message = await self._exchange.receive()
            if self._is_over or message["type"] == "http.disconnect":
                return
            data = message.get("body", b"")
            more = message.get("more_body", False)
            left -= len(data)
            if chunked and self._most is not None and -left > self._most:
                raise Refused(too_large())
            if not chunked and (left < 0 or (left > 0 and not more)):
                raise BadBody
            if data:
                framed = b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
                self._connection.write(framed)
            if more and not self._connection.writable:
                await self._writable()
        if chunked:
            self._connection.write(b"0\r\n%b\r\n" % trailer_lines(self._exchange.trailers))
        self._connection.end_request()

    def go_on(self) -> None:
        """The upstream wants the body (RFC 9110 10.1.1)."""
        self._may_go_on = True
        self._wake()

    def on_answer(self) -> None:
        """The upstream has answered, so a body that it did not ask for is not sent any more."""
        self._is_answered = True
        self._wake()

    def on_writable(self) -> None:
        self._wake()

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

    async def _writable(self) -> None:
        while not (self._connection.writable or self._is_over):
            await self._wait()

    async def _wait(self) -> None:
        self._news = self._connection.loop.create_future()
        await self._news
