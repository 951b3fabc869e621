"""Keep-alive connections to upstreams: handed out, taken back, swept for timeouts.

Must not know requests or answers.
"""

import asyncio

from proxy.upstream.address import Address
from proxy.upstream.connection import Connection

# Applications commonly close idle connections after 2 to 75 s; nginx keeps its own for 60 s.
IDLE_S = 55.0
# More than this many idle connections to one upstream are closed at once.
IDLE_LIMIT = 256
# How late a timeout may be noticed. One timer for everything, instead of one per request.
SWEEP_S = 0.25


class Pool:
    """The connections to one upstream. The youngest idle one is used first, so others can age."""

    def __init__(self, address: Address, connect_timeout_s: float) -> None:
        self.address = address
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()

    def take(self) -> Connection | None:
        """An idle connection that is still open, or None."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
        return None

    async def connect(self) -> Connection:
        """A fresh connection. Raises ConnectFailed or ConnectTimeout."""
        connection = await self.address.open(
            lambda: Connection(self._release), self._connect_timeout_s
        )
        self._all.add(connection)
        return connection

    def _release(self, connection: Connection, alive: bool) -> None:
        if alive and len(self._idle) < IDLE_LIMIT:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
            return
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.close()

    def sweep(self, now: float) -> None:
        """Fail exchanges past their deadline, close connections idle for too long."""
        for connection in tuple(self._all):
            connection.check_deadline(now)
        while self._idle and now - self._idle[0].idle_since > IDLE_S:
            self._idle[0].close()
            self._all.discard(self._idle.pop(0))

    def close(self) -> None:
        for connection in tuple(self._all):
            connection.abandon()
        self._all.clear()
        self._idle.clear()


class Pools:
    """One pool for each upstream and connect timeout, under one sweep."""

    def __init__(self) -> None:
        self._pools: dict[tuple[Address, float], Pool] = {}
        self._timer: asyncio.TimerHandle | None = None

    def of(self, address: Address, connect_timeout_s: float) -> Pool:
        key = (address, connect_timeout_s)
        if key not in self._pools:
            self._pools[key] = Pool(address, connect_timeout_s)
        return self._pools[key]

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for pool in self._pools.values():
            pool.sweep(now)
        self._timer = loop.call_later(SWEEP_S, self.start)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pool in self._pools.values():
            pool.close()
