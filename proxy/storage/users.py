"""The tables of users and of what leads to them. It keeps and finds; the core has the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from proxy.accounts import chance
from proxy.accounts.audit import Event
from proxy.accounts.refusals import NameTaken, UserNotFound
from proxy.accounts.user import Credential, NewUser, User
from proxy.storage import rows
from proxy.storage.engine import Engine
from proxy.storage.feed import Change, FeedRows
from proxy.storage.sessions import end_sessions
from proxy.storage.tables import handles, sessions, users

CREDENTIALS = select(*rows.USER_COLUMNS, users.c.password_hash, users.c.password_scheme)
USERS = select(*rows.USER_COLUMNS)


class UserRows:
    """Fills `proxy.accounts.users.UserStore`."""

    __slots__ = ("_engine", "_feed")

    def __init__(self, engine: Engine, feed: FeedRows) -> None:
        self._engine = engine
        self._feed = feed

    async def insert(self, new: NewUser, now: float, event: Event | None = None) -> User:
        async with self._feed.changing(now) as change:
            connection = change.connection
            change.record(event)
            try:
                result = await connection.execute(insert(users).values(**_values(new, now)))
                assert result.inserted_primary_key is not None
                number = result.inserted_primary_key[0]
                led = [{"handle": handle, "user_number": number} for handle in new.handles]
                await connection.execute(insert(handles), led)
            except IntegrityError as error:
                raise NameTaken from error
            query = USERS.where(users.c.number == number)
            return rows.user((await connection.execute(query)).one())

    async def by_handle(self, key: str) -> Credential | None:
        query = CREDENTIALS.join(handles, handles.c.user_number == users.c.number)
        row = await self._row(query.where(handles.c.handle == key))
        return None if row is None else rows.credential(row)

    async def by_name(self, source: str, key: str) -> User | None:
        query = USERS.where(users.c.source == source, users.c.username_key == key)
        row = await self._row(query)
        return None if row is None else rows.user(row)

    async def list(self) -> Sequence[User]:
        async with self._engine.reading() as connection:
            found = await connection.execute(USERS.order_by(users.c.username_key, users.c.number))
            return [rows.user(row) for row in found]

    async def taken(self, wanted: Iterable[str]) -> Sequence[str]:
        found: list[str] = []
        for chunk in rows.chunks(sorted(wanted)):
            query = select(handles.c.handle).where(handles.c.handle.in_(chunk))
            async with self._engine.reading() as connection:
                found += await connection.scalars(query)
        return sorted(found)

    async def claim(self, source: str, names: Mapping[str, str], now: float) -> None:
        known = select(users.c.username_key).where(users.c.source == source)
        async with self._engine.reading() as connection:
            missing = names.keys() - set(await connection.scalars(known))
        if not missing:
            return
        new = [_values(_described(source, key, names[key]), now) for key in sorted(missing)]
        async with self._engine.writing() as connection:
            # Two processes that start together find the same ones missing.
            await connection.execute(self._engine.insert_missing(users), new)

    async def set_password(
        self,
        user: User,
        password_hash: str,
        scheme: str,
        *,
        must_change: bool,
        but: int | None,
        now: float,
        event: Event | None = None,
    ) -> None:
        async with self._feed.changing(now) as change:
            await _update(
                change,
                user,
                password_hash=password_hash,
                password_scheme=scheme,
                must_change_password=must_change,
                version=users.c.version + 1,
            )
            change.record(event)
            await end_sessions(change, user.number, now, "password", but)

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
                await end_sessions(change, user.number, now, "disabled")

    async def delete(self, user: User, now: float, event: Event | None = None) -> None:
        async with self._feed.changing(now) as change:
            change.users.add(user.number)
            change.record(event)
            gone = select(sessions.c.number).where(sessions.c.user_number == user.number)
            change.sessions.update(await change.connection.scalars(gone))
            result = await change.connection.execute(
                delete(users).where(users.c.number == user.number)
            )
            if not result.rowcount:
                raise UserNotFound

    async def _row(self, query: Any) -> Any:
        async with self._engine.reading() as connection:
            return (await connection.execute(query)).one_or_none()


async def _update(change: Change, user: User, **values: ColumnElement[Any] | object) -> None:
    """Changes the user's row and announces it. Raises UserNotFound."""
    change.users.add(user.number)
    query = update(users).where(users.c.number == user.number).values(**values)
    if not (await change.connection.execute(query)).rowcount:
        raise UserNotFound


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
        "active": True,
        "banned": False,
        "must_change_password": new.must_change_password,
        "password_hash": new.password_hash,
        "password_scheme": new.scheme,
        "created_at": now,
        "version": 0,
    }


def _described(source: str, key: str, username: str) -> NewUser:
    """The row of a user that its directory describes."""
    return NewUser(
        id=chance.public_id(),
        source=source,
        username=username,
        key=key,
        handles=(),
        password_hash=None,
        scheme=None,
    )
