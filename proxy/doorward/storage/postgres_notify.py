"""Word from other hosts on one PostgreSQL that the feed has grown (LISTEN, NOTIFY).

It tells when to look and never what at. Nothing depends on it: a worker that misses a notice reads
the feed at the next poll.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from sqlalchemy import text

from doorward.accounts.refusals import StorageUnavailable
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine

CHANNEL = "doorward"
CLOSE_S = 2.0


class PostgresNotify:
    """One listening connection besides the pool; none until something waits, none on SQLite."""

    __slots__ = ("_connection", "_engine", "_told")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None
        self._told = asyncio.Event()

    async def send(self, connection: AsyncConnection) -> None:
        """Notifies every host, once the transaction is committed."""
        if self._engine.connect is not None:
            await connection.execute(text(f"NOTIFY {CHANNEL}"))

    async def heard(self) -> None:
        """Returns when the feed may have grown, and when listening begins, because earlier
        notifications are lost. Raises StorageUnavailable."""
        if self._engine.connect is None:  # the processes of one host have the marker
            await asyncio.Event().wait()
        elif self._connection is None or self._connection.is_closed():
            await self._listen()
        else:
            await self._told.wait()
            self._told.clear()

    async def _listen(self) -> None:
        assert self._engine.connect is not None
        try:
            connection = await self._engine.connect()
            try:
                connection.add_termination_listener(self._tell)
                await connection.add_listener(CHANNEL, self._tell)
            except BaseException:
                connection.terminate()  # it is open, but hears nothing
                raise
        except self._engine.errors as error:
            raise StorageUnavailable from error
        self._connection = connection

    def _tell(self, *_: object) -> None:
        self._told.set()

    async def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*self._engine.errors):
                await self._connection.close(timeout=CLOSE_S)
