"""The tables of second factors. It stores encrypted secrets, digests and counts; the core checks
codes.

What must happen only once happens in one statement, so that one of two concurrent requests
succeeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, case, delete, func, insert, null, or_, select, update

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.factors.records import CODE_S, NONE, CodeAttempt, CodeLock, Factors, Sealed
from doorward.accounts.session import CLOCKS_DIFFER_S, Renewal
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.feed import Change, FeedRows
from doorward.storage.many_rows import execute_many
from doorward.storage.row_locks import hold, in_order, locked
from doorward.storage.sessions import end_sessions, forget_browsers, hold_sessions, renew
from doorward.storage.tables import enrolments, factors, recovery_codes, sessions, users

UNUSED = (
    select(func.count())
    .where(recovery_codes.c.user_number == factors.c.user_number)
    .scalar_subquery()
    .label("recovery")
)
READ = select(
    factors.c.code_key, factors.c.totp_secret.label("totp"), factors.c.email,
    factors.c.code_digest, factors.c.code_expires, factors.c.locked_until, factors.c.browsers,
    UNUSED,
)  # fmt: skip
FORGIVEN: dict[str, object] = {"failures": 0, "locked_until": None}
TOTP_OFF: dict[str, object] = {"totp_secret": None, "totp_step": None}
NO_CODE: dict[str, object] = {"code_digest": None, "code_expires": None}


class FactorRows:
    """Implements `doorward.accounts.factors.records.FactorStore`."""

    __slots__ = ("_engine", "_feed")

    def __init__(self, engine: Engine, feed: FeedRows) -> None:
        self._engine = engine
        self._feed = feed

    async def read(self, user: int) -> Factors:
        async with self._engine.reading() as connection:
            found = await connection.execute(READ.where(factors.c.user_number == user))
            row = found.one_or_none()
        return NONE if row is None else Factors(**row._mapping)

    async def create(self, user: int, code_key: bytes) -> None:
        query = self._engine.insert_missing(factors).values(
            user_number=user, code_key=code_key, email=False, failures=0
        )
        async with self._engine.writing() as connection:
            await connection.execute(query)

    async def spend(
        self, user: int, *, attempts: int, lock_s: float, now: float
    ) -> CodeAttempt | None:
        c = factors.c
        count = case((c.locked_until.is_(None), c.failures + 1), else_=1)
        locks = count >= attempts
        until = now + lock_s
        query = (
            update(factors)
            .where(c.user_number == user, _is_free(now))
            .values(
                failures=count,
                locked_until=case((locks, until), else_=null()),
                code_expires=case((locks & (c.code_expires > until), until), else_=c.code_expires),
            )
            .returning(c.locked_until)
        )
        async with self._engine.writing() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else CodeAttempt(row.locked_until)

    async def accept_step(self, user: int, totp: bytes, step: int) -> bool:
        c = factors.c
        is_new = or_(c.totp_step.is_(None), c.totp_step < step)
        return await self._change(user, c.totp_secret == totp, is_new, totp_step=step, **FORGIVEN)

    async def accepted_step(self, user: int) -> int | None:
        query = select(factors.c.totp_step).where(factors.c.user_number == user)
        async with self._engine.reading() as connection:
            step: int | None = await connection.scalar(query)
        return step

    async def cap_lock(self, user: int, until: float) -> None:
        await self._change(user, factors.c.locked_until > until, locked_until=until)

    async def accept_code(self, user: int, digest: bytes, now: float) -> bool:
        c = factors.c
        lives = (c.code_digest == digest, _is_code_valid(now), c.email)
        return await self._change(user, *lives, **NO_CODE, **FORGIVEN)

    async def accept_recovery(self, user: int, digest: bytes) -> bool:
        c = recovery_codes.c
        query = delete(recovery_codes).where(c.user_number == user, c.digest == digest)
        forgive = update(factors).where(factors.c.user_number == user).values(**FORGIVEN)
        async with self._engine.writing() as connection:
            await _hold(connection, user)
            if not (await connection.execute(query)).rowcount:
                return False
            await connection.execute(forgive)
        return True

    async def forgive(self, user: int) -> None:
        await self._change(user, **FORGIVEN)

    async def issue_code(self, user: int, digest: bytes, expires: float, now: float) -> bool:
        c = factors.c
        none_lives = or_(c.code_digest.is_(None), ~_is_code_valid(now))
        return await self._change(
            user, c.email, none_lives, _is_free(now), code_digest=digest, code_expires=expires
        )

    async def prolong_code(self, user: int, digest: bytes, expires: float) -> None:
        # Not a code whose lifetime a lock-out has shortened meanwhile.
        free = factors.c.locked_until.is_(None)
        await self._change(user, factors.c.code_digest == digest, free, code_expires=expires)

    async def drop_code(self, user: int, digest: bytes) -> None:
        mine = factors.c.code_digest == digest
        await self._change(user, mine, **NO_CODE)

    async def enrol(self, session: int, totp: bytes, expires: float) -> None:
        mine = enrolments.c.session_number == session
        values = {"session_number": session, "totp_secret": totp, "expires_at": expires}
        async with self._engine.writing() as connection:
            # The new row locks its session, which comes before the row of an earlier enrolment.
            await hold(connection, sessions, [session])
            await connection.execute(delete(enrolments).where(mine))
            await connection.execute(insert(enrolments).values(values))

    async def enrolment(self, session: int, now: float) -> bytes | None:
        c = enrolments.c
        query = select(c.totp_secret).where(c.session_number == session, c.expires_at > now)
        async with self._engine.reading() as connection:
            secret: bytes | None = await connection.scalar(query)
        return secret

    async def turn_on_totp(
        self,
        user: int,
        totp: bytes,
        step: int | None,
        recovery: Sequence[bytes],
        now: float,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> bool:
        query = update(factors).where(factors.c.user_number == user)
        query = query.where(factors.c.totp_secret.is_(None))
        async with self._feed.changing(now) as change:
            await hold(change.connection, users, [user])
            result = await change.connection.execute(query.values(totp_secret=totp, totp_step=step))
            if not result.rowcount:
                return False
            await _replace_recovery(change, user, recovery)
            await _end_trust(change, user)
            await renew(change, renewal, second_factor_at=now, proved_at=now)
            change.record(event)
        return True

    async def turn_off_totp(self, user: int, now: float, event: Event | None = None) -> bool:
        query = update(factors).where(factors.c.user_number == user)
        query = query.where(factors.c.totp_secret.is_not(None))
        async with self._feed.changing(now) as change:
            result = await change.connection.execute(query.values(**TOTP_OFF))
            if not result.rowcount:
                return False
            await _end_recovery(change, user)
            await _end_trust(change, user)
            change.record(event)
        return True

    async def reset(
        self,
        user: int,
        code_key: bytes,
        now: float,
        event: Event | None = None,
        *,
        email: bool = False,
    ) -> bool:
        c = factors.c
        query = update(factors).where(c.user_number == user)
        query = query.where(or_(c.totp_secret.is_not(None), c.email))
        values: dict[str, object] = {"code_key": code_key, **NO_CODE, **TOTP_OFF, **FORGIVEN}
        values |= {"email": False} if email else {}
        async with self._feed.changing(now) as change:
            await hold(change.connection, users, [user])
            result = await change.connection.execute(query.values(**values))
            if not result.rowcount:
                return False
            await _replace_recovery(change, user, ())
            await _end_logins(change, user, now)
            await _end_trust(change, user)
            change.record(event)
        return True

    async def set_email(
        self,
        user: int,
        on: bool,
        now: float,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        query = update(factors).where(factors.c.user_number == user, factors.c.email != on)
        async with self._feed.changing(now) as change:
            result = await change.connection.execute(query.values(email=on, **NO_CODE))
            if result.rowcount:
                await _end_recovery(change, user)
                await _end_trust(change, user)
                change.record(event)
            await renew(change, renewal)

    async def replace_recovery(
        self, user: int, digests: Sequence[bytes], now: float, event: Event | None = None
    ) -> None:
        async with self._feed.changing(now) as change:
            await hold(change.connection, users, [user])
            await _replace_recovery(change, user, digests)
            change.record(event)

    async def sealed(self) -> Sequence[Sealed]:
        return await read_sealed(self._engine)

    async def reseal(self, old: Sealed, new: Sealed) -> None:
        c = factors.c
        await self._change(old.user, c.code_key == old.code_key, code_key=new.code_key)
        if old.totp is not None:
            await self._change(old.user, c.totp_secret == old.totp, totp_secret=new.totp)

    async def locks(self, now: float) -> Sequence[CodeLock]:
        c = factors.c
        query = select(c.user_number, users.c.username, c.locked_until).where(c.locked_until > now)
        query = query.join(users, users.c.number == c.user_number).order_by(users.c.username_key)
        async with self._engine.reading() as connection:
            return [CodeLock(*row) for row in await connection.execute(query)]

    async def _change(self, user: int, *conditions: ColumnElement[bool], **values: object) -> bool:
        """Whether the user's row met the conditions, and was changed."""
        query = update(factors).where(factors.c.user_number == user, *conditions)
        async with self._engine.writing() as connection:
            return (await connection.execute(query.values(**values))).rowcount > 0


def _is_code_valid(now: float) -> ColumnElement[bool]:
    """As `Factors.has_live_code`, for a code that there is."""
    expires = factors.c.code_expires
    return (expires > now) & (expires <= now + CODE_S + CLOCKS_DIFFER_S)


def _is_free(now: float) -> ColumnElement[bool]:
    """Not locked out, or not any more."""
    return or_(factors.c.locked_until.is_(None), factors.c.locked_until <= now)


async def _hold(connection: AsyncConnection, user: int) -> None:
    """Locks the row before the codes, as `LOCK_ORDER` says."""
    await connection.execute(in_order(factors, factors.c.user_number == user))


async def _replace_recovery(change: Change, user: int, digests: Sequence[bytes]) -> None:
    await _hold(change.connection, user)
    mine = locked(recovery_codes, recovery_codes.c.user_number == user)
    await change.connection.execute(delete(recovery_codes).where(mine))
    codes = [{"user_number": user, "digest": digest} for digest in digests]
    await execute_many(change.connection, insert(recovery_codes), codes)


async def read_sealed(engine: Engine) -> list[Sealed]:
    """The encrypted values of all users."""
    c = factors.c
    is_used = or_(c.totp_secret.is_not(None), c.email)
    query = select(c.user_number, users.c.username, is_used, c.code_key, c.totp_secret)
    query = query.join(users, users.c.number == c.user_number).order_by(c.user_number)
    async with engine.reading() as connection:
        found = await connection.execute(query)
        return [Sealed(row[0], row[1], bool(row[2]), row[3], row[4]) for row in found]


async def _end_recovery(change: Change, user: int) -> None:
    """Recovery codes replace a factor; without one they are deleted."""
    c = factors.c
    none = select(c.user_number).where(c.user_number == user, c.totp_secret.is_(None), ~c.email)
    query = delete(recovery_codes).where(
        locked(recovery_codes, recovery_codes.c.user_number.in_(none))
    )
    await change.connection.execute(query)


async def _end_trust(change: Change, user: int) -> None:
    """Ends trust that was based on other factors; enrolments become invalid."""
    await forget_browsers(change, user)
    c = sessions.c
    mine = c.user_number == user
    await hold_sessions(change, [user])  # otherwise trust could begin after they are read
    trusted = locked(sessions, mine, c.ended_at.is_(None), c.trusted_until.is_not(None))
    query = update(sessions).where(trusted)
    await change.connection.execute(query.values(trusted_until=None, trusted_fingerprint=None))
    of_mine = enrolments.c.session_number.in_(select(c.number).where(mine))
    await change.connection.execute(delete(enrolments).where(locked(enrolments, of_mine)))
    change.users.add(user)


async def _end_logins(change: Change, user: int, now: float) -> None:
    """Ends the user's sessions and pending logins (`users.version`)."""
    query = update(users).where(users.c.number == user).values(version=users.c.version + 1)
    await change.connection.execute(query)
    await end_sessions(change, [user], now, "second_factor")
