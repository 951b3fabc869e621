"""Reads what depends on a key, for all users: secrets encrypted with it, and sessions and tokens
from its time. It decides nothing, and only needs a read-only connection."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from doorward.accounts.application_credentials import SealedCredential
from doorward.accounts.factors.records import Sealed
from doorward.accounts.key_uses import OpenedBefore
from doorward.storage import application_credentials, factors
from doorward.storage.engine import Engine
from doorward.storage.sessions import opened_before
from doorward.storage.tables import sessions, tokens
from doorward.storage.tokens import unused_since


class KeyUseRows:
    """Implements `doorward.accounts.key_uses.KeyUseStore`."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def sealed_factors(self) -> Sequence[Sealed]:
        return await factors.read_sealed(self._engine)

    async def sealed_credentials(self) -> Sequence[tuple[str, SealedCredential]]:
        return await application_credentials.read_sealed(self._engine)

    async def count_opened(self, before: float, now: float) -> OpenedBefore:
        last_end = func.max(sessions.c.expires_at)
        query = select(func.count(), last_end).where(*opened_before(before, now))
        async with self._engine.reading() as connection:
            count, last_end_at = (await connection.execute(query)).one()
        return OpenedBefore(count, last_end_at or 0.0)

    async def count_unused(self, since: float, now: float) -> int:
        query = select(func.count()).select_from(tokens).where(*unused_since(since, now))
        async with self._engine.reading() as connection:
            return int(await connection.scalar(query) or 0)
