"""Logins of one user, or from one network, that wait for each other.

It knows keys and how many may run at a time; it must not know what they do. An attempt is counted
before it is checked: without this queue, right passwords that arrive together would use up a
budget.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doorward.accounts.refusals import Overloaded

# Behind one key: about ten seconds of hashing, beyond it Overloaded. Not in all, or one address
# could fill the places of everybody.
WAITING = 512


class LoginQueue:
    """Semaphores by key, which are there only while somebody holds or awaits one."""

    __slots__ = ("_semaphores", "_users")

    def __init__(self) -> None:
        self._semaphores: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()  # who holds or awaits one

    @asynccontextmanager
    async def turn(self, key: str, at_once: int) -> AsyncIterator[None]:
        """Raises Overloaded when too many wait for this key."""
        if self._users[key] >= at_once + WAITING:
            raise Overloaded
        semaphore = self._semaphores.setdefault(key, asyncio.Semaphore(at_once))
        self._users[key] += 1
        try:
            async with semaphore:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._semaphores[key]
