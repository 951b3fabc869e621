"""The second factor: which one is required, whether a code is right, and what is trusted for a
while.

It decides for every page and dialect and knows no form or wire format. It must not know the
passwords of logins.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from doorward.accounts.audit.audit_log import Kind, build_event
from doorward.accounts.challenge import Challenge
from doorward.accounts.factors import recovery, totp
from doorward.accounts.factors.browsers import Browsers
from doorward.accounts.factors.records import EMAIL, PASSWORD, TOTP, CodeLock, FactorStore
from doorward.accounts.factors.vault import Vault
from doorward.accounts.factors.verification import Policy, Verification
from doorward.accounts.permissions import Actor, require_over
from doorward.accounts.refusals import (
    EnrolmentExpired,
    InvalidEmail,
    InvalidTotpSecret,
    MailFailed,
    ProofRequired,
    SecondFactorInvalid,
    SecondFactorRequired,
    SessionNotFound,
    StorageUnavailable,
    TotpAlreadyOn,
    TotpNotOn,
)
from doorward.accounts.session import PROOF_S, is_fresh, is_running
from doorward.accounts.sessions.sessions import FULL, ClientInfo, Opened, Renewal, Session, Sessions
from doorward.accounts.user import User

__all__ = ["Challenge", "Enrolment", "Policy", "SecondFactors"]

ENROLMENT_S = 600.0


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A new authenticator secret, in base32, and as the URI that apps read from a QR code."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The recovery codes, which are shown only once; `opened` is the session in which the app was
    added, if it got a new token."""

    codes: tuple[str, ...] = field(repr=False)
    opened: Opened | None


class SecondFactors:
    """Every method raises StorageUnavailable; codes are given as users type them.

    A user who has a factor is asked for it, or refused if Doorward cannot ask for it. Methods that
    change what protects an account take the user's session, and raise ProofRequired unless the user
    has recently entered a password or code in it. With `renew` they give the session a new token,
    so that a stolen copy of the old one is worthless.
    """

    __slots__ = ("_browsers", "_policy", "_sessions", "_store", "_vault", "_verification")

    def __init__(
        self,
        store: FactorStore,
        sessions: Sessions,
        verification: Verification,
        vault: Vault,
        policy: Policy,
        browsers: Browsers | None = None,
    ) -> None:
        self._browsers = browsers
        self._store = store
        self._sessions = sessions
        self._verification = verification
        self._vault = vault
        self._policy = policy

    async def list_enabled(self, user: User) -> tuple[str, ...]:
        """The user's factors: totp, email. If there are any, every login asks for one."""
        return (await self._store.read(user.number)).enabled

    async def can_be_asked(self, user: User) -> bool:
        """Whether this user can give a factor in any way, including recovery codes."""
        due = await self._verification.due(user, None, fallback=False, name=None, now=0.0)
        return bool(due.challenge.available or (due.factors.enabled and due.factors.recovery))

    def can_mail(self, user: User) -> bool:
        """Whether codes can be mailed to this user."""
        return self._verification.can_mail(user)

    async def may_be_led(self, user: User) -> bool:
        """Whether a page can help this user to a factor: by asking for one, or by setting one up if
        there is none, but not if the user has one that cannot be asked for."""
        return not await self.list_enabled(user) or await self.can_be_asked(user)

    async def remember_browser(self, user: User, now: float) -> str | None:
        """A note for the browser in which the user just entered a code; None if browsers are not
        remembered."""
        if self._browsers is None:
            return None
        return self._browsers.note(user, (await self._store.read(user.number)).browsers, now)

    async def knows_browser(self, user: User, note: str | None, now: float) -> bool:
        """Whether a login with this note needs no code."""
        if self._browsers is None or note is None:
            return False
        epoch = (await self._store.read(user.number)).browsers
        return self._browsers.recognises(note, user, epoch, now)

    async def prepare(
        self, user: User, method: str | None, *, name: str | None = None, now: float
    ) -> Challenge:
        """The question to ask. Mails a code if the method is e-mail and there is no valid code.

        Raises TooManyCodes during a lock-out, MailFailed.
        """
        due = await self._verification.due(user, method, fallback=False, name=name, now=now)
        return (await self._verification.mail_code(user, due, now)).challenge

    async def verify(
        self,
        user: User,
        code: str,
        method: str | None,
        *,
        password_fallback: bool = False,
        now: float,
    ) -> str:
        """Consumes the code; returns its kind: totp, email, recovery or password. Without a method,
        a code of any of the user's factors is accepted.

        Raises SecondFactorInvalid, TooManyCodes, Overloaded.
        """
        verification = self._verification
        due = await verification.due(user, method, fallback=password_fallback, name=None, now=now)
        return await verification.verify(user, code, method, due, now)

    async def demand(
        self,
        session: Session,
        client: ClientInfo,
        code: str | None,
        method: str | None,
        *,
        honours_trust: bool,
        now: float,
        renew: bool = False,
    ) -> Opened | None:
        """Returns if this session may now do something that requires a second factor; with `renew`,
        under a new token if a code was given.

        For users without a factor, the SHA-256 of the password is accepted. Raises
        SecondFactorRequired, SecondFactorInvalid, TooManyCodes, MailFailed, Overloaded,
        SessionNotFound.
        """
        if session.level is not FULL:  # CVE-2026-32246
            raise SessionNotFound
        if honours_trust and self._is_trusted(session, client, now):
            return None
        user, verification = session.user, self._verification
        due = await verification.due(user, method, fallback=True, name=None, now=now)
        due = await verification.mail_code(user, due, now, answered=bool(code))
        if not code:
            raise SecondFactorRequired(due.challenge)
        passed = await verification.verify(user, code, method, due, now)
        return await self._note(session, client, passed, honours_trust, now, renew)

    def _is_trusted(self, session: Session, client: ClientInfo, now: float) -> bool:
        until, known = session.trusted_until, session.trusted_fingerprint
        if known is None or not is_running(until, now, self._policy.trust_period_s):
            return False
        return hmac.compare_digest(known, fingerprint(client))

    async def _note(
        self,
        session: Session,
        client: ClientInfo,
        passed: str,
        honours_trust: bool,
        now: float,
        renew: bool,
    ) -> Opened | None:
        """Trusts this browser in this session for a while, if that is configured. For rules that
        require a second factor, a password is none."""
        until, mark = session.trusted_until, session.trusted_fingerprint
        if honours_trust and self._policy.trust_period_s > 0:
            until, mark = now + self._policy.trust_period_s, fingerprint(client)
        factor_at = session.second_factor_at if passed == PASSWORD else now
        return await self._sessions.trust(
            session, factor_at=factor_at, until=until, fingerprint=mark, now=now, renew=renew
        )

    async def require_proof(self, session: Session, now: float, within_s: float = PROOF_S) -> None:
        """Returns if the user entered a password or code in this session within that time; if the
        user has a factor, a code. A login counts.

        Raises ProofRequired, and SessionNotFound for a session that still needs its factor.
        """
        user = _require_user(session)
        due = await self._verification.due(user, None, fallback=True, name=None, now=now)
        at = session.second_factor_at if due.factors.enabled else session.proved_at
        if not is_fresh(at, now, within_s):
            raise ProofRequired(due.challenge)

    async def is_proved(self, session: Session, now: float, within_s: float = PROOF_S) -> bool:
        """Whether `require_proof` would return. Raises SessionNotFound."""
        try:
            await self.require_proof(session, now, within_s)
        except ProofRequired:
            return False
        return True

    async def _take(
        self, session: Session, code: str, method: str | None, now: float, *, renew: bool = False
    ) -> Opened | None:
        """Consumes a code, as proof that the user is present in this session. Raises as `verify`
        does."""
        await self.verify(_require_user(session), code, method, now=now)
        return await self._sessions.trust(
            session,
            factor_at=now,
            until=session.trusted_until,
            fingerprint=session.trusted_fingerprint,
            now=now,
            renew=renew,
        )

    async def complete(
        self, session: Session, code: str, method: str | None, *, client: ClientInfo, now: float
    ) -> Opened:
        """Completes a pending session, or renews the factor of a complete one; in both cases under
        a new token, and the old one stops working at once.

        Raises SessionNotFound, SecondFactorInvalid, TooManyCodes.
        """
        if not session.is_live(now):
            raise SessionNotFound
        passed = await self.verify(session.user, code, method, now=now)
        login = session.method.partition("+")[0]
        return await self._sessions.rise(session, f"{login}+{passed}", client, now)

    async def begin_totp(
        self, session: Session, now: float, *, even_if_on: bool = False
    ) -> Enrolment:
        """A new secret for this session; an older one is void. Raises ProofRequired, TotpAlreadyOn,
        which with `even_if_on` is left to `confirm_totp`."""
        user = _require_user(session)
        if not even_if_on and TOTP in await self.list_enabled(user):
            raise TotpAlreadyOn
        await self.require_proof(session, now)
        secret = totp.new_secret()
        sealed = self._vault.seal_secret(user, secret)
        await self._store.enrol(session.number, sealed, now + ENROLMENT_S)
        return Enrolment(secret, totp.provisioning_uri(secret, user.username, self._policy.issuer))

    async def confirm_totp(
        self, session: Session, secret: str | None, code: str, now: float, *, renew: bool = False
    ) -> Confirmed:
        """Turns TOTP on. `secret`: what the client says it was shown, None when it does not say. A
        renewed session has its second factor as of now.

        Raises ProofRequired, EnrolmentExpired, SecondFactorInvalid, TotpAlreadyOn,
        SessionNotFound."""
        user = _require_user(session)
        if TOTP in await self.list_enabled(user):
            raise TotpAlreadyOn
        await self.require_proof(session, now)
        begun = await self._begun(session, now)
        if secret is not None and not _same_secret(secret, begun):
            raise EnrolmentExpired
        step = totp.matched_step(begun, code, now)
        if step is None:
            raise SecondFactorInvalid(Challenge(TOTP))
        codes = recovery.new_codes()
        method = f"{session.method.partition('+')[0]}+{TOTP}"
        renewal = self._sessions.renewal(replace(session, method=method)) if renew else None
        await self._turn_on(user, begun, step, codes, now, renewal)
        at = {"second_factor_at": now, "proved_at": now}
        return Confirmed(codes, None if renewal is None else renewal.opened(**at))

    async def _begun(self, session: Session, now: float) -> str:
        sealed = await self._store.enrolment(session.number, now)
        if sealed is None:
            raise EnrolmentExpired
        try:
            return self._vault.secret(session.user, sealed)
        except StorageUnavailable:  # started under a key that was removed
            raise EnrolmentExpired from None

    async def _turn_on(
        self,
        user: User,
        secret: str,
        step: int | None,
        codes: Sequence[str],
        now: float,
        renewal: Renewal | None = None,
    ) -> None:
        key = await self._verification.code_key(user, await self._store.read(user.number))
        digests = [recovery.digest(key, code) for code in codes]
        sealed = self._vault.seal_secret(user, secret)
        added = build_event(Kind.FACTOR_ADDED, now, subject=user, detail=TOTP)
        if not await self._store.turn_on_totp(
            user.number, sealed, step, digests, now, added, renewal
        ):
            raise TotpAlreadyOn

    @staticmethod
    def check_secret(secret: str) -> None:
        """Raises InvalidTotpSecret if `adopt_totp` would."""
        if totp.normalise_secret(secret) is None:
            raise InvalidTotpSecret

    async def adopt_totp(self, user: User, secret: str, now: float) -> None:
        """Turns TOTP on with a secret that an app already has, for imported users.

        Raises TotpAlreadyOn, InvalidTotpSecret.
        """
        if (text := totp.normalise_secret(secret)) is None:
            raise InvalidTotpSecret
        await self._turn_on(user, text, None, (), now)

    async def remove_totp(
        self, session: Session, code: str, now: float, *, renew: bool = False
    ) -> Opened | None:
        """Turns TOTP off, with a code of the app or a recovery code as proof; returns the renewed
        session. Raises TotpNotOn, SecondFactorInvalid, TooManyCodes, ProofRequired."""
        user = _require_user(session)
        if TOTP not in await self.list_enabled(user):
            raise TotpNotOn
        opened = await self._take(session, code, TOTP, now, renew=renew)
        await self.require_proof(session if opened is None else opened.session, now)
        removed = build_event(Kind.FACTOR_REMOVED, now, session=session, detail=TOTP)
        await self._store.turn_off_totp(user.number, now, removed)
        return opened

    async def reset_totp(
        self, user: User, now: float, *, actor: Actor, email: bool = False
    ) -> None:
        """Removes TOTP and recovery codes, ends a lock-out and the user's sessions; removes codes
        by e-mail only with `email`. Raises NotPermitted, and TotpNotOn if the user has no
        factor."""
        require_over(actor, user)
        removed = build_event(Kind.FACTOR_REMOVED, now, subject=user, detail="totp reset")
        fresh = self._vault.new_code_key(user)
        if not await self._store.reset(user.number, fresh, now, removed, email=email):
            raise TotpNotOn

    async def enable_email(
        self, session: Session, now: float, *, renew: bool = False
    ) -> Opened | None:
        """Turns codes by e-mail on; returns the renewed session. Raises ProofRequired,
        InvalidEmail, MailFailed, SessionNotFound."""
        user = _require_user(session)
        await self.require_proof(session, now)
        if user.email is None:
            raise InvalidEmail("This user has no verified e-mail address.")
        if not self._verification.can_mail(user):
            raise MailFailed("No mail server is set up.")
        await self._verification.code_key(user, await self._store.read(user.number))
        added = build_event(Kind.FACTOR_ADDED, now, subject=user, detail=EMAIL)
        renewal = self._sessions.renewal(session) if renew else None
        await self._store.set_email(user.number, True, now, added, renewal)
        return None if renewal is None else renewal.opened()

    async def disable_email(self, session: Session, now: float) -> None:
        """Raises ProofRequired."""
        user = _require_user(session)
        await self.require_proof(session, now)
        await self.stop_mailing(user, now)

    async def stop_mailing(self, user: User, now: float) -> None:
        """Turns codes by e-mail off for a user who has just set the password by a mailed link:
        somebody who can read the mail would otherwise have both."""
        removed = build_event(Kind.FACTOR_REMOVED, now, subject=user, detail=EMAIL)
        await self._store.set_email(user.number, False, now, removed)

    async def regenerate_recovery(
        self, session: Session, now: float, code: str | None = None
    ) -> tuple[str, ...]:
        """New recovery codes; the old ones are void. `code`, of the app or a recovery code, is the
        proof. Raises ProofRequired, SecondFactorInvalid, TooManyCodes, and TotpNotOn when no factor
        is on."""
        user = _require_user(session)
        factors = await self._store.read(user.number)
        if not factors.enabled:
            raise TotpNotOn
        if code is not None:
            await self._take(session, code, TOTP, now)
        await self.require_proof(session, now)
        codes = recovery.new_codes()
        key = await self._verification.code_key(user, factors)
        digests = [recovery.digest(key, code) for code in codes]
        made = build_event(Kind.RECOVERY_CODES_MADE, now, subject=user)
        await self._store.replace_recovery(user.number, digests, now, made)
        return codes

    async def remaining_recovery(self, user: User) -> int:
        """The number of unused recovery codes."""
        return (await self._store.read(user.number)).recovery

    async def locks(self, now: float) -> Sequence[CodeLock]:
        """Users who have to wait after too many wrong codes."""
        most = now + self._policy.lock_s  # set by a clock that was ahead
        locks = await self._store.locks(now)
        return [replace(lock, until=min(lock.until, most)) for lock in locks]

    async def unlock(self, user: User, *, actor: Actor) -> None:
        """Restores the whole budget of codes. Raises NotPermitted."""
        require_over(actor, user)
        await self._store.forgive(user.number)

    async def renew_secrets(self) -> None:
        """Encrypts with the first key what an older one encrypted. Raises UnreadableSecret with the
        name of a user whose secrets no key decrypts."""
        for old in await self._store.sealed():
            new = self._vault.renew(old)
            if new != old:
                await self._store.reseal(old, new)


def fingerprint(client: ClientInfo) -> str:
    """The browser and its address: SHA-256 over User-Agent and address."""
    text = json.dumps([client.user_agent, client.address])
    return hashlib.sha256(text.encode()).hexdigest()


def _require_user(session: Session) -> User:
    """The session's user. Raises SessionNotFound for a session that still needs its factor
    (CVE-2026-32246)."""
    if session.level is not FULL:
        raise SessionNotFound
    return session.user


def _same_secret(given: str, begun: str) -> bool:
    text = totp.normalise_secret(given)
    return text is not None and hmac.compare_digest(text, begun)
