"""What exchanges for requests and for WebSockets of an ASGI server have in common.

Knows how to fill an outbox and how an application in this process answers through it; must not know
what a client may send.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

from doorward.http1.client_exchange import BodyTaker, Closable
from doorward.http1.headers import Header
from doorward.http1.known_requests import KnownRequest
from doorward.http1.response_head import InvalidResponseHead, ResponseHead
from doorward.observe.observer import LEFT
from doorward.relay.outbox import Outbox

POLICY = 1008  # RFC 6455 7.4.1
START, BODY = "http.response.start", "http.response.body"


class AsgiExchange(ABC):
    """Implements a part of `ClientExchange`. A subclass begins, writes and ends an answer."""

    known: KnownRequest | None = None
    attached: Closable | None = None
    keep_alive = True
    turned_away = 0
    gone_for = LEFT
    disconnected = response_started = response_complete = False
    status = sent_bytes = 0
    gives_body = False
    farewell = (POLICY, "")  # code and reason for the client of a WebSocket that is cut
    outbox: Outbox

    def attach(self, attached: Closable) -> bool:
        return False  # the server's connections are not known

    def spawn(self, waiting: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return self.outbox.spawn(waiting)

    def give_body(self, taker: BodyTaker) -> None:
        raise AssertionError("a body is received here")

    def give_more(self) -> None:
        raise AssertionError("a body is received here")

    @property
    def is_slow(self) -> bool:
        return self.outbox.is_slow

    def when_drained(self, callback: Callable[[], None]) -> None:
        self.outbox.drained = callback

    def interim(self, status: int, headers: list[Header]) -> None:  # noqa: B027
        """ASGI has no interim answers, so they are not passed on."""

    @abstractmethod
    def start_with(self, head: ResponseHead) -> None: ...

    @abstractmethod
    def write(self, data: bytes) -> None: ...

    @abstractmethod
    def end(self, data: bytes = b"", trailers: bytes = b"") -> None: ...

    def cut(self, *, at_once: bool = False) -> None:
        self.disconnected = True
        self.outbox.cut(at_once=at_once)

    async def send(self, message: Any) -> None:
        """Take a message of the application in this process, in order with what was written
        before."""
        if message["type"] == START:
            self.start_with(ResponseHead(message["status"], tuple(message.get("headers", ()))))
        elif message["type"] != BODY or not self.response_started or self.response_complete:
            raise InvalidResponseHead(f"{message['type']} out of turn")
        elif message.get("more_body", False):
            self.write(message.get("body", b""))
        else:
            self.end(message.get("body", b""))
        await self.outbox.wait_until_drained()
