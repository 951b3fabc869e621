"""Lets logins of one user, or from one network, wait for each other.

Knows keys and how many logins may run at a time; must not know what they do. An attempt is counted
before it is checked, so without this queue right passwords that arrive together would use up a
budget.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doorward.accounts.refusals import Overloaded

# The maximum per key, about ten seconds of hashing; more are Overloaded. It is not a total, because
# one address could then fill every place.
WAITING = 512


class LoginQueue:
    """Semaphores by key, which exist only while they are held or awaited."""

    __slots__ = ("_semaphores", "_users")

    def __init__(self) -> None:
        self._semaphores: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()  # how many hold or await one

    @asynccontextmanager
    async def turn(self, key: str, at_once: int) -> AsyncIterator[None]:
        """Raises Overloaded if too many wait for this key."""
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
