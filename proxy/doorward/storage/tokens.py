"""The table of API tokens. It stores, finds and ends tokens for the core, and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Row,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from doorward.accounts.audit.audit_log import Event, add_count
from doorward.accounts.session import TokenScope
from doorward.accounts.token import ApiToken, TokenDraft, TokenUse
from doorward.storage import rows
from doorward.storage.engine import Engine
from doorward.storage.feed import Change, FeedRows
from doorward.storage.many_rows import execute_many
from doorward.storage.row_locks import locked
from doorward.storage.sessions import hold_user
from doorward.storage.tables import tokens, users

c = tokens.c
FIELDS = (
    "id", "name", "digest", "created_at", "expires_at", "last_used_at", "address", "user_agent",
    "ended_at", "ended_by",
)  # fmt: skip
NARROWING = ("routes", "methods", "networks")
JOINED = select(
    c.number, c.admin, *(c[name] for name in (*FIELDS, *NARROWING)), *rows.USER_COLUMNS
).join(users, users.c.number == c.user_number)
BY_ID = JOINED.where(c.id == bindparam("public_id"))


class TokenRows:
    """Implements `doorward.accounts.tokens.store.TokenStore`."""

    __slots__ = ("_engine", "_feed")

    def __init__(self, engine: Engine, feed: FeedRows) -> None:
        self._engine = engine
        self._feed = feed

    async def insert_token(self, draft: TokenDraft, most: int, event: Event) -> ApiToken | None:
        now, user = draft.created_at, draft.user
        async with self._feed.changing(now) as change:
            if not await hold_user(change.connection, user):
                return None
            mine = select(func.count()).where(c.user_number == user.number, *_not_over(now))
            if (await change.connection.scalar(mine) or 0) >= most:
                return None
            result = await change.connection.execute(insert(tokens).values(_values(draft)))
            change.record(event)
            assert result.inserted_primary_key is not None
            return ApiToken(
                number=result.inserted_primary_key[0],
                id=draft.id,
                user=user,
                name=draft.name,
                scope=draft.scope,
                digest=draft.digest,
                created_at=now,
                expires_at=draft.expires_at,
            )

    async def by_id(self, public_id: str) -> ApiToken | None:
        async with self._engine.reading() as connection:
            found = await connection.execute(BY_ID, {"public_id": public_id})
            row = found.one_or_none()
        return None if row is None else _token(row)

    async def renew_hash(self, number: int, old: bytes, new: bytes) -> None:
        query = update(tokens).where(c.number == number, c.digest == old).values(digest=new)
        async with self._engine.writing() as connection:
            await connection.execute(query)

    async def end(self, number: int, now: float, by: str, event: Event) -> bool:
        async with self._feed.changing(now) as change:
            ended = await _end(change, c.number == number, now, by) > 0
            change.sessions.add(-number)  # announced again, which costs nothing and cannot miss one
            change.record(event if ended else None)
        return ended

    async def end_all(self, user: int, now: float, by: str, event: Event) -> int:
        async with self._feed.changing(now) as change:
            ended = await end_tokens(change, user, now, by)
            change.record(add_count(event, ended))
        return ended

    async def list(
        self, user: int | None, now: float, before: int | None, limit: int
    ) -> Sequence[ApiToken]:
        query = JOINED.where(*_not_over(now)).order_by(c.number.desc()).limit(limit)
        if user is not None:
            query = query.where(c.user_number == user)
        if before is not None:
            query = query.where(c.number < before)
        async with self._engine.reading() as connection:
            return [_token(row) for row in await connection.execute(query)]

    async def end_unused(self, since: float, now: float, by: str, event: Event) -> int:
        async with self._feed.changing(now) as change:
            ended = await _end(change, and_(*unused_since(since, now)), now, by)
            change.record(add_count(event, ended))
        return ended

    async def touch(self, used: Sequence[TokenUse]) -> None:
        at: BindParameter[float] = bindparam("at")
        is_newer = or_(c.last_used_at.is_(None), c.last_used_at <= at)
        query = (
            update(tokens)
            .where(c.number == bindparam("token"))
            .values(
                last_used_at=case((is_newer, at), else_=c.last_used_at),
                address=case((is_newer, bindparam("from")), else_=c.address),
                user_agent=case((is_newer, bindparam("by")), else_=c.user_agent),
            )
        )
        # in the order of numbers, in which all rows are locked
        values = [
            {"token": one.number, "at": one.at, "from": one.address, "by": one.user_agent}
            for one in sorted(used, key=lambda one: one.number)
        ]
        async with self._engine.writing() as connection:
            await execute_many(connection, query, values)

    async def purge(self, before: float, limit: int) -> int:
        over = or_(c.ended_at < before, c.expires_at < before)
        # Selected outside the transaction, so that nothing waits while all rows are read.
        async with self._engine.reading() as connection:
            found = list(await connection.scalars(select(c.number).where(over).limit(limit)))
        if not found:
            return 0
        which = locked(tokens, c.number.in_(found))
        async with self._engine.writing() as connection:
            return (await connection.execute(delete(tokens).where(which))).rowcount


async def end_tokens(change: Change, user: int, now: float, by: str) -> int:
    """Ends the tokens of a user within a change; returns how many."""
    return await _end(change, c.user_number == user, now, by)


async def _end(change: Change, which: ColumnElement[bool], now: float, by: str) -> int:
    """Ends those that have not ended, and announces them."""
    query = update(tokens).where(locked(tokens, which, c.ended_at.is_(None)))
    query = query.values(ended_at=now, ended_by=by)
    numbers = list(await change.connection.scalars(query.returning(c.number)))
    change.sessions.update(-number for number in numbers)
    return len(numbers)


def _not_over(now: float) -> tuple[ColumnElement[bool], ...]:
    return c.ended_at.is_(None), or_(c.expires_at.is_(None), c.expires_at > now)


def unused_since(since: float, now: float) -> tuple[ColumnElement[bool], ...]:
    """Neither created nor used since then, and still valid."""
    used = or_(c.last_used_at.is_(None), c.last_used_at < since)
    return *_not_over(now), c.created_at < since, used


def _values(draft: TokenDraft) -> dict[str, object]:
    narrowing = {name: list(getattr(draft.scope, name)) for name in NARROWING}
    return narrowing | {
        "id": draft.id,
        "user_number": draft.user.number,
        "name": draft.name,
        "digest": draft.digest,
        "admin": draft.scope.admin,
        "created_at": draft.created_at,
        "expires_at": draft.expires_at,
        "address": "",
        "user_agent": "",
    }


def _token(row: Row[Any]) -> ApiToken:
    fields = row._mapping
    narrowing = {name: tuple(fields[name]) for name in NARROWING}
    scope = TokenScope(**narrowing, admin=fields["admin"])
    known = {name: fields[name] for name in FIELDS}
    return ApiToken(number=row.number, user=rows.user(row), scope=scope, **known)
