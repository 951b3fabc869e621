"""A flag that one coroutine waits for. Must not know what it means."""

import asyncio


class Flag:
    """The needed part of an `asyncio.Event`, which is much cheaper to make."""

    __slots__ = ("_set", "_waiter")

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        self._set = False

    async def wait(self) -> None:
        """Wait until it is set. Only one coroutine may wait, because only one receives."""
        while not self._set:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


class _NoFlag:
    """For a request that no coroutine answers."""

    def set(self) -> None:
        pass


NOBODY_WAITS = _NoFlag()
