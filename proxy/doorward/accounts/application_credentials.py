"""Users' own credentials at the applications behind Doorward, encrypted, one per user and route.

Decides which texts can be credentials and whose they are. Must not know how they are sent: see
`doorward.rewrite`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from doorward.accounts.audit.audit_log import DETAIL_CHARACTERS, Event, Kind, build_event
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.keys import Keys
from doorward.accounts.permissions import OWNER, Actor
from doorward.accounts.refusals import (
    CredentialNotFound,
    InvalidCredential,
    NotPermitted,
    SessionNotFound,
    StorageUnavailable,
    UserNotFound,
)
from doorward.accounts.sealing import Sealing, UnreadableSecret
from doorward.accounts.session import FULL, Session
from doorward.accounts.user import User
from doorward.text import has_hidden

PURPOSE = "application credential"
# What fits in a header of common servers, with room for the encoding.
ACCOUNT_CHARACTERS = 190
PASSWORD_BYTES = 1024
UNFIT_PASSWORD = f"A password has 1 to {PASSWORD_BYTES} bytes and no control characters."


@dataclass(frozen=True, slots=True)
class ApplicationCredential:
    """A user's name and password at an application."""

    account: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApplicationLogin:
    """The same, as entered by a user or administrator for a route, given by its host and path."""

    route: str
    account: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """The same as it is stored. `route` is its host and path; `set_at` is Unix seconds."""

    user: int
    route: str
    account: str
    password: bytes = field(repr=False)
    set_at: float

    @property
    def owner(self) -> str:
        """The context that it is encrypted for, so that a row copied to another user or route
        cannot be decrypted. Neither numbers nor names of routes contain spaces."""
        return f"user {self.user} route {self.route} account {self.account}"


class UnreadableCredential(Exception):
    """No key decrypts this user's credentials for this route."""

    def __init__(self, username: str, route: str) -> None:
        super().__init__(username, route)
        self.username = username
        self.route = route


class CredentialStore(Protocol):
    """Users are given by number. Every method raises StorageUnavailable. Changes are announced, so
    that no worker keeps old values."""

    async def put(self, credential: SealedCredential, event: Event) -> bool:
        """Store it in place of an earlier one; False if there is no such user."""

    async def remove(self, user: int, route: str, event: Event) -> bool:
        """Remove it; False if there is none."""

    async def read(self, user: int, route: str) -> SealedCredential | None: ...

    async def list(self, user: int) -> Sequence[SealedCredential]:
        """The user's credentials, by route."""

    async def sealed(self) -> Sequence[tuple[str, SealedCredential]]:
        """All encrypted values of all users, with the users' names."""

    async def reseal(self, old: SealedCredential, new: SealedCredential) -> None:
        """Replace it if it is still as in `old`."""


class ApplicationCredentials:
    """The credentials of all users. `routes` are those that use them, by host and path. Every
    method raises StorageUnavailable."""

    __slots__ = ("_factors", "_sealing", "_store", "routes")

    def __init__(
        self,
        store: CredentialStore,
        factors: SecondFactors,
        keys: Keys,
        routes: tuple[str, ...],
    ) -> None:
        self._store = store
        self._factors = factors
        self._sealing = Sealing(keys, PURPOSE)
        self.routes = routes

    async def set(self, user: User, login: ApplicationLogin, *, actor: Actor, now: float) -> None:
        """Store them for this user, in place of earlier ones; only for the operator of the machine.
        Raises NotPermitted, CredentialNotFound if the route takes none, InvalidCredential,
        UserNotFound."""
        if actor is not OWNER:
            raise NotPermitted
        await self._put(user, login, build_event(Kind.CREDENTIAL_SET, now, subject=user))

    async def set_own(self, session: Session, login: ApplicationLogin, *, now: float) -> None:
        """The same for the session's user, who has just proved to be present. Raises ProofRequired,
        SessionNotFound, CredentialNotFound, InvalidCredential, UserNotFound."""
        await self._factors.require_proof(session, now)
        event = build_event(Kind.CREDENTIAL_SET, now, session=session)
        await self._put(session.user, login, event)

    async def _put(self, user: User, login: ApplicationLogin, event: Event) -> None:
        if login.route not in self.routes:
            raise CredentialNotFound(_say_routes(self.routes))
        _check(login)
        draft = SealedCredential(user.number, login.route, login.account, b"", event.at)
        sealed = self._sealing.seal(login.password.encode(), draft.owner)
        named = replace(event, detail=login.route[:DETAIL_CHARACTERS])
        if not await self._store.put(replace(draft, password=sealed), named):
            raise UserNotFound

    async def remove(self, user: User, route: str, *, actor: Actor, now: float) -> None:
        """Remove them; only for the operator of the machine. Raises NotPermitted,
        CredentialNotFound."""
        if actor is not OWNER:
            raise NotPermitted
        await self._remove(user, route, build_event(Kind.CREDENTIAL_REMOVED, now, subject=user))

    async def remove_own(self, session: Session, route: str, *, now: float) -> None:
        """Raises CredentialNotFound, SessionNotFound for a session whose factor is due."""
        if session.level is not FULL:
            raise SessionNotFound
        event = build_event(Kind.CREDENTIAL_REMOVED, now, session=session)
        await self._remove(session.user, route, event)

    async def _remove(self, user: User, route: str, event: Event) -> None:
        named = replace(event, detail=route[:DETAIL_CHARACTERS])
        if has_hidden(route):  # no route has such a name, and some databases reject it
            raise CredentialNotFound
        if not await self._store.remove(user.number, route, named):
            raise CredentialNotFound

    async def list(self, user: User) -> Sequence[SealedCredential]:
        """The user's credentials, including those for routes that no longer take any."""
        return await self._store.list(user.number)

    async def find(self, user: User, route: str) -> ApplicationCredential | None:
        """The credentials to log this user in with. A secret that no key decrypts raises
        StorageUnavailable: the start refuses such a database, so the key was removed since."""
        sealed = None if has_hidden(route) else await self._store.read(user.number, route)
        if sealed is None:
            return None
        try:
            password = self._sealing.open(sealed.password, sealed.owner)
        except UnreadableSecret as error:
            raise StorageUnavailable from error
        return ApplicationCredential(sealed.account, password.decode())

    async def renew_secrets(self) -> None:
        """Encrypts with the first key what an older one encrypted. Raises UnreadableCredential."""
        for username, old in await self._store.sealed():
            try:
                password = self._sealing.renew(old.password, old.owner)
            except UnreadableSecret as error:
                raise UnreadableCredential(username, old.route) from error
            if password is not None:
                await self._store.reseal(old, replace(old, password=password))


def _say_routes(routes: tuple[str, ...]) -> str:
    if not routes:
        return "No route has credentials: {per_user: basic}."
    return f"This route takes no credentials of users. Those that do: {', '.join(routes)}."


def _check(login: ApplicationLogin) -> None:
    """RFC 7617 2: the name cannot contain a colon, and neither part a control character."""
    account, password = login.account, login.password
    if not 0 < len(account) <= ACCOUNT_CHARACTERS or has_hidden(account):
        raise InvalidCredential(
            f"A user name has 1 to {ACCOUNT_CHARACTERS} characters and no control characters."
        )
    if ":" in account:
        raise InvalidCredential("A user name of Basic authentication has no colon.")
    if not 0 < len(password) <= PASSWORD_BYTES or has_hidden(password):  # surrogates, too
        raise InvalidCredential(UNFIT_PASSWORD)
    if len(password.encode()) > PASSWORD_BYTES:
        raise InvalidCredential(UNFIT_PASSWORD)
