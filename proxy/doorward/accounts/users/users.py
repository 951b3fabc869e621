"""Finds, creates, changes, bans and deletes users of every source.

Knows names, their rules and which changes end sessions; storage and directories contain the users.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import Event, Kind, build_event
from doorward.accounts.names import (
    check_display_name,
    check_group,
    display,
    normalise,
    parse_handle,
)
from doorward.accounts.passwords.hashing import OURS, Passwords
from doorward.accounts.passwords.strength import list_words
from doorward.accounts.permissions import Actor, require_over, require_rank
from doorward.accounts.refusals import (
    EnrolmentExpired,
    NameTaken,
    ReadOnlyUser,
    Refusal,
    StorageUnavailable,
    UserNotFound,
)
from doorward.accounts.session import Renewal
from doorward.accounts.user import (
    DATABASE,
    Credential,
    Email,
    NewPassword,
    NewUser,
    Seen,
    User,
)
from doorward.accounts.users.directory import Directories, Directory, DirectoryEntry, DirectoryFault
from doorward.accounts.users.editing import Edit, apply_edit, list_handles
from doorward.accounts.users.store import UserStore
from doorward.text import format_count, strip_input

__all__ = ["Credential", "Email", "NewUser", "User", "UserStore", "Users", "normalise"]


class Users:
    """All users; names may be given in any spelling. Every method raises StorageUnavailable."""

    __slots__ = ("_delimiters", "_directories", "_passwords", "_store", "_waiting")

    def __init__(
        self,
        store: UserStore,
        directories: Directories,
        passwords: Passwords,
        delimiters: str = ",",
    ) -> None:
        """`delimiters` separate groups in applications' headers: see `check_group`."""
        self._delimiters = delimiters
        self._store = store
        self._directories = directories
        self._passwords = passwords
        # By source: directories that were read but not applied, because storage did not answer.
        self._waiting: dict[str, Directory] = {}

    async def sync(self, now: float) -> None:
        """Create the missing rows for users of directories. Raises NameTaken if the database has a
        user with such a name."""
        for directory in self._directories:
            await self._claim(directory, (), now)
        self._passwords.expect(await self._store.imported(OURS))

    async def refresh(self, now: float) -> tuple[str, ...]:
        """Apply changes in the directories' files; called once a second. Returns errors and
        warnings about a change, one sentence each. After an error, the previous users stay."""
        said: list[str] = []
        for directory in self._directories:
            try:
                # In a thread: ten thousand lines take a tenth of a second.
                fresh = await asyncio.to_thread(directory.fresh)
                fresh = fresh or self._waiting.get(directory.source)
                if fresh is not None:
                    await self._take_in(directory, fresh, now)
                    said += fresh.warnings
            except (DirectoryFault, NameTaken) as fault:
                said.append(str(fault))
        return tuple(said)

    def warnings(self) -> tuple[str, ...]:
        """Warnings about the directories' files, one sentence per warning."""
        return tuple(warning for directory in self._directories for warning in directory.warnings)

    async def _take_in(self, old: Directory, fresh: Directory, now: float) -> None:
        gone, reload = await asyncio.to_thread(_compare, old, fresh, now)
        # First replace the users that logins read, then end sessions: a login with the old password
        # that is under way is refused because the user's version changes, and no new one can begin.
        self._directories.put(fresh)
        self._waiting.pop(fresh.source, None)
        try:
            await self._claim(fresh, gone, now, reload)
        except BaseException as failure:
            self._directories.put(old)
            if isinstance(failure, StorageUnavailable):
                self._waiting[fresh.source] = fresh
            raise

    async def _claim(
        self,
        directory: Directory,
        gone: Collection[str],
        now: float,
        reloaded: Event | None = None,
    ) -> None:
        if taken := await self._store.taken(directory.handles()):
            raise NameTaken(_collision(directory.source, taken))
        seen = await asyncio.to_thread(_list_seen, directory)
        changed = build_event(Kind.PASSWORD_CHANGED, now, detail=directory.source)
        await self._store.claim(directory.source, seen, gone, now, changed, reloaded)
        stored = ((entry.scheme, entry.password_hash) for entry in directory.entries())
        self._passwords.expect(stored)

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
        allow_guessable: bool = False,
    ) -> User:
        """A new user of the database; white space around the name is removed. Raises InvalidName,
        InvalidEmail, InvalidGroup, NameTaken, WeakPassword."""
        username = strip_input(username)
        key = normalise(username)
        handles = self._free(list_handles(username, emails))
        name = None if name is None else check_display_name(name)
        words = list_words(username, name, (email.address for email in emails))
        checked = await self._passwords.new(password, words, allow_guessable=allow_guessable)
        new = NewUser(
            id=randomness.public_id(),
            source=DATABASE,
            username=username,
            key=key,
            handles=handles,
            password_hash=checked.hash,
            scheme=checked.scheme,
            name=name,
            emails=tuple(emails),
            groups=tuple(check_group(group, self._delimiters) for group in groups),
            roles=tuple(check_group(role, self._delimiters) for role in roles),
            super_admin=super_admin,
            must_change_password=must_change_password,
        )
        return await self._store.insert(
            new, now, build_event(Kind.USER_ADDED, now, subject=username)
        )

    async def add_imported(self, entries: Sequence[DirectoryEntry], now: float) -> tuple[User, ...]:
        """Create users of the database with hashes that another program made: all or none.

        Raises InvalidName, InvalidEmail, InvalidGroup, NameTaken; their text contains the user's
        name."""
        new = [self._build_new_user(entry) for entry in entries]
        added = [
            build_event(Kind.USER_ADDED, now, subject=one.username, detail="import") for one in new
        ]
        return tuple(await self._store.insert_all(new, now, added))

    def _build_new_user(self, entry: DirectoryEntry) -> NewUser:
        try:
            return NewUser(
                id=randomness.public_id(),
                source=DATABASE,
                username=entry.username,
                key=entry.key,
                handles=self._free(list_handles(entry.username, entry.emails)),
                password_hash=entry.password_hash,
                scheme=entry.scheme,
                name=None if entry.name is None else check_display_name(entry.name),
                emails=entry.emails,
                groups=tuple(check_group(group, self._delimiters) for group in entry.groups),
                active=entry.active,
            )
        except Refusal as refusal:
            raise type(refusal)(f"user {display(entry.username)}: {refusal}") from refusal

    def _free(self, handles: Sequence[str]) -> tuple[str, ...]:
        """The handles. Raises NameTaken if one belongs to a user of a directory."""
        if any(self._directories.by_handle(handle) for handle in handles):
            raise NameTaken
        return tuple(handles)

    async def edit(self, name: str, edit: Edit, now: float, *, actor: Actor) -> User:
        """The changed user. Sessions continue, and have the changes at once. Raises NotPermitted,
        UserNotFound, ReadOnlyUser, InvalidName, InvalidEmail, InvalidGroup, NameTaken."""
        user = await self._subject(name, actor)

        def change(user: User) -> tuple[User, Sequence[str]]:
            require_over(actor, user)  # the current state
            changed = apply_edit(user, edit, self._delimiters)
            require_rank(actor, user, changed)
            return changed, self._free(list_handles(changed.username, changed.emails))

        return await self._edit(user, change, now)

    async def set_address(self, user: User, address: str, now: float) -> User:
        """Make this the only address of a user who has proved to own it, unless the addresses were
        changed in the meantime. Raises UserNotFound, ReadOnlyUser, NameTaken, EnrolmentExpired."""
        mine = await self._own(user.username)
        if mine.number != user.number:
            raise UserNotFound

        def change(found: User) -> tuple[User, Sequence[str]]:
            if found.emails != user.emails:
                raise EnrolmentExpired
            changed = replace(found, emails=(Email(address, True),))
            return changed, self._free(list_handles(changed.username, changed.emails))

        return await self._edit(mine, change, now)

    async def _edit(
        self, user: User, change: Callable[[User], tuple[User, Sequence[str]]], now: float
    ) -> User:
        return await self._store.edit(
            user, change, now, build_event(Kind.USER_CHANGED, now, subject=user)
        )

    async def credential(self, handle: str) -> Credential | None:
        """The user with this name or verified address, with the stored hash; None if there is
        none."""
        key = parse_handle(handle)
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
        # A user who was removed from a directory still has a row, with bans, that can be seen and
        # deleted.
        for directory in self._directories:
            key = parse_handle(name) or ""
            if (user := await self._store.by_name(directory.source, key)) is not None:
                return self._directories.complete(user)
        raise UserNotFound(f"There is no user named {display(name)}.")

    async def set_password(
        self,
        name: str,
        password: str,
        *,
        now: float,
        actor: Actor,
        must_change: bool = False,
        allow_guessable: bool = False,
    ) -> User:
        """Set a user's password and end the user's sessions (CVE-2026-40934). Raises NotPermitted,
        UserNotFound, ReadOnlyUser, WeakPassword."""
        user = await self._subject(name, actor)
        new = await self.new_password(user, password, allow_guessable=allow_guessable)
        await self._set_password(user, new, now, must_change=must_change)
        return user

    async def new_password(
        self, user: User, password: str, *, allow_guessable: bool = False
    ) -> NewPassword:
        """Check and hash a new password for this user, without changing anything yet. Raises
        UserNotFound, ReadOnlyUser, WeakPassword."""
        credential = await self.credential(user.username)
        if credential is None or credential.user.number != user.number:
            raise UserNotFound
        if user.source != DATABASE:
            raise ReadOnlyUser(user.source)
        return await self._passwords.new(
            password,
            list_words(user.username, user.name, (email.address for email in user.emails)),
            (credential.password_hash, credential.scheme),
            allow_guessable=allow_guessable,
        )

    async def change_password(
        self, user: User, new: NewPassword, *, now: float, renewal: Renewal | None = None
    ) -> User:
        """Set the password of a user who has just proved their identity; ends the user's sessions
        except the renewed one. Returns the user before the change.

        Raises UserNotFound, also if the user has changed since it was read, ReadOnlyUser,
        SessionNotFound."""
        if (await self._own(user.username)).number != user.number:
            raise UserNotFound
        await self._set_password(user, new, now, renewal=renewal, version=user.version)
        return user

    async def _set_password(
        self,
        user: User,
        new: NewPassword,
        now: float,
        *,
        must_change: bool = False,
        renewal: Renewal | None = None,
        version: int | None = None,
    ) -> None:
        session = None if renewal is None else renewal.session
        changed = build_event(Kind.PASSWORD_CHANGED, now, subject=user, session=session)
        await self._store.set_password(
            user,
            new,
            must_change=must_change,
            renewal=renewal,
            now=now,
            event=changed,
            version=version,
        )

    async def rehash(self, credential: Credential, new: str) -> None:
        """Store a hash that was renewed at login."""
        await self._store.rehash(credential.user, credential.password_hash, new, OURS)

    async def ban(self, name: str, now: float, *, actor: Actor) -> User:
        """Suspend the user and all sessions. Raises NotPermitted, UserNotFound."""
        user = await self.get(name)
        require_over(actor, user)
        await self._store.set_banned(
            user, True, now, build_event(Kind.USER_BANNED, now, subject=user)
        )
        return user

    async def unban(self, name: str, now: float, *, actor: Actor) -> User:
        """End a ban; sessions that have not expired are valid again. Raises NotPermitted,
        UserNotFound."""
        user = await self.get(name)
        require_over(actor, user)
        await self._store.set_banned(
            user, False, now, build_event(Kind.USER_UNBANNED, now, subject=user)
        )
        return user

    async def disable(self, name: str, now: float, *, actor: Actor) -> User:
        """End all sessions; logins fail as with a wrong password. Raises NotPermitted,
        UserNotFound, ReadOnlyUser."""
        user = await self._subject(name, actor)
        disabled = build_event(Kind.USER_DISABLED, now, subject=user)
        await self._store.set_active(user, False, now, disabled)
        return user

    async def enable(self, name: str, now: float, *, actor: Actor) -> User:
        """Raises NotPermitted, UserNotFound, ReadOnlyUser."""
        user = await self._subject(name, actor)
        await self._store.set_active(
            user, True, now, build_event(Kind.USER_ENABLED, now, subject=user)
        )
        return user

    async def delete(self, name: str, now: float, *, actor: Actor) -> User:
        """Delete the user and all sessions. Raises NotPermitted, UserNotFound, ReadOnlyUser."""
        user = await self.get(name)
        require_over(actor, user)
        if self._directories.entry(user) is not None:
            raise ReadOnlyUser(user.source)
        await self._store.delete(user, now, build_event(Kind.USER_DELETED, now, subject=user))
        return user

    async def _subject(self, name: str, actor: Actor) -> User:
        """A user of the database that the actor may change. Raises NotPermitted, UserNotFound,
        ReadOnlyUser."""
        user = await self.get(name)
        require_over(actor, user)
        if user.source != DATABASE:
            raise ReadOnlyUser(user.source)
        return user

    async def _own(self, name: str) -> User:
        """A user of the database. Raises UserNotFound, ReadOnlyUser."""
        user = await self.get(name)
        if user.source != DATABASE:
            raise ReadOnlyUser(user.source)
        return user


# In a thread, as there may be tens of thousands of users.


def _list_seen(directory: Directory) -> dict[str, Seen]:
    return {entry.key: Seen(entry.username, entry.digest) for entry in directory.entries()}


def _compare(old: Directory, fresh: Directory, now: float) -> tuple[set[str], Event]:
    """The users who are gone, and the event of the change."""
    gone = {entry.key for entry in old.entries()} - {entry.key for entry in fresh.entries()}
    return gone, _build_reload(fresh, now)


def _build_reload(directory: Directory, now: float) -> Event:
    """The mark at the end of the detail is the same for all processes that read the same
    content."""
    entries = sorted(entry.digest + entry.key.encode() for entry in directory.entries())
    mark = hashlib.sha256(b"".join(entries)).hexdigest()[:8]
    detail = f"{directory.source}: {format_count(len(entries), 'user')}, {mark}"
    return build_event(Kind.CONFIGURATION_RELOADED, now, detail=detail)


def _collision(source: str, taken: Sequence[str]) -> str:
    names = ", ".join(repr(handle) for handle in taken)
    return (
        f"{names}: a user of the {source} directory and a user of the database have this name or"
        f" address, which belongs to one source. Delete the one or rename the other."
    )
