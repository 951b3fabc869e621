"""The revocation feed: rows with the sessions and users that changed, and a marker that shows that
something changed.

It knows what is announced, not why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import delete, func, insert, select, update

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.sessions.feed import News
from doorward.storage.audit_log import AuditLogRows
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.health import WRITE
from doorward.storage.many_rows import execute_many
from doorward.storage.marker import Marker
from doorward.storage.postgres_notify import PostgresNotify
from doorward.storage.tables import feed, feed_counter

# How many entries are read at a time: a few milliseconds in which no request is answered.
READ_AT_ONCE = 1000
KEPT_S = 3600.0  # far longer than any worker can be behind and still be trusted (about a second)


@dataclass(slots=True)
class Change:
    """A transaction, and what running workers have to be notified of after it."""

    connection: AsyncConnection
    sessions: set[int] = field(default_factory=set)
    users: set[int] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)

    def record(self, event: Event | None) -> None:
        """Write the event in this transaction."""
        if event is not None:
            self.events.append(event)

    @property
    def count(self) -> int:
        """The number of rows of the feed."""
        return len(self.sessions) + len(self.users)

    def rows(self, now: float) -> Iterable[dict[str, float | None]]:
        for session in self.sessions:
            yield {"session_number": session, "user_number": None, "at": now}
        for user in self.users:
            yield {"session_number": None, "user_number": user, "at": now}


class FeedRows:
    """Implements `doorward.accounts.sessions.feed.Feed`."""

    __slots__ = ("_audit_log", "_engine", "_marker", "_notices", "heard", "marker")

    def __init__(
        self, engine: Engine, marker: Marker, audit_log: AuditLogRows, notices: PostgresNotify
    ) -> None:
        self._engine = engine
        self._notices = notices
        self.heard = self._notices.heard
        self._audit_log = audit_log
        self._marker = marker
        self.marker = marker.read  # bound here: it is called on every request

    def check_file(self) -> None:
        self._marker.check()

    def write_fault(self) -> str | None:
        return self._engine.health.failure(WRITE)

    async def try_writing(self) -> None:
        async with self._engine.writing() as connection:
            await connection.execute(update(feed_counter).values(purged=feed_counter.c.purged))

    async def head(self) -> int:
        async with self._engine.reading() as connection:
            return int(await connection.scalar(select(feed_counter.c.number)) or 0)

    async def news(self, after: int) -> News:
        c = feed.c
        rows = select(feed_counter.c.number, feed_counter.c.purged, c.number, c.session_number,
            c.user_number).outerjoin(feed, c.number > after)  # fmt: skip
        async with self._engine.reading() as connection:
            found = (await connection.execute(rows.order_by(c.number).limit(READ_AT_ONCE))).all()
        number, purged = found[0][:2] if found else (0, 0)
        # A number below `after`: the database is a restored backup.
        if after < purged or number < after:
            return News(number, everything=True)
        sessions = frozenset(session for *_, session, _ in found if session is not None)
        users = frozenset(user for *_, user in found if user is not None)
        if len(found) == READ_AT_ONCE and found[-1][2] < number:
            return News(found[-1][2], sessions, users, more=True)
        return News(number, sessions, users)

    @asynccontextmanager
    async def changing(self, now: float) -> AsyncIterator[Change]:
        """A transaction with its feed rows and events; the marker is changed before this returns.

        Raises StorageUnavailable.
        """
        async with self._engine.writing() as connection:
            change = Change(connection)
            yield change
            if change.count:
                await _announce(change, now)
                await self._notices.send(connection)
            records = await self._audit_log.write(connection, change.events)
        try:
            if change.count:
                await self._mark()
        finally:
            await self._audit_log.tell(records)

    async def _mark(self) -> None:
        try:
            await self._marker.replace()
        except OSError as error:
            raise StorageUnavailable from error


async def _announce(change: Change, now: float) -> None:
    connection = change.connection
    add_count = update(feed_counter).values(number=feed_counter.c.number + change.count)
    last = (await connection.execute(add_count.returning(feed_counter.c.number))).scalar_one()
    first = last - change.count + 1
    numbered = ({**row, "number": first + i} for i, row in enumerate(change.rows(now)))
    await execute_many(connection, insert(feed), numbered)
    await _purge(connection, now - KEPT_S)


async def _purge(connection: AsyncConnection, before: float) -> None:
    old = select(func.max(feed.c.number)).where(feed.c.at < before)
    if (purged := await connection.scalar(old)) is None:
        return
    await connection.execute(delete(feed).where(feed.c.number <= purged))
    await connection.execute(update(feed_counter).values(purged=purged))
