"""Storage of factors in memory, and a mailbox instead of a mail server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.factors.records import NONE, CodeAttempt, CodeLock, Factors, Sealed
from doorward.accounts.session import Renewal

from tests.support.memory import MemorySessions


@dataclass
class MemoryFactors:
    """Implements FactorStore."""

    sessions: MemorySessions
    rows: dict[int, Factors] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)
    recovery: dict[int, set[bytes]] = field(default_factory=dict)
    enrolments: dict[int, tuple[bytes, float]] = field(default_factory=dict)

    async def read(self, user: int) -> Factors:
        row = self.rows.get(user, NONE)
        return replace(row, recovery=len(self.recovery.get(user, ())))

    async def create(self, user: int, code_key: bytes) -> None:
        self.rows.setdefault(user, Factors(code_key))

    async def spend(
        self, user: int, *, attempts: int, lock_s: float, now: float
    ) -> CodeAttempt | None:
        row = self.rows[user]
        if row.is_locked(now):
            return None
        count = 1 if row.locked_until is not None else self.failures.get(user, 0) + 1
        self.failures[user] = count
        until = now + lock_s if count >= attempts else None
        expires = row.code_expires
        if until is not None and expires is not None:
            expires = min(expires, until)
        self.rows[user] = replace(row, locked_until=until, code_expires=expires)
        return CodeAttempt(until)

    async def accept_step(self, user: int, totp: bytes, step: int) -> bool:
        if self.rows[user].totp != totp or self.steps.get(user, -1) >= step:
            return False
        self.steps[user] = step
        await self.forgive(user)
        return True

    async def accepted_step(self, user: int) -> int | None:
        return self.steps.get(user)

    async def cap_lock(self, user: int, until: float) -> None:
        if (self.rows[user].locked_until or 0.0) > until:
            self.rows[user] = replace(self.rows[user], locked_until=until)

    async def accept_code(self, user: int, digest: bytes, now: float) -> bool:
        row = self.rows[user]
        if row.code_digest != digest or not row.has_live_code(now) or not row.email:
            return False
        await self.drop_code(user, digest)
        await self.forgive(user)
        return True

    async def accept_recovery(self, user: int, digest: bytes) -> bool:
        if digest not in self.recovery.get(user, ()):
            return False
        self.recovery[user].remove(digest)
        await self.forgive(user)
        return True

    async def forgive(self, user: int) -> None:
        if user in self.rows:
            self.failures[user] = 0
            self.rows[user] = replace(self.rows[user], locked_until=None)

    async def issue_code(self, user: int, digest: bytes, expires: float, now: float) -> bool:
        row = self.rows[user]
        if row.has_live_code(now) or not row.email or row.is_locked(now):
            return False
        self.rows[user] = replace(row, code_digest=digest, code_expires=expires)
        return True

    async def prolong_code(self, user: int, digest: bytes, expires: float) -> None:
        row = self.rows[user]
        if row.code_digest == digest and row.locked_until is None:
            self.rows[user] = replace(row, code_expires=expires)

    async def drop_code(self, user: int, digest: bytes) -> None:
        if self.rows[user].code_digest == digest:
            self.rows[user] = replace(self.rows[user], code_digest=None, code_expires=None)

    async def enrol(self, session: int, totp: bytes, expires: float) -> None:
        self.enrolments[session] = totp, expires

    async def enrolment(self, session: int, now: float) -> bytes | None:
        secret, expires = self.enrolments.get(session, (None, 0.0))
        return secret if now < expires else None

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
        if self.rows[user].totp is not None:
            return False
        self.sessions.renew(renewal, second_factor_at=now, proved_at=now)
        self.rows[user] = replace(self.rows[user], totp=totp)
        self.steps[user] = -1 if step is None else step
        self.recovery[user] = set(recovery)
        self._changed(user, event)
        return True

    async def turn_off_totp(self, user: int, now: float, event: Event | None = None) -> bool:
        if self.rows.get(user, NONE).totp is None:
            return False
        self.rows[user] = replace(self.rows[user], totp=None)
        self._changed(user, event)
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
        if not self.rows.get(user, NONE).enabled:
            return False
        self.rows[user] = Factors(code_key, email=self.rows[user].email and not email)
        self.recovery.pop(user, None)
        self.failures.pop(user, None)
        await self.sessions.end_all(user, now, "second_factor", None)
        self._changed(user, event)
        return True

    async def set_email(
        self,
        user: int,
        on: bool,
        now: float,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        self.sessions.renew(renewal)
        row = self.rows.get(user, NONE)
        if row.email != on:
            self.rows[user] = replace(row, email=on, code_digest=None, code_expires=None)
            self._changed(user, event)

    async def replace_recovery(
        self, user: int, digests: Sequence[bytes], now: float, event: Event | None = None
    ) -> None:
        self.recovery[user] = set(digests)
        self._changed(user, event, trust=True)

    async def sealed(self) -> Sequence[Sealed]:
        return [
            Sealed(number, f"user {number}", bool(row.enabled), row.code_key or b"", row.totp)
            for number, row in self.rows.items()
        ]

    async def reseal(self, old: Sealed, new: Sealed) -> None:
        row = self.rows[old.user]
        self.rows[old.user] = replace(row, code_key=new.code_key, totp=new.totp)

    async def locks(self, now: float) -> Sequence[CodeLock]:
        return [
            CodeLock(number, f"user {number}", row.locked_until or 0.0)
            for number, row in self.rows.items()
            if row.is_locked(now)
        ]

    def _changed(self, user: int, event: Event | None, trust: bool = False) -> None:
        if not self.rows.get(user, NONE).enabled:
            self.recovery.pop(user, None)
        if not trust and user in self.rows:
            row = self.rows[user]
            self.rows[user] = replace(row, browsers=row.browsers + 1)
        for session in [] if trust else self.sessions.rows.values():
            if session.user.number == user:
                session.trusted_until = session.trusted_fingerprint = None
                self.enrolments.pop(session.number, None)
        self.sessions.audit_log.keep(event)
