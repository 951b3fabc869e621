"""The table of sessions. It stores, finds and ends sessions for the core, and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    bindparam,
    case,
    delete,
    insert,
    or_,
    select,
    update,
)

from doorward.accounts.audit.audit_log import Event, Kind, add_count
from doorward.accounts.refusals import SessionNotFound
from doorward.accounts.session import CLOCKS_DIFFER_S
from doorward.accounts.sessions.sessions import FULL, Renewal, Session
from doorward.accounts.user import User
from doorward.storage import rows
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.feed import Change, FeedRows
from doorward.storage.many_rows import execute_many
from doorward.storage.row_locks import hold, in_order, locked
from doorward.storage.rows import chunks
from doorward.storage.tables import factors, handovers, host_tokens, sessions, users

JOINED = select(*rows.SESSION_COLUMNS, *rows.USER_COLUMNS).join(
    users, users.c.number == sessions.c.user_number
)
BY_DIGEST = JOINED.add_columns(sessions.c.token_digest).where(
    or_(
        sessions.c.token_digest == bindparam("digest"),
        sessions.c.previous_digest == bindparam("digest"),
    )
)
READ_AT_ONCE = 250  # sessions, in less than ten milliseconds
NEWEST_FIRST = (sessions.c.created_at.desc(), sessions.c.number.desc())


class SessionRows:
    """Implements `doorward.accounts.sessions.sessions.SessionStore`."""

    __slots__ = ("_engine", "_feed")

    def __init__(self, engine: Engine, feed: FeedRows) -> None:
        self._engine = engine
        self._feed = feed

    async def insert(
        self,
        draft: Session,
        digest: bytes,
        *,
        replaces: int | None = None,
        most: int | None = None,
        event: Event | None = None,
        ending: Event | None = None,
    ) -> Session | None:
        async with self._feed.changing(draft.created_at) as change:
            connection = change.connection
            if not await hold_user(connection, draft.user):
                return None
            iat = await _free_second(connection, draft.user.number, draft.iat)
            values = rows.session_values(draft) | {"iat": iat, "token_digest": digest}
            result = await connection.execute(
                insert(sessions).values(user_number=draft.user.number, **values)
            )
            change.record(event)
            assert result.inserted_primary_key is not None
            session = replace(draft, number=result.inserted_primary_key[0], iat=iat)
            replaced = [] if replaces is None else [replaces]
            beyond = await _find_beyond(change, session, most, draft.created_at, replaced)
            await hold(connection, sessions, [*replaced, *beyond])
            if await _end(change, replaced, draft.created_at, "replaced"):
                change.record(ending)
            await _end_beyond(change, beyond, draft.created_at, event)
            return session

    async def by_digest(self, digest: bytes) -> Session | None:
        async with self._engine.reading() as connection:
            row = (await connection.execute(BY_DIGEST, {"digest": digest})).one_or_none()
        if row is None:
            return None
        session = rows.session(row)
        # the token from before the last renewal: remembered, but invalid
        if row.token_digest != digest:
            session.ended_at = session.second_factor_at or session.created_at
        return session

    async def by_id(self, id: str) -> Session | None:
        async with self._engine.reading() as connection:
            row = (await connection.execute(JOINED.where(sessions.c.id == id))).one_or_none()
        return None if row is None else rows.session(row)

    async def rise(
        self,
        session: Session,
        digest: bytes,
        method: str,
        now: float,
        event: Event | None = None,
        most: int | None = None,
    ) -> Session | None:
        c = sessions.c
        async with self._feed.changing(now) as change:
            if not await hold_user(change.connection, session.user):
                return None
            full = replace(session, level=FULL, method=method)
            beyond = await _find_beyond(change, full, most, now)
            await hold(change.connection, sessions, [session.number, *beyond])
            risen = await change.connection.execute(
                update(sessions)
                .where(c.number == session.number, c.level == session.level, c.ended_at.is_(None))
                # Of two concurrent ones, the second would find the first one's time here.
                .where(c.second_factor_at.is_not_distinct_from(session.second_factor_at))
                .where(c.renewals == session.renewals)
                .values(
                    level=FULL,
                    method=method,
                    previous_digest=c.token_digest,
                    token_digest=digest,
                    refresh_digest=None,
                    renewals=c.renewals + 1,
                    second_factor_at=now,
                    proved_at=now,
                    last_used_at=now,
                )
            )
            if not risen.rowcount:
                return None
            await _drop_handed_over(change, session.number)
            change.sessions.add(session.number)
            change.record(event)
            await _end_beyond(change, beyond, now, event)
        full.renewals += 1
        full.second_factor_at = full.proved_at = full.last_used_at = now
        return full

    async def trust(
        self,
        number: int,
        at: float | None,
        until: float | None,
        fingerprint: str | None,
        now: float,
        renewal: Renewal | None = None,
    ) -> bool:
        values = {
            "second_factor_at": at,
            "trusted_until": until,
            "trusted_fingerprint": fingerprint,
        }
        return await self._note(number, now, renewal, proved_at=now, **values)

    async def prove(self, number: int, now: float, renewal: Renewal | None = None) -> bool:
        return await self._note(number, now, renewal, proved_at=now)

    async def _note(
        self, number: int, now: float, renewal: Renewal | None, **values: object
    ) -> bool:
        query = update(sessions).where(sessions.c.number == number, sessions.c.ended_at.is_(None))
        async with self._feed.changing(now) as change:
            changed = (await change.connection.execute(query.values(**values))).rowcount > 0
            change.sessions.add(number)
            await renew(change, renewal)
        return changed

    async def end(self, number: int, now: float, by: str, event: Event | None = None) -> bool:
        async with self._feed.changing(now) as change:
            if ended := await _end(change, [number], now, by) > 0:
                change.record(event)
            return ended

    async def end_many(
        self, numbers: Sequence[int], now: float, by: str, events: Sequence[Event] = ()
    ) -> int:
        async with self._feed.changing(now) as change:
            change.events.extend(events)
            return await _end(change, numbers, now, by)

    async def end_all(
        self,
        user: int,
        now: float,
        by: str,
        but: int | None,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> int:
        async with self._feed.changing(now) as change:
            await forget_browsers(change, user)
            ended = await end_sessions(change, [user], now, by, but)
            await renew(change, renewal)
            change.record(None if event is None else add_count(event, ended))
            return ended

    async def list(self, user: int, now: float, most: int | None = None) -> Sequence[Session]:
        c = sessions.c
        query = JOINED.where(c.user_number == user, *_valid(now)).order_by(c.iat.desc())
        found: list[Session] = []
        page: list[Session] | None = None
        while page is None or len(page) == READ_AT_ONCE:
            later = query if page is None else query.where(c.iat < page[-1].iat)
            left = READ_AT_ONCE if most is None else min(most - len(found), READ_AT_ONCE)
            async with self._engine.reading() as connection:
                read = await connection.execute(later.limit(left))
            page = [*map(rows.session, read)]
            found += page
        found.sort(key=lambda session: (session.created_at, session.number), reverse=True)
        return found

    async def purge(self, before: float, limit: int) -> int:
        c = sessions.c
        over = or_(
            c.ended_at < before,
            c.expires_at < before,
            c.last_used_at + c.idle_timeout_s < before,
        )
        # Selected outside the transaction, so that nothing waits while all rows are read.
        async with self._engine.reading() as connection:
            found = list(await connection.scalars(select(c.number).where(over).limit(limit)))
        if not found:
            return 0
        async with self._engine.writing() as connection:
            query = delete(sessions).where(locked(sessions, c.number.in_(found), over))
            return (await connection.execute(query)).rowcount

    async def end_opened(self, before: float, now: float, by: str, event: Event) -> int:
        async with self._feed.changing(now) as change:
            held = in_order(sessions, *opened_before(before, now))
            numbers = list(await change.connection.scalars(held))
            ended = await _end(change, numbers, now, by)
            change.record(add_count(event, ended))
        return ended

    async def correct(self, most: float, now: float) -> None:
        c = sessions.c
        ahead = (c.last_used_at > most) & c.ended_at.is_(None)
        async with self._feed.changing(now) as change:
            found = list(await change.connection.scalars(in_order(sessions, ahead)))
            for chunk in chunks(found):
                query = update(sessions).where(locked(sessions, c.number.in_(chunk)))
                await change.connection.execute(query.values(last_used_at=now))
            change.sessions.update(found)  # otherwise caches keep the old time

    async def touch(self, used: Sequence[tuple[int, float]]) -> None:
        if not used:
            return
        at: BindParameter[float] = bindparam("at")
        last = sessions.c.last_used_at
        query = (
            update(sessions)
            .where(sessions.c.number == bindparam("session"))
            # One that lies far ahead was written by a clock that has been corrected since.
            .values(last_used_at=case((last.between(at, at + CLOCKS_DIFFER_S), last), else_=at))
        )
        # in the order of numbers, in which all rows are locked
        values = [{"session": number, "at": time} for number, time in sorted(used)]
        async with self._engine.writing() as connection:
            await execute_many(connection, query, values)


def opened_before(before: float, now: float) -> tuple[ColumnElement[bool], ...]:
    """Opened before that time, and not over."""
    return sessions.c.created_at < before, *_valid(now)


def _valid(now: float) -> tuple[ColumnElement[bool], ...]:
    c = sessions.c
    is_used = or_(c.idle_timeout_s.is_(None), c.last_used_at + c.idle_timeout_s > now)
    return c.ended_at.is_(None), c.expires_at > now, is_used


async def end_sessions(
    change: Change, of_users: Sequence[int], now: float, by: str, but: int | None = None
) -> int:
    """Ends the sessions of these users within a change that has locked all of them; returns how
    many."""
    numbers = await hold_sessions(change, of_users)
    return await _end(change, [number for number in numbers if number != but], now, by)


async def hold_sessions(change: Change, of_users: Sequence[int]) -> Sequence[int]:
    """The numbers of these users' sessions, in order and locked until commit."""
    c = sessions.c
    found: list[int] = []
    for chunk in chunks(of_users):
        query = select(c.number).where(c.user_number.in_(chunk), c.ended_at.is_(None))
        found += await change.connection.scalars(query)
    return await hold(change.connection, sessions, found, c.ended_at.is_(None))


async def renew(change: Change, renewal: Renewal | None, **values: object) -> None:
    """Writes a session's new token within a change: the old one is remembered but invalid, the
    refresh secret and the access tokens are invalid, the method is the renewed session's. None
    changes nothing. Raises SessionNotFound."""
    if renewal is None:
        return
    c, session = sessions.c, renewal.session
    query = update(sessions).where(
        c.number == session.number, c.ended_at.is_(None), c.renewals == session.renewals
    )
    renewed = query.values(
        previous_digest=c.token_digest,
        token_digest=renewal.digest,
        refresh_digest=None,
        renewals=c.renewals + 1,
        method=session.method,
        **values,
    )
    change.sessions.add(session.number)
    if not (await change.connection.execute(renewed)).rowcount:
        raise SessionNotFound
    await _drop_handed_over(change, session.number)


async def _drop_handed_over(change: Change, number: int) -> None:
    """Tokens of other hosts, and codes for them, count no longer than the session's own token."""
    for table in (handovers, host_tokens):
        query = delete(table).where(locked(table, table.c.session_number == number))
        await change.connection.execute(query)


async def forget_browsers(change: Change, user: int) -> None:
    """No browser can skip the user's code any more."""
    c = factors.c
    query = update(factors).where(c.user_number == user).values(browsers=c.browsers + 1)
    await change.connection.execute(query)


async def _end(change: Change, numbers: Sequence[int], now: float, by: str) -> int:
    """How many had not ended before. All are announced, which costs nothing and cannot miss one."""
    ended = 0
    c = sessions.c
    for chunk in chunks(sorted(numbers)):
        which = locked(sessions, c.number.in_(chunk), c.ended_at.is_(None))
        query = update(sessions).where(which)
        result = await change.connection.execute(query.values(ended_at=now, ended_by=by))
        ended += result.rowcount
    change.sessions.update(numbers)
    return ended


async def _find_beyond(
    change: Change, new: Session, most: int | None, now: float, but: Sequence[int] = ()
) -> Sequence[int]:
    """The oldest of the user's sessions, so that without these and `but`, `most` are left including
    the new one.

    Pending ones are counted separately: somebody who knows only the password cannot end other
    sessions.
    """
    if most is None:
        return ()
    c = sessions.c
    others = select(c.number).where(
        c.user_number == new.user.number,
        c.number.not_in([new.number, *but]),
        c.level == new.level,
        c.ended_at.is_(None),
        c.expires_at > now,
        or_(c.idle_timeout_s.is_(None), c.last_used_at + c.idle_timeout_s > now),
    )
    oldest = others.order_by(*NEWEST_FIRST)
    return list(await change.connection.scalars(oldest.offset(most - 1)))


async def _end_beyond(
    change: Change, numbers: Sequence[int], now: float, event: Event | None
) -> None:
    if numbers:
        ended = await _end(change, numbers, now, "limit")
        if event is not None:
            limited = replace(event, kind=Kind.SESSIONS_ENDED, session="", detail="limit")
            change.record(add_count(limited, ended))


async def hold_user(connection: AsyncConnection, user: User) -> bool:
    """Whether the user is as it was read; until commit nobody else can change it."""
    query = select(users.c.version, users.c.active, users.c.banned)
    found = await connection.execute(query.where(users.c.number == user.number).with_for_update())
    row = found.one_or_none()
    return row is not None and row.version == user.version and row.active and not row.banned


async def _free_second(connection: AsyncConnection, user: int, wanted: int) -> int:
    """The first second, from the requested one on, that no session of the user has; the lock is
    held."""
    query = select(sessions.c.iat).where(sessions.c.user_number == user, sessions.c.iat >= wanted)
    for iat in await connection.scalars(query.order_by(sessions.c.iat)):
        if iat != wanted:
            break
        wanted += 1
    return wanted
