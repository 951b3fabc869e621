"""Keep-alive connections to upstreams: handed out, taken back, checked for timeouts.

Must not know requests or answers.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol

import structlog

from doorward.http1.turns import Turns
from doorward.settings import Concurrency
from doorward.upstream.address import Address
from doorward.upstream.connection import Connection
from doorward.upstream.failures import (
    ConnectFailed,
    ConnectionLost,
    UpstreamFailure,
    UpstreamOverloaded,
)

_log = structlog.get_logger("doorward.upstream")

# The default of `pool.idle`. Applications often close idle connections after 2 to 75 s; nginx keeps
# its own for 60 s.
IDLE_S = 55.0
# More than this many idle connections to one upstream are closed at once.
IDLE_LIMIT = 256
# How late a timeout may be noticed. One timer for everything, instead of one per request.
SWEEP_S = 0.25


class Upstreams(Protocol):
    """The source of connections for exchanges: a `Pool`, or several behind one interface."""

    retries: int  # connections that were tried at another upstream after a failure

    def take(self) -> Connection | None:
        """An idle connection, or None: then call `connect` at once."""

    async def connect(self, *, fresh: bool = False) -> Connection:
        """A connection, usually a new one; `fresh`: always. Raises UpstreamFailure; nothing was
        sent then."""

    def without(self, connection: Connection) -> "Upstreams | None":
        """Where else to try after a failure of this connection; None if there is no other
        upstream."""


class Pool:
    """The connections to one upstream. The youngest idle one is used first, so that others can age.

    `when_failed` are called when the upstream turns out to be unhealthy.
    """

    retries = 0

    def __init__(
        self,
        address: Address,
        connect_timeout_s: float,
        idle_s: float = IDLE_S,
        lenient: bool = False,
    ) -> None:
        """`idle_s`: how long a connection is kept without a request. `lenient`: its answers may end
        lines with a bare line feed."""
        self.address = address
        self.idle_s = idle_s
        self._lenient = lenient
        self.when_failed: list[Callable[[], None]] = []
        self._connect_timeout_s = connect_timeout_s
        self._connecting = 0
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self.turns = Turns()
        self._parked = 0  # idle, and reserved for one client

    @property
    def busy(self) -> int:
        """The number of exchanges that are open or about to begin."""
        return len(self._all) - len(self._idle) - self._parked + self._connecting

    @property
    def connections(self) -> tuple[int, int]:
        """The numbers of idle and busy connections."""
        idle = len(self._idle) + self._parked
        return idle, len(self._all) - idle

    def take(self) -> Connection | None:
        """An idle connection that is still open, or None."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.close()
        return None

    async def connect(self, *, fresh: bool = False) -> Connection:
        """A new connection. Raises ConnectFailed or ConnectTimeout."""
        self._connecting += 1
        try:
            connection = await self.address.open(
                lambda: Connection(self, self._lenient), self._connect_timeout_s
            )
            if not connection.is_usable():
                raise ConnectFailed(f"{self.address} closed the connection at once")
        except ConnectFailed:
            self._failed()
            raise
        finally:
            self._connecting -= 1
        self._all.add(connection)
        return connection

    def without(self, connection: Connection) -> None:
        """There is no other upstream."""

    def _failed(self) -> None:
        for callback in self.when_failed:
            callback()

    def release(
        self, connection: Connection, alive: bool, failure: UpstreamFailure | None = None
    ) -> None:
        """Take a connection back, or let it go; `failure` says how its exchange ended."""
        if failure is not None and _is_upstream_fault(connection, failure):
            self._failed()
        if alive and len(self._idle) < IDLE_LIMIT:
            self._idle.append(connection)
            return
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.close()

    def sweep(self, now: float) -> None:
        """Fail exchanges past their deadline, close connections that were idle for too long."""
        for connection in tuple(self._all):
            try:
                connection.check_deadline(now)
            except Exception:  # in one exchange, which fails; the others are checked all the same
                _log.exception("sweep_failed")
                connection.close()
        for connection in tuple(self._idle):
            if now - connection.idle_since > self.idle_s or connection.is_due(now):
                self._idle.remove(connection)
                self._all.discard(connection)
                connection.close()

    # Connections that one client has to itself, see `bound_connections.py`

    async def room(self) -> None:
        """Wait until an exchange may begin. Raises UpstreamOverloaded. Call `resume` at once,
        or `let_in`."""

    def let_in(self) -> None:
        """Give the place, which is not needed after all, to a waiting request."""

    def park(self) -> None:
        """A connection that belongs to one client waits for its next request."""
        self._parked += 1

    def resume(self) -> bool:
        """Whether an exchange may begin over it now."""
        self._parked -= 1
        return True

    def unpark(self) -> None:
        """A waiting connection is closed."""
        self._parked -= 1

    def close(self) -> None:
        for connection in tuple(self._all):
            connection.abandon()
        self._all.clear()
        self._idle.clear()


def _is_upstream_fault(connection: Connection, failure: UpstreamFailure) -> bool:
    """Whether the failure means that the upstream is unhealthy. A kept connection may have lost a
    race, a client may have stopped sending, and an upstream that began to answer was healthy
    enough."""
    if isinstance(failure, ConnectionLost):
        return not (connection.reused or connection.answered)
    return connection.waits_for_answer


class BoundedPool(Pool):
    """A pool whose upstream gets a limited number of exchanges at a time; others wait in order.

    A request that is admitted has a promised place until it takes the connection, so that no
    request in between can take it.
    """

    def __init__(
        self,
        address: Address,
        connect_timeout_s: float,
        bounds: Concurrency,
        idle_s: float = IDLE_S,
        lenient: bool = False,
    ) -> None:
        super().__init__(address, connect_timeout_s, idle_s, lenient)
        self._limit = bounds.requests or 0
        self._queue = bounds.queue
        self._wait_s = bounds.wait.total_seconds()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._promised = 0

    @property
    def busy(self) -> int:
        return super().busy + self._promised + len(self._waiting)

    def take(self) -> Connection | None:
        return None if self.busy >= self._limit else super().take()

    async def connect(self, *, fresh: bool = False) -> Connection:
        """A connection, kept or new, when it is this exchange's turn. Also raises
        UpstreamOverloaded."""
        await self.room()
        try:
            return (None if fresh else super().take()) or await super().connect()
        except BaseException:
            self.let_in()
            raise

    async def room(self) -> None:
        if self.busy >= self._limit:
            await self._turn()

    def resume(self) -> bool:
        return self.busy < self._limit and super().resume()

    def park(self) -> None:
        super().park()
        self.let_in()

    async def _turn(self) -> None:
        """Wait in the queue; the promised place passes to the caller at once."""
        if len(self._waiting) >= self._queue:
            raise UpstreamOverloaded(f"{self.address} is busy, and {self._queue} wait already")
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            # not `timeout`, which refuses a request that is admitted at the last moment
            await asyncio.wait((place,), timeout=self._wait_s)
        except BaseException:
            self._leave(place)
            raise
        if not place.done():
            self._leave(place)
            raise UpstreamOverloaded(f"{self.address} was busy for {self._wait_s:g} s")
        self._promised -= 1

    def _leave(self, place: "asyncio.Future[None]") -> None:
        if place in self._waiting:
            self._waiting.remove(place)
        else:  # admitted and gone at the same moment
            self._promised -= 1
            self.let_in()

    def let_in(self) -> None:
        while self._waiting and super().busy + self._promised < self._limit:
            self._promised += 1
            self._waiting.popleft().set_result(None)

    def release(
        self, connection: Connection, alive: bool, failure: UpstreamFailure | None = None
    ) -> None:
        super().release(connection, alive, failure)
        self.let_in()


class Pools:
    """One pool for each upstream and its limits, with one sweep."""

    def __init__(self) -> None:
        self._pools: dict[tuple[Address, float, Concurrency | None, float, bool], Pool] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.swept: list[Callable[[float], None]] = []  # called often, with the loop's time
        self.checks: list[Callable[[], Coroutine[Any, Any, None]]] = []  # to run all along

    def of(
        self,
        address: Address,
        connect_timeout_s: float,
        bounds: Concurrency | None = None,
        idle_s: float = IDLE_S,
        lenient: bool = False,
    ) -> Pool:
        """The pool of this upstream, shared by all routes to it with the same settings."""
        if bounds is None or bounds.requests is None:
            bounds = None
        key = (address, connect_timeout_s, bounds, idle_s, lenient)
        if key not in self._pools:
            self._pools[key] = (
                Pool(address, connect_timeout_s, idle_s, lenient)
                if bounds is None
                else BoundedPool(address, connect_timeout_s, bounds, idle_s, lenient)
            )
            self.swept.append(self._pools[key].sweep)
        return self._pools[key]

    def connections(self) -> Iterator[tuple[str, int, int]]:
        """For each pool its upstream and the numbers of idle and busy connections."""
        for pool in self._pools.values():
            yield str(pool.address), *pool.connections

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for sweep in self.swept:
            try:
                sweep(now)
            except Exception:  # without sweeps, nothing open would end with its session
                _log.exception("sweep_failed")
        self._timer = loop.call_later(SWEEP_S, self.start)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pool in self._pools.values():
            pool.close()
