"""The table of users' credentials at applications. It keeps them sealed and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update

from doorward.accounts.application_credentials import SealedCredential
from doorward.accounts.audit.audit_log import Event
from doorward.storage.engine import Engine
from doorward.storage.feed import FeedRows
from doorward.storage.tables import application_credentials, users

c = application_credentials.c
READ = select(c.user_number, c.route, c.account, c.password, c.set_at)


class CredentialRows:
    """Fills `doorward.accounts.application_credentials.CredentialStore`."""

    __slots__ = ("_engine", "_feed")

    def __init__(self, engine: Engine, feed: FeedRows) -> None:
        self._engine = engine
        self._feed = feed

    async def put(self, credential: SealedCredential, event: Event) -> bool:
        values = {
            "user_number": credential.user,
            "route": credential.route,
            "account": credential.account,
            "password": credential.password,
            "set_at": credential.set_at,
        }
        held = select(users.c.number).where(users.c.number == credential.user).with_for_update()
        async with self._feed.changing(credential.set_at) as change:
            if await change.connection.scalar(held) is None:
                return False
            await change.connection.execute(_delete(credential.user, credential.route))
            await change.connection.execute(insert(application_credentials).values(values))
            change.users.add(credential.user)
            change.record(event)
        return True

    async def remove(self, user: int, route: str, event: Event) -> bool:
        async with self._feed.changing(event.at) as change:
            removed = (await change.connection.execute(_delete(user, route))).rowcount > 0
            change.users.add(user)  # announced again: it costs nothing and hides no mistake
            change.record(event if removed else None)
        return removed

    async def read(self, user: int, route: str) -> SealedCredential | None:
        async with self._engine.reading() as connection:
            found = await connection.execute(READ.where(c.user_number == user, c.route == route))
            row = found.one_or_none()
        return None if row is None else _credential(row)

    async def list(self, user: int) -> Sequence[SealedCredential]:
        query = READ.where(c.user_number == user).order_by(c.route)
        async with self._engine.reading() as connection:
            return [_credential(row) for row in await connection.execute(query)]

    async def sealed(self) -> Sequence[tuple[str, SealedCredential]]:
        return await read_sealed(self._engine)

    async def reseal(self, old: SealedCredential, new: SealedCredential) -> None:
        same = c.user_number == old.user, c.route == old.route, c.password == old.password
        query = update(application_credentials).where(*same).values(password=new.password)
        async with self._engine.writing() as connection:
            await connection.execute(query)


def _delete(user: int, route: str) -> Any:
    return delete(application_credentials).where(c.user_number == user, c.route == route)


def _credential(row: Any) -> SealedCredential:
    return SealedCredential(row.user_number, row.route, row.account, row.password, row.set_at)


async def read_sealed(engine: Engine) -> list[tuple[str, SealedCredential]]:
    """The credentials of all users, with the users' names."""
    query = READ.add_columns(users.c.username).join(users, users.c.number == c.user_number)
    async with engine.reading() as connection:
        found = await connection.execute(query)
        return [(row.username, _credential(row)) for row in found]
