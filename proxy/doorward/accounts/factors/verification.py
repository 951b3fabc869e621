"""Checking codes: which methods a user has, which one is asked for, and the budget of attempts.

It consumes codes; it must not know sessions, trust or logins. One budget applies to every method,
address and dialect (CVE-2024-21500).
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, replace
from typing import NoReturn

from doorward.accounts.audit.audit_log import REFUSED, AuditLog, Kind, build_event
from doorward.accounts.challenge import Challenge
from doorward.accounts.factors import emailed, recovery, totp
from doorward.accounts.factors.emailed import EmailedCodes
from doorward.accounts.factors.records import (
    CODE_S,
    EMAIL,
    PASSWORD,
    RECOVERY,
    TOTP,
    CodeAttempt,
    Factors,
    FactorStore,
)
from doorward.accounts.factors.vault import Vault
from doorward.accounts.mailer import Mailer
from doorward.accounts.passwords.hashing import Passwords
from doorward.accounts.refusals import (
    MailFailed,
    SecondFactorInvalid,
    StorageUnavailable,
    TooManyCodes,
)
from doorward.accounts.user import Credential, User
from doorward.accounts.users.users import Users
from doorward.text import CODE_CHARACTERS

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
# Details of audit records.
LOCKED = "locked"  # not checked
USED = "totp: this code was used before"
LATER = "totp: a later code was used before; check the clock"


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of second factors. If `trust_period_s` is 0, nothing is trusted."""

    issuer: str
    trust_period_s: float
    attempts: int
    lock_s: float


@dataclass(frozen=True, slots=True)
class Due:
    """A challenge and what it was made from. `credential`: the user whose password is accepted
    instead."""

    challenge: Challenge
    factors: Factors
    credential: Credential | None


class Verification:
    __slots__ = ("_audit_log", "_mailed", "_passwords", "_policy", "_store", "_users", "_vault")

    def __init__(
        self,
        store: FactorStore,
        users: Users,
        passwords: Passwords,
        mailer: Mailer | None,
        vault: Vault,
        policy: Policy,
        audit_log: AuditLog,
    ) -> None:
        self._store = store
        self._users = users
        self._passwords = passwords
        self._mailed = EmailedCodes(store, mailer)
        self._policy = policy
        self._audit_log = audit_log
        self._vault = vault

    def can_mail(self, user: User) -> bool:
        return self._mailed.can_reach(user)

    async def code_key(self, user: User, factors: Factors) -> bytes:
        """The key for digests of this user's codes, created if there is none yet."""
        if factors.code_key is None:
            await self._store.create(user.number, self._vault.new_code_key(user))
            factors = await self._store.read(user.number)
        if factors.code_key is None:  # the user was deleted meanwhile
            raise StorageUnavailable
        return self._vault.code_key(user, factors.code_key)

    async def due(
        self, user: User, method: str | None, *, fallback: bool, name: str | None, now: float
    ) -> Due:
        """The method to ask for. A named method is used even if the user does not have it, and then
        no code is right; otherwise the first usable one. With `fallback`, the password is accepted
        from users who have no factor: it never replaces one."""
        factors = await self._store.read(user.number)
        usable = tuple(m for m in factors.enabled if m != EMAIL or self._mailed.can_reach(user))
        credential = None
        if fallback and not factors.enabled and method not in (TOTP, EMAIL):
            credential = await self._digest_credential(user)
        if method not in (TOTP, EMAIL):
            method = next(iter(usable), None if credential is None else PASSWORD)
        challenge = Challenge(
            method=method,
            available=usable,
            email_or_username=name or user.email or user.username,
            code_expires=factors.code_expires if factors.has_live_code(now) else None,
        )
        return Due(challenge, factors, credential)

    async def _digest_credential(self, user: User) -> Credential | None:
        """The user's password, if its SHA-256 is enough to check it."""
        credential = await self._users.credential(user.username)
        if credential is None or credential.user.number != user.number:
            return None
        return credential if self._passwords.takes_digests(credential.scheme) else None

    async def mail_code(self, user: User, due: Due, now: float, *, answered: bool = False) -> Due:
        """The same, and a code is mailed if the method is e-mail and there is no valid code.

        Raises TooManyCodes during a lock-out; MailFailed, unless `answered`: a user who has a code
        (such as a recovery code) need not wait for the mail.
        """
        await self._check_lock(user, due, now, answered)
        challenge = due.challenge
        if challenge.method != EMAIL or EMAIL not in challenge.available:
            return due
        if challenge.code_expires is not None:
            return due
        try:
            key = await self.code_key(user, due.factors)
            expires = await self._mailed.send(user, key, now)
        except MailFailed:
            if answered:
                return due
            raise
        return replace(due, challenge=_mailed(challenge, expires, now))

    async def _check_lock(self, user: User, due: Due, now: float, answered: bool) -> None:
        until = due.factors.locked_until
        if until is None or now >= until:
            return
        if until > now + self._policy.lock_s:  # set by a clock that was ahead
            until = now + self._policy.lock_s
            await self._store.cap_lock(user.number, until)
        if answered:  # a code that is not checked is a failure, too
            await self._record(Kind.FACTOR_FAILED, user, LOCKED, now)
        raise TooManyCodes(due.challenge, until - now)

    async def _record(self, kind: Kind, user: User, detail: str, now: float) -> None:
        await self._audit_log.record(
            build_event(kind, now, subject=user, outcome=REFUSED, detail=detail)
        )

    async def verify(self, user: User, code: str, method: str | None, due: Due, now: float) -> str:
        """Consumes the code; returns its method.

        The attempt is counted before the code is checked, so that a hundred at once are no more
        than a hundred in a row. Raises SecondFactorInvalid, TooManyCodes, Overloaded.
        """
        await self._check_lock(user, due, now, answered=True)
        if not due.factors.enabled and due.credential is None:
            raise SecondFactorInvalid(due.challenge)
        key = await self.code_key(user, due.factors)
        policy = self._policy
        spent = await self._store.spend(
            user.number, attempts=policy.attempts, lock_s=policy.lock_s, now=now
        )
        if spent is None:
            await self._record(Kind.FACTOR_FAILED, user, LOCKED, now)
            raise TooManyCodes(due.challenge, policy.lock_s)
        passed = await self._match(user, code, method, due, key, now)
        if passed is not None:
            await self._audit_log.record(
                build_event(Kind.FACTOR_PASSED, now, subject=user, detail=passed)
            )
            return passed
        why = await self._why_not(user, due, code, now)
        return await self._refuse(user, due, spent, why, now)

    async def _why_not(self, user: User, due: Due, code: str, now: float) -> str:
        """For the record only: the method, and the reason why an app's code was refused. While a
        clock was ahead, later codes were accepted; after it is corrected, all codes are refused
        until that time."""
        asked, sealed = due.challenge.method or "", due.factors.totp
        if sealed is None or len(code) > CODE_CHARACTERS:
            return asked
        step = totp.matched_step(self._vault.secret(user, sealed), code, now)
        latest = None if step is None else await self._store.accepted_step(user.number)
        if step is None or latest is None or latest < step:
            return asked
        return USED if latest == step else LATER

    async def _refuse(
        self, user: User, due: Due, spent: CodeAttempt, why: str, now: float
    ) -> NoReturn:
        until = spent.locked_until
        kind = Kind.FACTOR_FAILED if until is None else Kind.FACTOR_LOCKED
        await self._record(kind, user, why, now)
        if until is None:
            raise SecondFactorInvalid(due.challenge)
        raise TooManyCodes(due.challenge, until - now, judged=True)

    async def _match(
        self, user: User, code: str, method: str | None, due: Due, key: bytes, now: float
    ) -> str | None:
        if len(code) > CODE_CHARACTERS:
            return None
        if due.credential is not None:
            return PASSWORD if await self._is_password(user, due.credential, code) else None
        factors = due.factors
        if method != EMAIL and await self._is_totp(user, factors, code, now):
            return TOTP
        if method != TOTP and await self._is_mailed(user, factors, code, key, now):
            return EMAIL
        return RECOVERY if await self._is_recovery(user, factors, code, key) else None

    async def _is_totp(self, user: User, factors: Factors, code: str, now: float) -> bool:
        if factors.totp is None:
            return False
        step = totp.matched_step(self._vault.secret(user, factors.totp), code, now)
        return step is not None and await self._store.accept_step(user.number, factors.totp, step)

    async def _is_mailed(
        self, user: User, factors: Factors, code: str, key: bytes, now: float
    ) -> bool:
        digits = emailed.normalise(code)
        if digits is None or factors.code_digest is None or not factors.email:
            return False
        digest = emailed.digest(key, digits)
        if not hmac.compare_digest(digest, factors.code_digest):
            return False
        return await self._store.accept_code(user.number, digest, now)

    async def _is_recovery(self, user: User, factors: Factors, code: str, key: bytes) -> bool:
        text = recovery.normalise(code)
        if text is None or not factors.recovery:
            return False
        return await self._store.accept_recovery(user.number, recovery.digest(key, text))

    async def _is_password(self, user: User, credential: Credential, code: str) -> bool:
        digest = code.strip().lower()
        if _SHA256_HEX.fullmatch(digest) is None:
            return False
        if not await self._passwords.verify_digest(
            credential.password_hash, credential.scheme, digest
        ):
            return False
        await self._store.forgive(user.number)
        return True


def _mailed(challenge: Challenge, expires: float | None, now: float) -> Challenge:
    """`expires` is None if another request mailed a code at the same moment."""
    if expires is None:
        return replace(challenge, code_expires=now + CODE_S)
    return replace(challenge, code_generated=True, code_expires=expires)
