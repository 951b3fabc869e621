"""The interface to a client's request and its answer, for the code that carries the request.

It has two implementations: the exchange of Doorward's own server, which writes to the client's
connection, and the adapter for other ASGI servers. All methods are called in the event loop and,
except for `receive` and `send`, return at once. An answer is begun once, sent in pieces, and ended
or cut.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from doorward.http1.arrival import Received
from doorward.http1.headers import Header
from doorward.http1.joining import Piece
from doorward.http1.known_requests import KnownRequest
from doorward.http1.response_head import ResponseHead
from doorward.http1.turns import Turns


@dataclass(frozen=True, slots=True)
class TunnelLimits:
    """How long a tunnel may be silent, and the maximum size of a message if messages are parsed.
    `tells`: whether a WebSocket's client is sent the reason when the tunnel is closed. `turns` are
    shared by all tunnels of a process, for reading many messages."""

    idle_timeout_s: float
    message_bytes: int
    tells: bool = False
    turns: Turns = field(default_factory=Turns)


class ClientTunnel(Protocol):
    """Both connections joined after an upgrade. `over` is done when both are closed."""

    over: asyncio.Future[None]

    @property
    def sent_bytes(self) -> int: ...
    def sweep(self, now: float) -> None: ...
    def cut(self, code: int = 0, reason: str = "") -> None:
        """End both sides at once. `code` and `reason` (at most 123 bytes) are sent to a WebSocket's
        client, if that is possible."""


class Closable(Protocol):
    """Something that ends with the client's connection."""

    is_closed: bool

    def close(self) -> None: ...


class BodyTaker(Protocol):
    """Where a request's body goes."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes more now."""

    def take(self, data: Piece, *, more: bool) -> None:
        """Take the next piece, which is the last unless `more`."""


class ClientExchange(Protocol):
    """`arrival` is the request; `known` is the cached result for the same bytes, if they came
    before.

    `turned_away` is the status of an answer that the server itself has sent in the meantime, or 0;
    `gone_for` is one word for the reason why the client did not get the whole answer. If
    `keep_alive` is set to False, the connection ends with this answer.
    """

    method: bytes
    known: KnownRequest | None
    keep_alive: bool
    disconnected: bool
    response_started: bool
    response_complete: bool
    turned_away: int
    status: int  # of the answer; 0 until there is one
    sent_bytes: int  # of its body

    @property
    def link(self) -> tuple[str, str]:
        """The connection's other end, and its scheme."""

    @property
    def arrival(self) -> Received: ...

    @property
    def gone_for(self) -> str: ...

    def spawn(self, waiting: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Continue in a task, which ends with the exchange."""

    # The request's body, and what speaks ASGI

    @property
    def scope(self) -> dict[str, Any]: ...

    async def receive(self) -> dict[str, Any]: ...
    async def send(self, message: Any) -> None: ...

    gives_body: bool  # whether `give_body` works; ASGI servers only have `receive`

    def give_body(self, taker: BodyTaker) -> None:
        """Pass the request's body to `taker`: the part that was already received, then the rest as
        it arrives."""

    def give_more(self) -> None:
        """Resume: the taker is ready again."""

    @property
    def trailers(self) -> list[Header]:
        """The request's trailers, once its body is complete."""

    # The client

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call `callback` once if the client leaves before the answer is complete, or at once if it
        has left. Only the last `callback` is kept."""

    @property
    def is_slow(self) -> bool:
        """True while the client has not read what was written."""

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call `callback` each time a slow client has caught up."""

    attached: Closable | None  # ends with the client's connection

    def attach(self, attached: Closable) -> bool:
        """Close `closable` together with the client's connection. False if that connection is not
        known."""

    # The answer

    def interim(self, status: int, headers: list[Header]) -> None:
        """Send an informational answer (RFC 9110 15.2): 1xx, except 100 and 101."""

    def start_with(self, head: ResponseHead) -> None:
        """Begin the answer. The head is sent with the first piece of the body."""

    def write(self, data: bytes) -> None:
        """Send a piece of the body. Does nothing if the client has left."""

    def end(self, data: bytes = b"", trailers: bytes = b"") -> None:
        """Send the last piece. `trailers` are lines."""

    def cut(self, *, at_once: bool = False) -> None:
        """Abort the answer, so that the client notices that it is incomplete. `at_once`: discard
        the data that a slow client has not read yet."""

    def switch(
        self,
        headers: Iterable[Header],
        upstream: asyncio.Transport,
        early: bytes,
        upstream_lost: Callable[[Exception | None], None],
        limits: TunnelLimits,
    ) -> ClientTunnel:
        """Answer 101 with these headers and join both connections; only if `arrival.upgrade` allows
        a tunnel."""
