"""Users of every source: found, made, changed, banned, deleted.

It knows names, rules about them and what ends sessions; storage and the directories hold them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from proxy.accounts import chance
from proxy.accounts.audit import Event, Kind, event
from proxy.accounts.directory import Directories
from proxy.accounts.names import (
    check_display_name,
    check_group,
    handle_of,
    normalise,
    normalise_address,
)
from proxy.accounts.passwords import OURS, Passwords
from proxy.accounts.refusals import (
    NameTaken,
    ReadOnlyUser,
    UserNotFound,
)
from proxy.accounts.sessions import Session
from proxy.accounts.user import DATABASE, Credential, Email, NewUser, User

__all__ = ["Credential", "Email", "NewUser", "User", "UserStore", "Users", "normalise"]


class UserStore(Protocol):
    """Every method raises StorageUnavailable; those that take a user, UserNotFound when it is gone.

    Whatever takes a right away also ends or suspends sessions and feeds the news, all at once; the
    event is written down with it."""

    async def insert(self, new: NewUser, now: float, event: Event | None = None) -> User:
        """Raises NameTaken when a handle leads to another user."""

    async def by_handle(self, key: str) -> Credential | None:
        """The database user with this normalised name or verified address."""

    async def by_name(self, source: str, key: str) -> User | None:
        """The row of the user of this source with this normalised name."""

    async def list(self) -> Sequence[User]:
        """All rows of every source, by name."""

    async def taken(self, handles: Iterable[str]) -> Sequence[str]:
        """Those of the handles that lead to a user of the database."""

    async def claim(self, source: str, names: Mapping[str, str], now: float) -> None:
        """Makes the missing rows of a directory: normalised name to name."""

    async def set_password(
        self,
        user: User,
        password_hash: str,
        scheme: str,
        *,
        must_change: bool,
        but: int | None,
        now: float,
        event: Event | None = None,
    ) -> None:
        """Ends the user's sessions, `but` that one."""

    async def rehash(self, user: User, old: str, new: str, scheme: str) -> None:
        """The same password under another hash, unless it changed since; ends nothing."""

    async def set_banned(
        self, user: User, banned: bool, now: float, event: Event | None = None
    ) -> None:
        """Suspends or gives back the user's sessions."""

    async def set_active(
        self, user: User, active: bool, now: float, event: Event | None = None
    ) -> None:
        """Ends the user's sessions when no longer active."""

    async def delete(self, user: User, now: float, event: Event | None = None) -> None:
        """Takes the sessions along."""


class Users:
    """All users, named in any spelling. Every method raises StorageUnavailable."""

    __slots__ = ("_directories", "_passwords", "_store")

    def __init__(self, store: UserStore, directories: Directories, passwords: Passwords) -> None:
        self._store = store
        self._directories = directories
        self._passwords = passwords

    async def sync(self, now: float) -> None:
        """Gives every user of a directory its row. Raises NameTaken for users of the database."""
        for directory in self._directories:
            if taken := await self._store.taken(directory.handles()):
                raise NameTaken(_collision(directory.source, taken))
            names = {entry.key: entry.username for entry in directory.entries()}
            await self._store.claim(directory.source, names, now)

    async def add(
        self,
        username: str,
        password: str,
        *,
        now: float,
        emails: Sequence[Email] = (),
        name: str | None = None,
        groups: Sequence[str] = (),
        roles: Sequence[str] = (),
        super_admin: bool = False,
        must_change_password: bool = False,
    ) -> User:
        """A new user of the database. Raises InvalidName, InvalidEmail, InvalidGroup, NameTaken,
        WeakPassword."""
        key = normalise(username)
        addresses = [normalise_address(email.address) for email in emails]
        verified = [a for a, email in zip(addresses, emails, strict=True) if email.verified]
        handles = tuple(dict.fromkeys([key, *verified]))
        if any(self._directories.by_handle(handle) for handle in handles):
            raise NameTaken
        new = NewUser(
            id=chance.public_id(),
            source=DATABASE,
            username=username,
            key=key,
            handles=handles,
            password_hash=await self._passwords.hash(password),
            scheme=OURS,
            name=None if name is None else check_display_name(name),
            emails=tuple(emails),
            groups=tuple(check_group(group) for group in groups),
            roles=tuple(check_group(role) for role in roles),
            super_admin=super_admin,
            must_change_password=must_change_password,
        )
        return await self._store.insert(new, now, event(Kind.USER_ADDED, now, subject=username))

    async def credential(self, handle: str) -> Credential | None:
        """Who this name or verified address leads to, with the stored hash; None when nobody."""
        key = handle_of(handle)
        if key is None:
            return None
        if (found := self._directories.by_handle(key)) is None:
            return await self._store.by_handle(key)
        source, entry = found
        user = await self._store.by_name(source, entry.key)
        return None if user is None else self._directories.credential(user, entry)

    async def get(self, name: str) -> User:
        """The user with this name or verified address. Raises UserNotFound."""
        if (credential := await self.credential(name)) is not None:
            return credential.user
        # A user gone from its directory still has a row, with bans, that can be seen and deleted.
        for directory in self._directories:
            key = handle_of(name) or ""
            if (user := await self._store.by_name(directory.source, key)) is not None:
                return self._directories.complete(user)
        raise UserNotFound(f"There is no user named {name if name.isprintable() else ascii(name)}.")

    async def list(self) -> tuple[User, ...]:
        """Every user of every source, by name."""
        return tuple(self._directories.complete(user) for user in await self._store.list())

    async def set_password(
        self,
        name: str,
        password: str,
        *,
        now: float,
        must_change: bool = False,
        but: Session | None = None,
    ) -> User:
        """Ends the user's sessions (CVE-2026-40934), `but` the one it was changed in.

        Raises UserNotFound, ReadOnlyUser, WeakPassword."""
        user = await self._own(name)
        new = await self._passwords.hash(password)
        kept = None if but is None else but.number
        changed = event(Kind.PASSWORD_CHANGED, now, subject=user, session=but)
        await self._store.set_password(
            user, new, OURS, must_change=must_change, but=kept, now=now, event=changed
        )
        return user

    async def rehash(self, credential: Credential, new: str) -> None:
        """Keeps a hash renewed at login."""
        await self._store.rehash(credential.user, credential.password_hash, new, OURS)

    async def ban(self, name: str, now: float) -> User:
        """Suspends the user and all sessions. Raises UserNotFound."""
        user = await self.get(name)
        await self._store.set_banned(user, True, now, event(Kind.USER_BANNED, now, subject=user))
        return user

    async def unban(self, name: str, now: float) -> User:
        """Gives back the sessions that have not expired. Raises UserNotFound."""
        user = await self.get(name)
        await self._store.set_banned(user, False, now, event(Kind.USER_UNBANNED, now, subject=user))
        return user

    async def disable(self, name: str, now: float) -> User:
        """Ends all sessions; logins fail as if wrong. Raises UserNotFound, ReadOnlyUser."""
        user = await self._own(name)
        disabled = event(Kind.USER_DISABLED, now, subject=user)
        await self._store.set_active(user, False, now, disabled)
        return user

    async def enable(self, name: str, now: float) -> User:
        """Raises UserNotFound, ReadOnlyUser."""
        user = await self._own(name)
        await self._store.set_active(user, True, now, event(Kind.USER_ENABLED, now, subject=user))
        return user

    async def delete(self, name: str, now: float) -> User:
        """The user and its sessions are gone. Raises UserNotFound, ReadOnlyUser."""
        user = await self.get(name)
        if self._directories.entry(user) is not None:
            raise ReadOnlyUser
        await self._store.delete(user, now, event(Kind.USER_DELETED, now, subject=user))
        return user

    async def _own(self, name: str) -> User:
        """A user of the database. Raises UserNotFound, ReadOnlyUser."""
        user = await self.get(name)
        if user.source != DATABASE:
            raise ReadOnlyUser
        return user


def _collision(source: str, taken: Sequence[str]) -> str:
    names = ", ".join(repr(handle) for handle in taken)
    return (
        f"{names}: a user of the {source} directory and a user of the database have this name or"
        f" address, which belongs to one source. Delete the one or rename the other."
    )
