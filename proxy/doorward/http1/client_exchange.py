"""A client's request and the answer that it gets, as the carrier of the request sees both.

Two things fill it: the exchange of our own server, which writes to the client's connection, and the
adapter for any other ASGI server. Everything is called from the event loop and returns at once, but
for `receive` and `send`. An answer is begun once, goes out in pieces and is ended or cut.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from doorward.http1.arrival import Received
from doorward.http1.headers import Header
from doorward.http1.known_requests import KnownRequest
from doorward.http1.response_head import ResponseHead


@dataclass(frozen=True, slots=True)
class TunnelLimits:
    """How long a tunnel may be silent, and the most bytes of a message where they are taken apart
    on the way. `tells`: a WebSocket's client hears why it ends."""

    idle_timeout_s: float
    message_bytes: int
    tells: bool = False


class ClientTunnel(Protocol):
    """Both connections joined after an upgrade. `over` is done when both are closed."""

    over: asyncio.Future[None]

    @property
    def sent_bytes(self) -> int: ...
    def sweep(self, now: float) -> None: ...
    def cut(self, code: int = 0, reason: str = "") -> None:
        """End both sides at once. `code` and `reason` (at most 123 bytes) are for a WebSocket's
        client, where it can hear them."""


class Closable(Protocol):
    """Something that ends with the client's connection."""

    is_closed: bool

    def close(self) -> None: ...


class ClientExchange(Protocol):
    """`arrival` is the request; `known` is what was made of the same bytes before, if they came.

    `turned_away` is the status of an answer that the server itself gave meanwhile, or 0;
    `gone_for` says in a word why the client did not get all of its answer. `keep_alive` may be set
    to False: the connection then ends with this answer.
    """

    method: bytes
    known: KnownRequest | None
    keep_alive: bool
    disconnected: bool
    response_started: bool
    response_complete: bool
    turned_away: int
    status: int  # of the answer, 0 as long as there is none
    sent_bytes: int  # of its body

    @property
    def link(self) -> tuple[str, str]:
        """The connection's other end, and the scheme that it goes by."""

    @property
    def arrival(self) -> Received: ...

    @property
    def gone_for(self) -> str: ...

    def spawn(self, waiting: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Go on in a task, which ends with the exchange."""

    # The request's body, and what speaks ASGI

    @property
    def scope(self) -> dict[str, Any]: ...

    async def receive(self) -> dict[str, Any]: ...
    async def send(self, message: Any) -> None: ...

    @property
    def trailers(self) -> list[Header]:
        """Of the request, once its body is whole."""

    # The client

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call `callback`, the last one that was given, once if the client goes away before the
        answer is complete; at once if it has."""

    @property
    def is_slow(self) -> bool:
        """True while the client has not taken what was written."""

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a slow client has caught up."""

    attached: Closable | None  # ends with the client's connection

    def attach(self, attached: Closable) -> bool:
        """Have it end with the client's connection; False where that is not known."""

    # The answer

    def interim(self, status: int, headers: list[Header]) -> None:
        """An answer before the answer (RFC 9110 15.2): 1xx, less 100 and 101."""

    def start_with(self, head: ResponseHead) -> None:
        """The head; it leaves with the first piece of the body."""

    def write(self, data: bytes) -> None:
        """A piece of the body. Nothing is done once the client left."""

    def end(self, data: bytes = b"", trailers: bytes = b"") -> None:
        """The last piece; `trailers` are lines."""

    def cut(self, *, at_once: bool = False) -> None:
        """End in mid-answer, so that the client sees that it is not whole. `at_once`: without what
        a slow client has not taken yet."""

    def switch(
        self,
        headers: Iterable[Header],
        upstream: asyncio.Transport,
        early: bytes,
        upstream_lost: Callable[[Exception | None], None],
        limits: TunnelLimits,
    ) -> ClientTunnel:
        """Answer 101 with these headers and join both connections; only where `arrival.upgrade`
        says that a tunnel can be."""
