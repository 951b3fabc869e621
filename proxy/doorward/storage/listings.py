"""Long lists, a page at a time: users, sessions, records, lock-outs. Each page is a range of an
index that begins where the last one ended. It checks no permissions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, not_, or_, select, true, tuple_

from doorward.accounts.administration import Cursor, UserFilter
from doorward.accounts.audit.audit_log import Record, RecordFilter
from doorward.accounts.names import clip
from doorward.accounts.passwords.regulation import Lock
from doorward.accounts.sessions.sessions import FULL, PENDING_S, Session
from doorward.accounts.user import User
from doorward.storage import rows
from doorward.storage.attempts import locks_at
from doorward.storage.audit_log import RECORDS, record
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.sessions import JOINED
from doorward.storage.tables import audit, handles, sessions, users

LAST = "\U0010ffff"  # no name continues with this
Found = list[tuple[Cursor, User]]


class ListingRows:
    """Implements `doorward.accounts.administration.Listings`."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def users(self, chosen: UserFilter, after: Cursor | None, limit: int) -> Found:
        """By name; users who are found only by an address are sorted by the address."""
        async with self._engine.reading() as connection:
            named = await _find_by_name(connection, chosen, after, limit)
            if not chosen.begins:
                return named
            # After the last name of a full page, nothing is read.
            until = named[-1][0].key if len(named) == limit else chosen.begins + LAST
            addressed = await _find_by_address(connection, chosen, after, until, limit)
        both = sorted([*named, *addressed], key=lambda one: (one[0].key, one[0].number))
        return both[:limit]

    async def user(self, public_id: str) -> User | None:
        query = select(*rows.USER_COLUMNS).where(users.c.id == public_id)
        async with self._engine.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else rows.user(row)

    async def sessions(self, now: float, before: int | None, limit: int) -> Sequence[Session]:
        c = sessions.c
        query = JOINED.where(
            c.ended_at.is_(None),
            c.expires_at > now,
            or_(c.level == FULL, c.created_at + PENDING_S > now),
            or_(
                c.level != FULL,
                c.idle_timeout_s.is_(None),
                c.last_used_at + c.idle_timeout_s > now,
            ),
        )
        if before is not None:
            query = query.where(c.number < before)
        async with self._engine.reading() as connection:
            found = await connection.execute(query.order_by(c.number.desc()).limit(limit))
            return [rows.session(row) for row in found]

    async def records(
        self, wanted: RecordFilter, before: int | None, limit: int
    ) -> Sequence[Record]:
        async with self._engine.reading() as connection:
            found: dict[int, Record] = {}
            for whose in _list_columns(wanted):
                query = RECORDS.where(*whose, *_narrow(wanted, before))
                page = query.order_by(audit.c.number.desc()).limit(limit)
                found |= {row.number: record(row) for row in await connection.execute(page)}
        return [found[number] for number in sorted(found, reverse=True)][:limit]

    async def locks(self, now: float, limit: int) -> Sequence[Lock]:
        return await locks_at(self._engine, now, limit)


async def _find_by_name(
    connection: AsyncConnection, chosen: UserFilter, after: Cursor | None, limit: int
) -> Found:
    c = users.c
    query = select(c.username_key, *rows.USER_COLUMNS)
    if chosen.begins:
        query = query.where(*_begins(c.username_key, chosen.begins))
    if chosen.banned:
        query = query.where(c.banned == true())
    if after is not None:
        query = query.where(tuple_(c.username_key, c.number) > (after.key, after.number))
    page = query.order_by(c.username_key, c.number).limit(limit)
    return [_build_cursor(row) for row in await connection.execute(page)]


async def _find_by_address(
    connection: AsyncConnection, chosen: UserFilter, after: Cursor | None, until: str, limit: int
) -> Found:
    """Users with an address that begins with the text and a name that does not, at the first such
    address."""
    c, other = handles.c, handles.alias()
    earlier = exists().where(
        other.c.user_number == c.user_number,
        other.c.handle < c.handle,
        *_begins(other.c.handle, chosen.begins),
    )
    query = (
        select(c.handle, *rows.USER_COLUMNS)
        .join(users, users.c.number == c.user_number)
        .where(*_begins(c.handle, chosen.begins), c.handle <= until, ~earlier)
        .where(not_(and_(*_begins(users.c.username_key, chosen.begins))))
    )
    if chosen.banned:
        query = query.where(users.c.banned == true())
    if after is not None:
        query = query.where(tuple_(c.handle, c.user_number) > (after.key, after.number))
    page = query.order_by(c.handle, c.user_number).limit(limit)
    return [_build_cursor(row) for row in await connection.execute(page)]


def _begins(column: ColumnElement[str], text: str) -> tuple[ColumnElement[bool], ...]:
    return column >= text, column < text + LAST


def _build_cursor(row: Any) -> tuple[Cursor, User]:
    return Cursor(row[0], row.user_number), rows.user(row)


def _list_columns(wanted: RecordFilter) -> list[tuple[ColumnElement[bool], ...]]:
    """One query for each of the two columns that can match: each has an index, both together have
    none."""
    if wanted.user is None:
        return [()]
    user = clip(wanted.user)
    return [(audit.c.actor == user,), (audit.c.subject == user,)]


def _narrow(wanted: RecordFilter, before: int | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.kind is not None:
        conditions.append(audit.c.kind == wanted.kind)
    if wanted.since is not None:
        conditions.append(audit.c.at >= wanted.since)
    if before is not None:
        conditions.append(audit.c.number < before)
    return conditions
