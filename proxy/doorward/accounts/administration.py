"""Operations of administrators on other users: search, change, ban, end sessions, lift lock-outs,
read records. The audit trail records every change with the administrator's name.

It knows who may do what to whom, and pages of lists; it must not know forms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import Record, RecordFilter, act_on_behalf
from doorward.accounts.devices import recognise
from doorward.accounts.factors.records import CodeLock
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.names import parse_handle
from doorward.accounts.passwords.regulation import Lock, Regulation
from doorward.accounts.permissions import ADMIN, SUPER_ADMINS_ONLY, is_admin, require_over
from doorward.accounts.refusals import NotPermitted, UserNotFound
from doorward.accounts.sessions.sessions import LISTED, Session, Sessions
from doorward.accounts.user import DATABASE, Email, User
from doorward.accounts.users.directory import Directories
from doorward.accounts.users.editing import Edit
from doorward.accounts.users.users import Users

# How many rows one read gets when a whole list is read: a few milliseconds of work between two
# waits.
PAGE = 200


@dataclass(frozen=True, slots=True)
class Cursor:
    """The end of a page of users: the key of its last user and its number. The next page begins
    after it (keyset pagination), so the last page costs no more than the first."""

    key: str
    number: int


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Filters for users. `begins`: the beginning of the normalised name or of a verified
    address."""

    begins: str = ""
    banned: bool = False


class Listings(Protocol):
    """Long lists, read a page at a time by an index. Every method raises StorageUnavailable."""

    async def users(
        self, chosen: UserFilter, after: Cursor | None, limit: int
    ) -> Sequence[tuple[Cursor, User]]:
        """At most so many users, in order; each user once."""

    async def user(self, public_id: str) -> User | None:
        """The row of the user with this public id."""

    async def sessions(self, now: float, before: int | None, limit: int) -> Sequence[Session]:
        """Valid sessions of all users, the newest first, with numbers below `before`."""

    async def records(
        self, wanted: RecordFilter, before: int | None, limit: int
    ) -> Sequence[Record]:
        """The matching records, the newest first, with numbers below `before`."""

    async def locks(self, now: float, limit: int) -> Sequence[Lock]:
        """Lock-outs after wrong passwords, the next to end first."""


@dataclass(frozen=True, slots=True)
class Details:
    """Changes to a user; None changes nothing. `email` replaces all addresses and counts as
    verified; an empty one removes them. `admin` adds or removes that role if `roles` is None."""

    name: str | None = None
    email: str | None = None
    groups: Sequence[str] | None = None
    roles: Sequence[str] | None = None
    admin: bool | None = None
    must_change: bool | None = None

    def change_roles(self, before: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The roles that the user loses, and those that the user gets. Other roles are in neither
        set, because somebody else may change them at the same time."""
        if self.roles is not None:
            return tuple(before), tuple(self.roles)
        if self.admin is None:
            return (), ()
        return ((), (ADMIN,)) if self.admin else ((ADMIN,), ())


@dataclass(frozen=True, slots=True)
class Added:
    """A new user, or a user with a new password. A generated password is available only here."""

    user: User
    password: str | None = field(repr=False)  # None if the caller gave it


@dataclass(frozen=True, slots=True)
class UserDetails:
    """A user as an administrator sees it, with at most LISTED sessions, the newest. `refused` is
    the reason why the actor cannot change anything."""

    user: User
    factors: tuple[str, ...]
    sessions: tuple[Session, ...]
    refused: str | None

    @property
    def is_own(self) -> bool:
        """Whether the user is of the database, and can be changed here."""
        return self.user.source == DATABASE


class Administration:
    """`actor` is the user who calls. Callers need not check permissions: methods raise
    NotPermitted, and those that take an id raise UserNotFound. All raise StorageUnavailable."""

    __slots__ = ("_directories", "_factors", "_listings", "_regulation", "_sessions", "_users")

    def __init__(
        self,
        register: Listings,
        directories: Directories,
        users: Users,
        sessions: Sessions,
        factors: SecondFactors,
        regulation: Regulation,
    ) -> None:
        self._listings = register
        self._directories = directories
        self._users = users
        self._sessions = sessions
        self._factors = factors
        self._regulation = regulation

    async def users(
        self, actor: User, text: str, banned: bool, after: Cursor | None, limit: int
    ) -> Sequence[tuple[Cursor, User]]:
        """Users whose name or verified address begins with the text; all if it is empty."""
        _require(actor)
        begins = parse_handle(text.strip()) if text.strip() else ""
        if begins is None:
            return []
        found = await self._listings.users(UserFilter(begins, banned), after, limit)
        return [(place, self._directories.complete(user)) for place, user in found]

    async def about(self, actor: User, public_id: str, now: float) -> UserDetails:
        user = await self._user(actor, public_id)
        refused = None
        try:
            require_over(actor, user)
        except NotPermitted as refusal:
            refused = str(refusal)
        factors = await self._factors.list_enabled(user)
        listed = await self._sessions.list(user, now, LISTED)
        return UserDetails(user, factors, listed, refused)

    async def add(
        self,
        actor: User,
        username: str,
        details: Details,
        password: str | None = None,
        *,
        now: float,
    ) -> Added:
        """A new user; without a password one is generated, which has to be changed at the first
        login. Raises as `Users.add` does."""
        _require(actor)
        _, roles = details.change_roles(())
        if ADMIN in roles:
            _require_super(actor)
        given = randomness.password() if password is None else password
        with act_on_behalf(actor):
            user = await self._users.add(
                username,
                given,
                now=now,
                name=details.name or None,
                emails=[Email(details.email, True)] if details.email else [],
                groups=details.groups or (),
                roles=roles,
                must_change_password=password is None or bool(details.must_change),
            )
        return Added(user, given if password is None else None)

    async def edit(self, actor: User, public_id: str, details: Details, *, now: float) -> None:
        """Raises ReadOnlyUser, InvalidName, InvalidEmail, InvalidGroup, NameTaken."""
        user = await self._subject(actor, public_id)
        old_emails = tuple(one.address for one in user.emails)
        old_roles, new_roles = details.change_roles(user.roles)
        edit = Edit(
            name=details.name,
            remove_emails=() if details.email is None else old_emails,
            add_emails=(Email(details.email, True),) if details.email else (),
            remove_groups=() if details.groups is None else user.groups,
            add_groups=tuple(details.groups or ()),
            remove_roles=old_roles,
            add_roles=new_roles,
            must_change_password=details.must_change,
        )
        with act_on_behalf(actor):
            await self._users.edit(user.username, edit, now, actor=actor)

    async def ban(self, actor: User, public_id: str, now: float) -> None:
        user = await self._subject(actor, public_id)
        with act_on_behalf(actor):
            await self._users.ban(user.username, now, actor=actor)

    async def unban(self, actor: User, public_id: str, now: float) -> None:
        user = await self._subject(actor, public_id)
        with act_on_behalf(actor):
            await self._users.unban(user.username, now, actor=actor)

    async def disable(self, actor: User, public_id: str, now: float) -> None:
        """Raises ReadOnlyUser."""
        user = await self._subject(actor, public_id)
        with act_on_behalf(actor):
            await self._users.disable(user.username, now, actor=actor)

    async def enable(self, actor: User, public_id: str, now: float) -> None:
        """Raises ReadOnlyUser."""
        user = await self._subject(actor, public_id)
        with act_on_behalf(actor):
            await self._users.enable(user.username, now, actor=actor)

    async def delete(self, actor: User, public_id: str, now: float) -> None:
        """Delete the user and everything that belongs to it. Raises ReadOnlyUser."""
        user = await self._subject(actor, public_id)
        with act_on_behalf(actor):
            await self._users.delete(user.username, now, actor=actor)

    async def demand_change(self, actor: User, public_id: str, now: float) -> None:
        """Require a new password at the next login. Raises ReadOnlyUser."""
        await self.edit(actor, public_id, Details(must_change=True), now=now)

    async def renew_password(self, actor: User, public_id: str, now: float) -> Added:
        """A generated password, to be changed at the next login; ends the user's sessions. Raises
        ReadOnlyUser."""
        user = await self._subject(actor, public_id)
        password = randomness.password()
        with act_on_behalf(actor):
            await self._users.set_password(
                user.username, password, now=now, actor=actor, must_change=True
            )
        return Added(user, password)

    async def set_password(
        self, actor: User, public_id: str, password: str, *, now: float, must_change: bool
    ) -> None:
        """Set the user's password; ends the user's sessions. Raises ReadOnlyUser, WeakPassword."""
        user = await self._subject(actor, public_id)
        with act_on_behalf(actor):
            await self._users.set_password(
                user.username, password, now=now, actor=actor, must_change=must_change
            )

    async def reset_factors(self, actor: User, public_id: str, now: float) -> None:
        """Remove app, recovery codes and codes by e-mail; ends the user's sessions. Raises
        TotpNotOn."""
        user = await self._subject(actor, public_id)
        with act_on_behalf(actor):
            await self._factors.reset_totp(user, now, actor=actor, email=True)

    async def unlock(self, actor: User, public_id: str, now: float) -> None:
        """Forget this user's wrong passwords and codes."""
        user = await self._subject(actor, public_id)
        with act_on_behalf(actor):
            await self._factors.unlock(user, actor=actor)
            await self._regulation.unlock(user, now, actor=actor)

    async def unlock_network(self, actor: User, address: str, now: float) -> None:
        """Forget the wrong passwords from the network of this address."""
        _require(actor)
        with act_on_behalf(actor):
            await self._regulation.unlock_network(address, now)

    async def end(self, actor: User, public_id: str, session: str, now: float) -> None:
        """End one session of the user. Ignores sessions that have ended or belong to another
        user."""
        user = await self._subject(actor, public_id)
        if session in {one.id for one in await self._sessions.list(user, now)}:
            await self._sessions.revoke(session, actor=actor, now=now)

    async def end_all(self, actor: User, public_id: str, now: float) -> None:
        user = await self._subject(actor, public_id)
        await self._sessions.revoke_all(user, actor=actor, now=now)

    async def sessions(
        self, actor: User, before: int | None, limit: int, now: float
    ) -> Sequence[Session]:
        """Valid sessions of all users, the newest first."""
        _require(actor)
        found = await self._listings.sessions(now, before, limit)
        await recognise(session.user_agent for session in found)
        for session in found:
            session.user = self._directories.complete(session.user)
        return found

    async def every_session(self, now: float) -> AsyncIterator[Session]:
        """Valid sessions of all users, the newest first, read in pages, so that a long list blocks
        neither storage nor the event loop. The caller has checked permissions."""
        before = None
        while found := await self._listings.sessions(now, before, PAGE):
            await recognise(session.user_agent for session in found)
            for session in found:
                session.user = self._directories.complete(session.user)
                yield session
            before = found[-1].number

    async def everyone(self) -> AsyncIterator[User]:
        """All users of every source by name, read in pages. The caller has checked permissions."""
        after = None
        while found := await self._listings.users(UserFilter(), after, PAGE):
            for _, user in found:
                yield self._directories.complete(user)
            after = found[-1][0]

    async def find(self, public_id: str) -> User | None:
        """The user with this public id, by index. The caller has checked permissions."""
        user = await self._listings.user(public_id) if randomness.is_public_id(public_id) else None
        return None if user is None else self._directories.complete(user)

    async def records(
        self, actor: User, wanted: RecordFilter, before: int | None, limit: int
    ) -> Sequence[Record]:
        """Records of the audit trail, the newest first."""
        _require(actor)
        return await self._listings.records(wanted, before, limit)

    async def locks(
        self, actor: User, now: float, limit: int
    ) -> tuple[Sequence[Lock], Sequence[CodeLock]]:
        """Lock-outs after wrong passwords, and after wrong codes."""
        _require(actor)
        codes = await self._factors.locks(now)
        return await self._listings.locks(now, limit), codes[:limit]

    async def get_id(self, actor: User, name: str) -> str:
        """The public id of the user with this name or verified address."""
        _require(actor)
        return (await self._users.get(name)).id

    async def _user(self, actor: User, public_id: str) -> User:
        _require(actor)
        if (user := await self.find(public_id)) is None:
            raise UserNotFound
        return user

    async def _subject(self, actor: User, public_id: str) -> User:
        """The user to change. The operations check permissions too, but they also allow what users
        may do to themselves elsewhere."""
        user = await self._user(actor, public_id)
        require_over(actor, user)
        # Changes go by name, which must belong to this user.
        if (await self._users.get(user.username)).number != user.number:
            raise UserNotFound
        return user


def _require(actor: User) -> None:
    if not is_admin(actor):
        raise NotPermitted


def _require_super(actor: User) -> None:
    if not actor.super_admin:
        raise NotPermitted(SUPER_ADMINS_ONLY)
