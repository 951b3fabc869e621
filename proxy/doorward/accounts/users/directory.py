"""The interface to a directory: the users in a file (later also LDAP), and their password hashes.

The directory determines name, hash, addresses, groups and roles of its users. The database has a
row for each of them, with ids, bans and everything else that belongs to a user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from doorward.accounts.names import normalise
from doorward.accounts.refusals import NameTaken
from doorward.accounts.user import DATABASE, Credential, Email, User, share


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A user as its directory or another program describes it. `key` is the normalised name.

    The last two come only from other programs, never from a directory."""

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
        """The directory with the file's new content, once the file has changed and is no longer
        being written; otherwise None.

        Raises DirectoryFault once for each invalid change; this directory stays usable."""

    @property
    def source(self) -> str:
        """The source that is stored with its users, such as `config`."""

    def by_handle(self, key: str) -> DirectoryEntry | None:
        """The entry with this normalised name, or otherwise with this normalised verified
        address."""

    def by_name(self, key: str) -> DirectoryEntry | None:
        """The entry with this normalised name."""

    def entries(self) -> Iterable[DirectoryEntry]:
        """Every entry."""

    def handles(self) -> Iterable[str]:
        """Every normalised name and verified address."""


def describe(user: User, entry: DirectoryEntry) -> User:
    """The user from the row, completed with the directory's entry."""
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
    """All directories other than the database, combined. Raises NameTaken when two share a name."""

    __slots__ = ("_by_source",)

    def __init__(self, directories: Iterable[Directory] = ()) -> None:
        self._by_source: dict[str, Directory] = {}
        for directory in directories:
            self.put(directory)

    def put(self, fresh: Directory) -> None:
        """Add a directory, or replace the one with the same source. Raises NameTaken, and changes
        nothing, if it shares a name or address with another."""
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
        """The user's entry in its directory; None if it was removed there."""
        directory = self._by_source.get(user.source)
        return None if directory is None else directory.by_name(normalise(user.username))

    def complete(self, user: User) -> User:
        """The user as it is now; inactive if its directory no longer contains it."""
        if user.source == DATABASE:
            return user
        entry = self.entry(user)
        return share(replace(user, active=False) if entry is None else describe(user, entry))

    @staticmethod
    def credential(user: User, entry: DirectoryEntry) -> Credential:
        return Credential(describe(user, entry), entry.password_hash, entry.scheme)
