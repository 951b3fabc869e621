"""What the core asks of a directory: the users some file (later: LDAP) holds, and how they log in.

The directory governs name, hash, addresses, groups and roles of its users; the database keeps a row
for each, with ids, bans and whatever else hangs on a user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from doorward.accounts.names import normalise
from doorward.accounts.refusals import NameTaken
from doorward.accounts.user import DATABASE, Credential, Email, User


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A user as its directory or another program describes it. `key` is the normalised name.

    The last two only come from other programs: no directory knows them."""

    key: str
    username: str
    password_hash: str = field(repr=False)
    scheme: str
    name: str | None = None
    emails: tuple[Email, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    super_admin: bool = False
    active: bool = True
    totp_secret: str | None = field(default=None, repr=False)
    # The database keeps it to notice that the password changed in the file. It is of the salted
    # hash, so it does not help anyone who steals a backup.
    digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.password_hash.encode()).digest()
        object.__setattr__(self, "digest", digest)


class DirectoryFault(Exception):
    """A directory that cannot be read. `str()` is a sentence: where, what, what to do."""


class Directory(Protocol):
    @property
    def warnings(self) -> Sequence[str]:
        """Warnings about it, one sentence per warning."""

    def fresh(self) -> Directory | None:
        """The directory as its file is now, once it has changed and settled; else None.

        Raises DirectoryFault, once for each change; the directory stays good as it is."""

    @property
    def source(self) -> str:
        """The word stored with its users, such as `config`."""

    def by_handle(self, key: str) -> DirectoryEntry | None:
        """The entry with this normalised name or else this normalised verified address."""

    def by_name(self, key: str) -> DirectoryEntry | None:
        """The entry with this normalised name."""

    def entries(self) -> Iterable[DirectoryEntry]:
        """Every entry."""

    def handles(self) -> Iterable[str]:
        """Every normalised name and verified address."""


def describe(user: User, entry: DirectoryEntry) -> User:
    """The row's user with what its directory says of it."""
    return replace(
        user,
        username=entry.username,
        name=entry.name,
        emails=entry.emails,
        groups=entry.groups,
        roles=entry.roles,
        super_admin=entry.super_admin,
    )


class Directories:
    """All directories besides the database, as one. Raises NameTaken when two share a name."""

    __slots__ = ("_by_source",)

    def __init__(self, directories: Iterable[Directory] = ()) -> None:
        self._by_source: dict[str, Directory] = {}
        for directory in directories:
            self.put(directory)

    def put(self, fresh: Directory) -> None:
        """Takes a directory in, or in the place of the one of its source. Raises NameTaken when it
        shares a name or address with another; then nothing has changed."""
        for other in self:
            if other.source == fresh.source:
                continue
            if shared := set(other.handles()) & set(fresh.handles()):
                raise NameTaken(
                    f"{min(shared)!r} is a user of {other.source} and of {fresh.source}."
                )
        self._by_source[fresh.source] = fresh

    def __iter__(self) -> Iterator[Directory]:
        return iter(list(self._by_source.values()))

    def by_handle(self, key: str) -> tuple[str, DirectoryEntry] | None:
        """Source and entry that this normalised name or address leads to."""
        for directory in self:
            if (entry := directory.by_handle(key)) is not None:
                return directory.source, entry
        return None

    def entry(self, user: User) -> DirectoryEntry | None:
        """What the user's directory says of it; None when it is gone from there."""
        directory = self._by_source.get(user.source)
        return None if directory is None else directory.by_name(normalise(user.username))

    def complete(self, user: User) -> User:
        """The user as it is now; inactive when its directory no longer has it."""
        if user.source == DATABASE:
            return user
        entry = self.entry(user)
        return replace(user, active=False) if entry is None else describe(user, entry)

    @staticmethod
    def credential(user: User, entry: DirectoryEntry) -> Credential:
        return Credential(describe(user, entry), entry.password_hash, entry.scheme)
