"""The audit trail: rows that are added, read and deleted by age, but never changed. It must not
know what the events mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

from sqlalchemy import Row, Select, delete, insert, or_, select

from doorward.accounts.audit.audit_log import Event, Kind, Record, RecordFilter
from doorward.accounts.names import clip
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.many_rows import insert_many
from doorward.storage.row_locks import locked
from doorward.storage.tables import audit

TOLD_AT_ONCE = 50  # a millisecond or two, with a line of JSON for each

Tell = Callable[[Record], None]

FIELDS = tuple(field.name for field in fields(Event))
_COLUMNS = (audit.c.number, *(audit.c[name] for name in FIELDS))
RECORDS = select(*_COLUMNS)
_ADD = insert(audit).returning(*_COLUMNS)


def _nobody(record: Record) -> None:
    pass


class AuditLogRows:
    """Implements `accounts.audit.audit_log.AuditLog`. `tell` is called with every record once it is
    stored."""

    __slots__ = ("_engine", "_tell")

    def __init__(self, engine: Engine, tell: Tell | None = None) -> None:
        self._engine = engine
        self._tell = tell or _nobody

    async def record(self, event: Event) -> None:
        async with self._engine.writing() as connection:
            records = await self.write(connection, [event])
        await self.tell(records)

    async def latest(self, wanted: RecordFilter, limit: int) -> Sequence[Record]:
        newest = _filter(wanted).order_by(audit.c.number.desc()).limit(limit)
        return (await self._read(newest))[::-1]

    async def after(
        self, number: int, wanted: RecordFilter, limit: int | None = None
    ) -> Sequence[Record]:
        later = _filter(wanted).where(audit.c.number > number)
        return await self._read(later.order_by(audit.c.number).limit(limit))

    async def purge(self, before: float, limit: int) -> int:
        query = select(audit.c.number).where(audit.c.at < before).order_by(audit.c.at).limit(limit)
        async with self._engine.reading() as connection:
            old = list(await connection.scalars(query))
        if not old:
            return 0
        which = locked(audit, audit.c.number.in_(old))
        async with self._engine.writing() as connection:
            gone = await connection.execute(delete(audit).where(which))
            return gone.rowcount

    async def write(self, connection: AsyncConnection, events: Sequence[Event]) -> list[Record]:
        """Adds the events to a transaction; after the commit, call `tell`."""
        values = ({name: getattr(event, name) for name in FIELDS} for event in events)
        records: list[Record] = []
        async for added in insert_many(connection, _ADD, values):
            records += sorted(map(record, added), key=lambda record: record.number)
        return records

    async def tell(self, records: Iterable[Record]) -> None:
        """Call `tell` with each record, a few in a turn of the event loop. If the caller is
        cancelled, the others follow at once: they are stored."""
        left = iter(records)
        try:
            while batch := list(islice(left, TOLD_AT_ONCE)):
                for record in batch:
                    self._tell(record)
                if len(batch) == TOLD_AT_ONCE:
                    await asyncio.sleep(0)
        finally:
            for record in left:
                self._tell(record)

    async def _read(self, query: Select[Any]) -> list[Record]:
        async with self._engine.reading() as connection:
            return [record(row) for row in await connection.execute(query)]


def _filter(wanted: RecordFilter) -> Select[Any]:
    query = RECORDS
    if wanted.user is not None:
        user = clip(wanted.user)  # from a command line, which may contain any bytes
        query = query.where(or_(audit.c.actor == user, audit.c.subject == user))
    if wanted.kind is not None:
        query = query.where(audit.c.kind == wanted.kind)
    if wanted.since is not None:
        query = query.where(audit.c.at >= wanted.since)
    return query


def record(row: Row[Any]) -> Record:
    """From a row of RECORDS or of what was added."""
    values = {name: row._mapping[name] for name in FIELDS}
    return Record(row.number, Event(**values | {"kind": Kind(row.kind)}))
