"""Finds sessions by their public id and by their refresh secret, and decides nothing.

It must not know the form of a secret: it gets digests.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, update

from doorward.accounts.sessions.sessions import Session
from doorward.storage import rows
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.feed import FeedRows
from doorward.storage.sessions import JOINED
from doorward.storage.tables import sessions

c = sessions.c


class AccessRows:
    """Implements `doorward.accounts.sessions.access.AccessStore`."""

    __slots__ = ("_engine", "_feed")

    def __init__(self, engine: Engine, feed: FeedRows) -> None:
        self._engine = engine
        self._feed = feed

    async def by_id(self, public_id: str) -> Session | None:
        return await self._one(c.id == public_id)

    async def by_secret(self, digest: bytes) -> Session | None:
        return await self._one(c.refresh_digest == digest)

    async def _one(self, condition: ColumnElement[bool]) -> Session | None:
        async with self._engine.reading() as connection:
            row = (await connection.execute(JOINED.where(condition))).one_or_none()
        return None if row is None else rows.session(row)

    async def keep_secret(self, number: int, digest: bytes, now: float) -> bool:
        async with self._engine.writing() as connection:
            return await _change(connection, number, refresh_digest=digest)

    async def renew(self, number: int, expires_at: float, information: str, now: float) -> bool:
        values = {"expires_at": expires_at, "information": information, "last_used_at": now}
        async with self._feed.changing(now) as change:
            change.sessions.add(number)  # caches still have the old end
            return await _change(change.connection, number, **values)


async def _change(connection: AsyncConnection, number: int, **values: Any) -> bool:
    query = update(sessions).where(c.number == number, c.ended_at.is_(None)).values(**values)
    return (await connection.execute(query)).rowcount > 0
