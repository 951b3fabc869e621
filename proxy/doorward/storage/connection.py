"""SQLAlchemy's connections, awaited: a statement runs in a greenlet that waits for the driver.

`sqlalchemy.ext.asyncio` does the same, but loads the ORM: 6 MiB in every worker. It must not know a
table or a driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, Executable, ScalarResult
from sqlalchemy.util.concurrency import greenlet_spawn

_Result = TypeVar("_Result")


class AsyncConnection:
    """A connection of the pool while it is borrowed. What a statement returns is complete: reading
    it awaits nothing."""

    __slots__ = ("_sync",)

    def __init__(self, sync: Connection) -> None:
        self._sync = sync

    async def execute(
        self, statement: Executable, parameters: Any = None
    ) -> CursorResult[*tuple[Any, ...]]:
        return await greenlet_spawn(self._sync.execute, statement, parameters)

    async def scalar(self, statement: Executable, parameters: Any = None) -> Any:
        return (await self.execute(statement, parameters)).scalar()

    async def scalars(self, statement: Executable, parameters: Any = None) -> ScalarResult[Any]:
        return (await self.execute(statement, parameters)).scalars()

    async def exec_driver_sql(self, statement: str) -> CursorResult[*tuple[Any, ...]]:
        return await greenlet_spawn(self._sync.exec_driver_sql, statement)

    async def run_sync(self, job: Callable[[Connection], _Result]) -> _Result:
        """Call `job`, which may use the connection as if it waited for it."""
        return await greenlet_spawn(job, self._sync)


@asynccontextmanager
async def borrow(engine: Engine) -> AsyncIterator[AsyncConnection]:
    """A connection of the pool. It is returned even if the caller is cancelled."""
    sync = await greenlet_spawn(engine.connect)
    try:
        yield AsyncConnection(sync)
    finally:
        await _complete(greenlet_spawn(sync.close))


@asynccontextmanager
async def transact(engine: Engine) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction, which is committed at the end. After an error, returning the
    connection rolls it back."""
    async with borrow(engine) as connection:
        await connection.run_sync(Connection.begin)
        yield connection
        await connection.run_sync(Connection.commit)


async def dispose(engine: Engine) -> None:
    """Close all connections that are not borrowed."""
    await greenlet_spawn(engine.dispose)


async def _complete(job: Coroutine[Any, Any, None]) -> None:
    """Await the end of `job` even if the caller is cancelled; then the cancellation continues."""
    task = asyncio.ensure_future(job)
    cancelled = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    await task
