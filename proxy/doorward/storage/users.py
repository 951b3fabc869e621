"""The tables of users and their handles. It stores and finds; the core has the rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import Event
from doorward.accounts.names import display
from doorward.accounts.refusals import NameTaken, UserNotFound
from doorward.accounts.session import Renewal
from doorward.accounts.user import Credential, NewPassword, NewUser, Seen, User
from doorward.storage import rows
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.feed import Change, FeedRows
from doorward.storage.many_rows import execute_many, insert_many
from doorward.storage.row_locks import in_order
from doorward.storage.rows import chunks
from doorward.storage.sessions import end_sessions, renew
from doorward.storage.tables import audit, factors, feed_counter, handles, sessions, tokens, users
from doorward.storage.tokens import end_tokens

CREDENTIALS = select(*rows.USER_COLUMNS, users.c.password_hash, users.c.password_scheme)
USERS = select(*rows.USER_COLUMNS)
_NOTE = (
    update(users)
    .where(users.c.number == bindparam("changed"))
    .values(entry_digest=bindparam("digest"), version=users.c.version + 1)
)
_GONE = object()  # of a row that is no more; None is a digest that is not known yet
READ_AT_ONCE = 1000  # users, in a few milliseconds
SAME_S = 5.0  # by then every worker has read a changed file; workers check once a second


class UserRows:
    """Implements `doorward.accounts.users.users.UserStore`."""

    __slots__ = ("_engine", "_feed")

    def __init__(self, engine: Engine, feed: FeedRows) -> None:
        self._engine = engine
        self._feed = feed

    async def insert(self, new: NewUser, now: float, event: Event | None = None) -> User:
        async with self._feed.changing(now) as change:
            change.record(event)
            return (await _insert(change.connection, [new], now))[0]

    async def insert_all(
        self, new: Sequence[NewUser], now: float, events: Sequence[Event] = ()
    ) -> Sequence[User]:
        async with self._feed.changing(now) as change:
            change.events.extend(events)
            await _check_free(change.connection, new)
            return await _insert(change.connection, new, now)

    async def edit(
        self,
        user: User,
        change: Callable[[User], tuple[User, Sequence[str]]],
        now: float,
        event: Event | None = None,
    ) -> User:
        async with self._feed.changing(now) as changing:
            changing.record(event)
            held = USERS.where(users.c.number == user.number).with_for_update()
            row = (await changing.connection.execute(held)).one_or_none()
            if row is None:
                raise UserNotFound
            changed, led = change(rows.user(row))
            await _update(changing, user, None, **_editable(changed))
            await _lead(changing.connection, user.number, led)
            return changed

    async def by_handle(self, key: str) -> Credential | None:
        query = CREDENTIALS.join(handles, handles.c.user_number == users.c.number)
        row = await self._row(query.where(handles.c.handle == key))
        return None if row is None else rows.credential(row)

    async def by_name(self, source: str, key: str) -> User | None:
        query = USERS.where(users.c.source == source, users.c.username_key == key)
        row = await self._row(query)
        return None if row is None else rows.user(row)

    async def taken(self, wanted: Iterable[str]) -> Sequence[str]:
        found: list[str] = []
        for chunk in rows.chunks(sorted(wanted)):
            query = select(handles.c.handle).where(handles.c.handle.in_(chunk))
            async with self._engine.reading() as connection:
                found += await connection.scalars(query)
        return sorted(found)

    async def imported(self, ours: str) -> Sequence[tuple[str, str]]:
        c = users.c
        query = select(c.password_scheme, func.max(c.password_hash)).where(
            c.password_scheme.is_not(None), c.password_scheme != ours
        )
        async with self._engine.reading() as connection:
            found = await connection.execute(query.group_by(c.password_scheme))
            return [(scheme, one) for scheme, one in found]

    async def claim(
        self,
        source: str,
        seen: Mapping[str, Seen],
        gone: Collection[str],
        now: float,
        event: Event | None = None,
        reloaded: Event | None = None,
    ) -> None:
        known = await self._read_known(source)
        await self._make(source, {key: seen[key] for key in seen.keys() - known.keys()}, now)
        changed = [
            row
            for key, row in known.items()
            if key in seen and row.entry_digest != seen[key].digest
        ]
        if not changed and not gone and reloaded is None:
            return
        async with self._feed.changing(now) as change:
            change.users.update(row.number for key, row in known.items() if key in gone)
            await _note(change, changed, seen, now, event)
            if reloaded is not None and not await _is_recorded(change.connection, reloaded):
                change.record(reloaded)

    async def _read_known(self, source: str) -> dict[str, Row[Any]]:
        """The rows of the users of a source, by name."""
        c, known = users.c, dict[str, Row[Any]]()
        query = select(c.number, c.username_key, c.username, c.entry_digest)
        query = query.where(c.source == source).order_by(c.username_key).limit(READ_AT_ONCE)
        page: Sequence[Row[Any]] | None = None
        while page is None or len(page) == READ_AT_ONCE:
            later = query.where(c.username_key > page[-1].username_key) if page else query
            async with self._engine.reading() as connection:
                page = (await connection.execute(later)).all()
            known |= {row.username_key: row for row in page}
        return known

    async def _make(self, source: str, missing: Mapping[str, Seen], now: float) -> None:
        # A transaction for each chunk: logins need not wait for all of them.
        for chunk in chunks(sorted(missing)):
            new = (
                _values(_build_row(source, key, missing[key].username), now)
                | {"entry_digest": missing[key].digest}
                for key in chunk
            )
            async with self._engine.writing() as connection:
                # Two processes that start together find the same rows missing.
                await execute_many(connection, self._engine.insert_missing(users), new)

    async def set_password(
        self,
        user: User,
        new: NewPassword,
        *,
        must_change: bool,
        renewal: Renewal | None = None,
        now: float,
        event: Event | None = None,
        version: int | None = None,
    ) -> None:
        async with self._feed.changing(now) as change:
            await _update(
                change,
                user,
                version,
                password_hash=new.hash,
                password_scheme=new.scheme,
                must_change_password=must_change,
                version=users.c.version + 1,
            )
            change.record(event)
            but = None if renewal is None else renewal.session.number
            await end_sessions(change, [user.number], now, "password", but)
            await renew(change, renewal)

    async def rehash(self, user: User, old: str, new: str, scheme: str) -> None:
        unchanged = (users.c.number == user.number) & (users.c.password_hash == old)
        query = update(users).where(unchanged).values(password_hash=new, password_scheme=scheme)
        async with self._engine.writing() as connection:
            await connection.execute(query)

    async def set_banned(
        self, user: User, banned: bool, now: float, event: Event | None = None
    ) -> None:
        async with self._feed.changing(now) as change:
            change.record(event)
            await _update(change, user, banned=banned, version=users.c.version + 1)

    async def set_active(
        self, user: User, active: bool, now: float, event: Event | None = None
    ) -> None:
        async with self._feed.changing(now) as change:
            change.record(event)
            await _update(change, user, active=active, version=users.c.version + 1)
            if not active:
                await end_sessions(change, [user.number], now, "disabled")
                await end_tokens(change, user.number, now, "disabled")

    async def delete(self, user: User, now: float, event: Event | None = None) -> None:
        async with self._feed.changing(now) as change:
            change.users.add(user.number)
            change.record(event)
            await _hold_with_rows(change, user.number)
            result = await change.connection.execute(
                delete(users).where(users.c.number == user.number)
            )
            if not result.rowcount:
                raise UserNotFound

    async def _row(self, query: Any) -> Any:
        async with self._engine.reading() as connection:
            return (await connection.execute(query)).one_or_none()


async def _update(
    change: Change, user: User, of: int | None = None, **values: ColumnElement[Any] | object
) -> None:
    """Updates the user's row, if it is the version `of`, and announces it. Raises UserNotFound."""
    change.users.add(user.number)
    query = update(users).where(users.c.number == user.number).values(**values)
    if of is not None:
        query = query.where(users.c.version == of)
    if not (await change.connection.execute(query)).rowcount:
        raise UserNotFound


async def _hold_with_rows(change: Change, user: int) -> None:
    """Locks a user and the rows that are deleted with the user; announces the sessions."""
    connection = change.connection
    await connection.execute(in_order(users, users.c.number == user))
    await connection.execute(in_order(factors, factors.c.user_number == user))
    mine = in_order(sessions, sessions.c.user_number == user)
    change.sessions.update(await connection.scalars(mine))
    await connection.execute(in_order(tokens, tokens.c.user_number == user))


async def _insert(
    connection: AsyncConnection, new: Sequence[NewUser], now: float
) -> Sequence[User]:
    """Inserts users in the order of their names, so that of two imports of the same names one waits
    for the other. Raises NameTaken."""
    by_name = sorted(new, key=lambda one: (one.source, one.key))
    values = (_values(one, now) for one in by_name)
    query = insert(users).returning(*rows.USER_COLUMNS)
    try:
        added: dict[str, User] = {}
        async for inserted in insert_many(connection, query, values):
            added |= {row.user_id: rows.user(row) for row in inserted}
        led = [
            {"handle": h, "user_number": added[one.id].number} for one in new for h in one.handles
        ]
        await execute_many(connection, insert(handles), sorted(led, key=lambda row: row["handle"]))
    except IntegrityError as error:
        raise NameTaken from error
    return [added[one.id] for one in new]


async def _check_free(connection: AsyncConnection, new: Sequence[NewUser]) -> None:
    """Raises NameTaken, which names the first user that has a name or address of another one."""
    wanted = [handle for one in new for handle in one.handles]
    taken: set[str] = set()
    for chunk in chunks(wanted):
        query = select(handles.c.handle).where(handles.c.handle.in_(chunk))
        taken.update(await connection.scalars(query))
    for one in new:
        if not taken.isdisjoint(one.handles):
            raise NameTaken(f"user {display(one.username)}: {NameTaken.message}")
        taken.update(one.handles)


async def _lead(connection: AsyncConnection, number: int, led: Sequence[str]) -> None:
    """Makes these the handles of the user. Raises NameTaken."""
    mine = handles.c.user_number == number
    before = set(await connection.scalars(select(handles.c.handle).where(mine)))
    # In order, as two users may exchange their addresses at the same time.
    for handle in sorted(before ^ set(led)):
        if handle in before:
            await connection.execute(delete(handles).where(handles.c.handle == handle, mine))
        else:
            await _add_handle(connection, handle, number)


async def _add_handle(connection: AsyncConnection, handle: str, number: int) -> None:
    """Raises NameTaken."""
    try:
        await connection.execute(insert(handles).values(handle=handle, user_number=number))
    except IntegrityError as error:
        raise NameTaken from error


async def _note(
    change: Change,
    changed: Sequence[Row[Any]],
    seen: Mapping[str, Seen],
    now: float,
    event: Event | None,
) -> None:
    """Ends the sessions of users whose passwords changed in their file, and records the event for
    each, unless another process already did.

    In few statements, however many they are: a script that writes the file again, with new salts,
    changes all of them at once, and a transaction has a deadline.
    """
    numbers: list[int] = []
    for chunk in chunks(sorted(changed, key=lambda row: row.number)):
        which = users.c.number.in_([row.number for row in chunk])
        query = in_order(users, which).add_columns(users.c.entry_digest)
        held = await change.connection.execute(query)
        digests = {row.number: row.entry_digest for row in held}
        noted = [row for row in chunk if digests.get(row.number, _GONE) == row.entry_digest]
        values = ({"changed": row.number, "digest": seen[row.username_key].digest} for row in noted)
        await execute_many(change.connection, _NOTE, values)
        numbers += [row.number for row in noted]
        if event is not None:
            change.events.extend(replace(event, subject=row.username) for row in noted)
    change.users.update(numbers)
    await end_sessions(change, numbers, now, "password")


async def _is_recorded(connection: AsyncConnection, event: Event) -> bool:
    """Whether another process recorded it first. Changes of the feed lock this row, so they come
    one after another."""
    await connection.execute(select(feed_counter.c.number).with_for_update())
    same = (audit.c.kind == event.kind) & (audit.c.detail == event.detail)
    query = select(audit.c.number).where(same, audit.c.at > event.at - SAME_S)
    return await connection.scalar(query.limit(1)) is not None


def _editable(user: User) -> dict[str, object]:
    return {
        "name": user.name,
        "emails": rows.emails(user.emails),
        "groups": list(user.groups),
        "roles": list(user.roles),
        "super_admin": user.super_admin,
        "must_change_password": user.must_change_password,
    }


def _values(new: NewUser, now: float) -> dict[str, object]:
    return {
        "id": new.id,
        "source": new.source,
        "username": new.username,
        "username_key": new.key,
        "name": new.name,
        "emails": rows.emails(new.emails),
        "groups": list(new.groups),
        "roles": list(new.roles),
        "super_admin": new.super_admin,
        "active": new.active,
        "banned": False,
        "must_change_password": new.must_change_password,
        "password_hash": new.password_hash,
        "password_scheme": new.scheme,
        "created_at": now,
        "version": 0,
    }


def _build_row(source: str, key: str, username: str) -> NewUser:
    """The row of a user that its directory describes."""
    return NewUser(
        id=randomness.public_id(),
        source=source,
        username=username,
        key=key,
        handles=(),
        password_hash=None,
        scheme=None,
    )
