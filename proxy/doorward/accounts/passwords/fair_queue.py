"""A limited number of places, and a queue for them in which networks take turns.

Knows paths of keys, the widest network first; must not know what is done in a place. At each width,
every waiting network gets one place before any network gets a second one. So a thousand connections
from one network delay a login from another by one place, not by a thousand.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from doorward.accounts.refusals import Overloaded

Waiter = asyncio.Future[None]


class FairQueue:
    """`at_once` places, and at most `waiting` callers in the queue. If more arrive, the newest one
    of the longest line is refused, so that only those who filled the queue find it full."""

    __slots__ = ("_free", "_most", "_waiting")

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = at_once
        self._most = waiting
        self._waiting = NestedQueue()

    @asynccontextmanager
    async def place(self, path: Sequence[str]) -> AsyncIterator[None]:
        """A place for one login from these networks. Raises Overloaded."""
        await self._enter(path)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, path: Sequence[str]) -> None:
        if self._free:
            self._free -= 1
            return
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(path, waiter)
        if self._waiting.length > self._most:
            surplus = self._waiting.drop()
            if not surplus.done():
                surplus.set_exception(Overloaded())
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._leave()  # the place was assigned at the same moment
            raise

    def _leave(self) -> None:
        """Give the place to the next caller, skipping those that no longer wait."""
        while self._waiting.length:
            waiter = self._waiting.take()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1


class NestedQueue:
    """Waiting callers in order of arrival, or lines of narrower networks that take turns."""

    __slots__ = ("_queues", "_waiters", "length")

    def __init__(self) -> None:
        self.length = 0
        self._queues: dict[str, NestedQueue] = {}  # the next one comes first
        self._waiters: deque[Waiter] = deque()

    def add(self, path: Sequence[str], waiter: Waiter) -> None:
        self.length += 1
        if path:
            self._queues.setdefault(path[0], NestedQueue()).add(path[1:], waiter)
        else:
            self._waiters.append(waiter)

    def take(self) -> Waiter:
        """The next caller. Its line moves to the end."""
        self.length -= 1
        if self._waiters:
            return self._waiters.popleft()
        key = next(iter(self._queues))
        line = self._queues.pop(key)
        waiter = line.take()
        if line.length:
            self._queues[key] = line
        return waiter

    def drop(self) -> Waiter:
        """Remove the newest caller of the longest line, and return it."""
        self.length -= 1
        if self._waiters:
            return self._waiters.pop()
        key = max(self._queues, key=lambda one: self._queues[one].length)
        waiter = self._queues[key].drop()
        if not self._queues[key].length:
            del self._queues[key]
        return waiter
