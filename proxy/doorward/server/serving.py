"""One listening socket with all its connections, from the first accept to the end of a stop.

Knows when connections begin and end; must not know signals, or what is served.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, cast

from doorward.http1.turns import Turns
from doorward.observe.observer import (
    NO_ROUTE,
    TURNED_AWAY,
    BriefRecord,
    Observer,
    UnreadRequest,
    now_s,
    refusal_outcome,
)
from doorward.server.acceptor import Acceptor, EntryRequirements
from doorward.server.exchange import RequestHandler
from doorward.server.limits import Counts, Peers, Place
from doorward.server.protocol import Protocol, protocol_with
from doorward.server.proxy_protocol import Source, speaking_for
from doorward.settings import LimitSettings

# After the grace period: how long the last answers may take to be sent.
LAST_WORDS_S = 0.5
LOOK_S = 0.1  # how often open connections are checked, in addition to the events at their end


class _Connections(set[Protocol]):
    """Those that are open, which add and discard themselves."""

    def __init__(self, when_empty: Callable[[], None]) -> None:
        super().__init__()
        self.tasks: set[asyncio.Task[None]] = set()
        self.turns = Turns()
        self._when_empty = when_empty

    def discard(self, connection: object) -> None:
        super().discard(connection)
        if not self:
            self._when_empty()


class Serving:
    """Serves `app`, or `gateway` if there is one, on `sock` from the moment it is made; `end` ends
    it. `at_once`: the gateway is called without a task where possible.

    `entry` is what connections go through before HTTP; `trusted` are not counted by address.
    """

    def __init__(
        self,
        sock: socket.socket,
        app: Any,
        limits: LimitSettings,
        entry: EntryRequirements,
        trusted: Peers = (),
        gateway: RequestHandler | None = None,
        observer: Observer | None = None,
        *,
        at_once: bool = True,
    ) -> None:
        self._empty = asyncio.Event()
        self._connections = _Connections(self._empty.set)
        self._observer = observer
        protocol = protocol_with(limits, app, gateway, observer, at_once=at_once)
        self._protocol: Any = speaking_for(protocol) if entry.proxies else protocol
        counts = Counts(limits.connections, limits.connections_per_address, trusted)
        self._acceptor = Acceptor(sock, self._make, counts, entry, self._turned_away)

    def _make(self, source: Source | None, place: Place) -> asyncio.Protocol:
        made: Any = self._protocol(self._connections)
        made.place = place
        if source is not None:
            made.source = source
        return cast(asyncio.Protocol, made)

    def _turned_away(self, address: str, reason: str) -> None:
        if self._observer is not None:
            record = BriefRecord(UnreadRequest(address), sent_bytes=len(reason) + 1)
            self._observer.ended(refusal_outcome(TURNED_AWAY[503]), NO_ROUTE, 503, now_s(), record)

    async def end(self, grace_s: float, forced: asyncio.Event) -> None:
        """Refuse new connections, close idle ones, end streams and tunnels, and give open requests
        `grace_s` or until `forced`; then answer 503 or cut.

        A connection that is closing with nothing left to send needs no grace period: a client over
        TLS may take half a minute to agree to the close."""
        self._acceptor.close()
        for connection in self._open():
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await _await_first(self._ended(), forced.wait())
        for connection in self._open():
            connection.end_now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._closed()
        for connection in self._open():
            connection.transport.abort()
        await self._cancel_tasks()
        await self._acceptor.wait_closed()

    def _open(self) -> tuple[Protocol, ...]:
        return tuple(self._connections)

    async def _ended(self) -> None:
        """Wait until every answer is sent and no task answers."""
        while any(not one.has_sent_all for one in self._open()):
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._empty.wait()
        await self._finished()

    async def _closed(self) -> None:
        """Wait until no connection is open and no task answers."""
        while self._connections:
            self._empty.clear()
            await self._empty.wait()
        await self._finished()

    async def _finished(self) -> None:
        if self._connections.tasks:
            await asyncio.wait(self._connections.tasks)

    async def _cancel_tasks(self) -> None:
        tasks = tuple(self._connections.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS_S)


async def _await_first(*jobs: Any) -> None:
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
