"""A login: name and password in, a session or a refusal out. This file has the order of the checks.

It knows no form and no cookie. Any error on the way ends as a refusal, never as a session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from doorward.accounts.audit.audit_log import REFUSED, AuditLog, Event, Kind, build_event
from doorward.accounts.factors.records import BROWSER, PASSWORD
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.passwords.hashing import Password, Passwords, is_too_long
from doorward.accounts.passwords.known_browsers import KnownBrowsers
from doorward.accounts.passwords.regulation import USER, Attempt, Regulation
from doorward.accounts.refusals import (
    InvalidCredentials,
    LockedOut,
    Overloaded,
    PasswordChangeNotNeeded,
    PasswordChangeRequired,
    Refusal,
    SecondFactorRequired,
    SessionNotFound,
    StorageUnavailable,
    UserBanned,
)
from doorward.accounts.sessions.sessions import (
    FULL,
    PENDING,
    Authentication,
    ClientInfo,
    NewSession,
    Opened,
    Session,
    Sessions,
)
from doorward.accounts.user import DATABASE, Credential, NewPassword, User
from doorward.accounts.users.users import Users

# The password was not checked: neither a failure nor an attempt.
BASIC = "basic"
NOT_JUDGED = (Overloaded, StorageUnavailable)


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What a client sends and asks for. The name may be a verified address.

    `method` is that of the code. `pending`: a session that still needs its code is acceptable.
    `browser` is the note of a browser that can skip the code, `known` that of a browser in which
    the user logged in before: its attempts have a budget of their own. `new_password` is for users
    who have to change theirs: it is changed after all other checks, and never without a code if the
    user has a factor.
    """

    name: str
    password: Password = field(repr=False)
    session: NewSession
    code: str | None = field(default=None, repr=False)
    method: str | None = None
    pending: bool = False
    new_password: str | None = field(default=None, repr=False)
    browser: str | None = field(default=None, repr=False)
    known: str | None = field(default=None, repr=False)


class Logins:
    """No data of a single login is kept on this object (CVE-2026-33544)."""

    __slots__ = (
        "_audit_log",
        "_known_browsers",
        "_passwords",
        "_regulation",
        "_second_factors",
        "_sessions",
        "_users",
        "when_refused",
    )

    def __init__(
        self,
        users: Users,
        sessions: Sessions,
        passwords: Passwords,
        regulation: Regulation,
        audit_log: AuditLog,
        second_factors: SecondFactors,
        known_browsers: KnownBrowsers,
    ) -> None:
        self._known_browsers = known_browsers
        self._users = users
        self._sessions = sessions
        self._passwords = passwords
        self._regulation = regulation
        self._audit_log = audit_log
        self._second_factors = second_factors
        # Called with the kind of each login that is refused, and the refusal's code.
        self.when_refused: Callable[[str, str], None] | None = None

    async def login(
        self,
        request: LoginRequest,
        *,
        client: ClientInfo,
        now: float,
        replaces: Session | None = None,
    ) -> Opened:
        """Opens a session with a new token and ends `replaces`. If a user has a second factor and
        sent no code, the session is pending, or there is none if the request does not allow that.

        Raises InvalidCredentials, LockedOut, UserBanned, PasswordChangeRequired,
        PasswordChangeNotNeeded, WeakPassword, SecondFactorRequired, SecondFactorInvalid,
        TooManyCodes, MailFailed, Overloaded, StorageUnavailable, the last also if the record could
        not be written.
        """
        credential = await self._users.credential(request.name)
        try:
            return await self._login(request, credential, client, now, replaces)
        except Refusal as refusal:
            if self.when_refused is not None:
                self.when_refused(request.session.kind, refusal.code)
            raise

    async def _login(
        self,
        request: LoginRequest,
        credential: Credential | None,
        client: ClientInfo,
        now: float,
        replaces: Session | None,
    ) -> Opened:
        known = None if credential is None else credential.user
        is_known = self._known_browsers.recognises(request.known, known, now)
        user = await self._authenticate(
            request.name, credential, request.password, client, now, is_known=is_known
        )
        try:
            _check_allowed(user, request.new_password)
            new = None
            if request.new_password is not None:  # before a code is spent on it
                new = await self._users.new_password(user, request.new_password)
            enabled = await self._second_factors.list_enabled(user)
            factor = await self._factor(user, request, now) if enabled else None
            if new is not None:
                user = await self._change_password(user, new, now)
            authentication = Authentication(
                level=PENDING if enabled and factor is None else FULL,
                method=PASSWORD if factor is None else f"{PASSWORD}+{factor}",
                second_factor_at=None if factor in (None, BROWSER) else now,
                proved_at=now,
            )
            return await self._sessions.open(
                user, request.session, authentication, client=client, now=now, replaces=replaces
            )
        except NOT_JUDGED:
            raise
        except Refusal as refusal:
            await self._write_down(refusal, user, client, now)
            raise

    async def authenticate_program(
        self, name: str, password: str, *, client: ClientInfo, now: float
    ) -> User:
        """The user with this password, for a program that can send nothing else. Users who have a
        second factor are refused, whatever the password. Raises InvalidCredentials, LockedOut,
        UserBanned, PasswordChangeRequired, Overloaded, StorageUnavailable."""
        credential = await self._users.credential(name)
        user = None
        try:
            user = await self._authenticate(name, credential, password, client, now)
            _check_allowed(user, None)
            if await self._second_factors.list_enabled(user):
                raise InvalidCredentials("second_factor")
        except Refusal as refusal:
            if user is not None:  # otherwise it was recorded, or not checked
                await self._write_down(refusal, user, client, now)
            if self.when_refused is not None:
                self.when_refused(BASIC, refusal.code)
            raise
        await self._audit_log.record(
            build_event(Kind.LOGIN, now, subject=user, actor=user, client=client, detail=BASIC)
        )
        return user

    async def prove(
        self,
        session: Session,
        password: str,
        *,
        client: ClientInfo,
        now: float,
        renew: bool = False,
    ) -> Opened | None:
        """Returns if this is the password of the session's user, which proves that the user is
        present. Attempts count on the budget of logins. With `renew` the session gets a new token,
        because otherwise copies of the old one would be trusted too. Raises InvalidCredentials,
        LockedOut, Overloaded, SessionNotFound."""
        if session.level is not FULL:
            raise SessionNotFound
        await self._confirm(session.user, password, client, now)
        return await self._sessions.prove(session, now, renew=renew)

    async def change_password(
        self, session: Session, old: str, new: str, *, client: ClientInfo, now: float
    ) -> Opened:
        """Changes the password of the session's user: the session continues with a new token, all
        others end. Raises as `prove` does, ProofRequired, ReadOnlyUser, WeakPassword,
        UserNotFound."""
        if session.level is not FULL:
            raise SessionNotFound
        await self._confirm(session.user, old, client, now)
        # Before the proof is recorded: a refused password must leave no copy of this session
        # trusted.
        checked = await self._users.new_password(session.user, new)
        await self._sessions.prove(session, now)
        await self._second_factors.require_proof(session, now)
        renewal = self._sessions.renewal(session)
        user = await self._users.change_password(session.user, checked, now=now, renewal=renewal)
        return renewal.opened(user=replace(user, version=user.version + 1))

    async def _confirm(self, user: User, password: str, client: ClientInfo, now: float) -> None:
        credential = await self._users.credential(user.username)
        if credential is not None and credential.user.number != user.number:
            credential = None  # another user has the name now
        await self._authenticate(user.username, credential, password, client, now, conceals=False)

    async def _authenticate(
        self,
        name: str,
        credential: Credential | None,
        password: Password,
        client: ClientInfo,
        now: float,
        *,
        conceals: bool = True,
        is_known: bool = False,
    ) -> User:
        """The user with this password, checked in turn and counted on the budgets. A lock-out is
        refused in the time that a wrong password takes, without a hash or a record. `conceals` is
        False for a client known to be the user; `is_known`: from a browser of theirs, which has a
        budget of its own. Raises InvalidCredentials, LockedOut."""
        user = None if credential is None else credential.user
        known = user if is_known else None
        try:
            await self._regulation.check(name, user, client.address, now, known=known)
            async with self._regulation.turn(name, client.address, known=known):
                attempt = await self._regulation.begin(
                    name, user, client.address, now, conceals=conceals, known=known
                )
                return await self._judge(attempt, credential, password, client, now)
        except LockedOut:
            await self._passwords.pause()
            raise

    async def _judge(
        self,
        attempt: Attempt | None,
        credential: Credential | None,
        password: Password,
        client: ClientInfo,
        now: float,
    ) -> User:
        """The user with this password. A failure is recorded in the same turn, so that records take
        turns as well. Raises InvalidCredentials."""
        try:
            if attempt is not None and attempt.is_refused and not is_too_long(password):
                await self._passwords.waste(password)
                raise InvalidCredentials("locked_out")
            user = await self._verify(credential, password)
        except NOT_JUDGED:
            await self._regulation.withdraw(attempt)
            raise
        except Refusal as refusal:
            known = None if credential is None else credential.user
            await self._write_down_locks(attempt, client, now)
            await self._write_down(refusal, known, client, now)
            raise
        await self._regulation.passed(attempt)
        return user

    async def _verify(self, credential: Credential | None, password: Password) -> User:
        """The user with this password. Raises InvalidCredentials.

        Every failure costs the same number of hashes; extremely long passwords cost none, for any
        user.
        """
        if is_too_long(password):
            raise InvalidCredentials("too_long")
        if credential is None:
            await self._passwords.waste(password)
            raise InvalidCredentials("unknown")
        verdict = await self._passwords.verify(
            credential.password_hash,
            credential.scheme,
            password,
            renew=credential.user.source == DATABASE,  # Doorward does not write to users' files
        )
        if not verdict.ok:
            raise InvalidCredentials("password")
        if not credential.user.active:
            await self._passwords.waste(password, verdict)
            raise InvalidCredentials("disabled")
        if verdict.rehash is not None:
            await self._users.rehash(credential, verdict.rehash)
        return credential.user

    async def _factor(self, user: User, request: LoginRequest, now: float) -> str | None:
        """The factor that was given; None if the session is to be pending."""
        keeps_password = request.new_password is None
        if request.code:
            return await self._second_factors.verify(user, request.code, request.method, now=now)
        if keeps_password and await self._second_factors.knows_browser(user, request.browser, now):
            return BROWSER
        if keeps_password and request.pending and await self._second_factors.can_be_asked(user):
            return None
        challenge = await self._second_factors.prepare(
            user, request.method, name=request.name, now=now
        )
        raise SecondFactorRequired(challenge)

    async def _change_password(self, user: User, new: NewPassword, now: float) -> User:
        """The user with the new password. A concurrent change of the user is noticed when the
        session is opened, because the version then differs."""
        await self._users.change_password(user, new, now=now)
        return replace(user, must_change_password=False, version=user.version + 1)

    async def _write_down(
        self, refusal: Refusal, user: User | None, client: ClientInfo, now: float
    ) -> None:
        reason = getattr(refusal, "reason", refusal.code)
        kind = Kind.LOGIN_FAILED
        if isinstance(refusal, SecondFactorRequired):
            kind = Kind.LOGIN_PENDING  # a code continues it
        await self._audit_log.record(_build_event(kind, now, user, client, reason))

    async def _write_down_locks(
        self, attempt: Attempt | None, client: ClientInfo, now: float
    ) -> None:
        """One record for each budget that this failure used up."""
        for scope in () if attempt is None else attempt.exhausted:
            whom = attempt.user if attempt is not None and scope == USER else None
            await self._audit_log.record(_build_event(Kind.LOCKED_OUT, now, whom, client, scope))


def _check_allowed(user: User, new_password: str | None) -> None:
    """Raises UserBanned, PasswordChangeRequired, PasswordChangeNotNeeded."""
    if user.banned:
        raise UserBanned
    if new_password is None and user.must_change_password:
        raise PasswordChangeRequired(user)
    if new_password is not None and not user.must_change_password:
        raise PasswordChangeNotNeeded


def _build_event(
    kind: Kind, now: float, user: User | None, client: ClientInfo, detail: str
) -> Event:
    return build_event(kind, now, subject=user, client=client, outcome=REFUSED, detail=detail)
