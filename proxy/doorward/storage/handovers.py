"""Codes that hand sessions over to other hosts, and the tokens that sessions have there. It keeps,
finds and deletes, and decides nothing.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import delete, insert, select

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.session import FULL, Session, is_running
from doorward.accounts.sessions.handover import CODE_S, Code
from doorward.storage import rows
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.feed import FeedRows
from doorward.storage.row_locks import locked
from doorward.storage.sessions import JOINED
from doorward.storage.tables import handovers, host_tokens, sessions

c, t = handovers.c, host_tokens.c


class HandoverRows:
    """Fills `doorward.accounts.sessions.handover.HandoverStore`."""

    __slots__ = ("_engine", "_feed")

    def __init__(self, engine: Engine, feed: FeedRows) -> None:
        self._engine = engine
        self._feed = feed

    async def add_code(self, code: Code, most: int, now: float) -> None:
        async with self._engine.writing() as connection:
            if await _hold_session(connection, code.session) is None:
                return
            others = (
                select(c.digest)
                .where(c.session_number == code.session)
                .order_by(c.expires_at.desc())
                .offset(most - 1)
            )
            gone = list(await connection.scalars(others))
            await connection.execute(delete(handovers).where(locked(handovers, c.digest.in_(gone))))
            values = {
                "digest": code.digest,
                "session_number": code.session,
                "binding": code.binding,
                "expires_at": code.expires_at,
            }
            await connection.execute(insert(handovers).values(**values))

    async def take_code(
        self,
        digest: bytes,
        binding: bytes,
        token: bytes,
        most: int,
        now: float,
        event: Event,
        failed: Event,
    ) -> Session | None:
        async with self._feed.changing(now) as change:
            connection = change.connection
            number = await connection.scalar(select(c.session_number).where(c.digest == digest))
            if number is None:
                return None
            # Locked before the code is deleted, in the order in which a renewal locks them.
            session = await _hold_session(connection, number)
            taken = await connection.execute(
                delete(handovers).where(c.digest == digest).returning(*c)
            )
            row = taken.one_or_none()
            if row is None or session is None:
                return None
            user = session.user.username
            is_good = row.binding == binding and is_running(row.expires_at, now, CODE_S)
            if not is_good or session.level is not FULL or not session.is_live(now):
                change.record(replace(failed, subject=user, session=session.id))
                return None
            await _keep_token(connection, session.number, token, most, now)
            change.record(replace(event, actor=user, subject=user, session=session.id))
            return session

    async def by_token(self, digest: bytes) -> Session | None:
        query = JOINED.join(host_tokens, t.session_number == sessions.c.number)
        query = query.where(t.digest == digest)
        async with self._engine.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else rows.session(row)

    async def drop_token(self, digest: bytes, now: float) -> None:
        async with self._feed.changing(now) as change:
            query = delete(host_tokens).where(t.digest == digest).returning(t.session_number)
            number = await change.connection.scalar(query)
            if number is not None:
                change.sessions.add(number)

    async def purge_codes(self, now: float) -> None:
        # without their sessions' locks, so it does not wait for anything
        which = locked(handovers, c.expires_at <= now, skip_locked=True)
        async with self._engine.writing() as connection:
            await connection.execute(delete(handovers).where(which))


async def _hold_session(connection: AsyncConnection, number: int) -> Session | None:
    """The session, which nobody changes until commit; None for one that has ended."""
    query = JOINED.where(sessions.c.number == number, sessions.c.ended_at.is_(None))
    row = (await connection.execute(query.with_for_update(of=sessions))).one_or_none()
    return None if row is None else rows.session(row)


async def _keep_token(
    connection: AsyncConnection, number: int, digest: bytes, most: int, now: float
) -> None:
    others = (
        select(t.digest)
        .where(t.session_number == number)
        .order_by(t.created_at.desc())
        .offset(most - 1)
    )
    gone = list(await connection.scalars(others))
    await connection.execute(delete(host_tokens).where(locked(host_tokens, t.digest.in_(gone))))
    values = {"digest": digest, "session_number": number, "created_at": now}
    await connection.execute(insert(host_tokens).values(**values))
