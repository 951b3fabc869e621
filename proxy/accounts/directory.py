"""What the core asks of a directory: the users some file (later: LDAP) holds, and how they log in.

The directory governs name, hash, addresses, groups and roles of its users; the database keeps a row
for each, with ids, bans and whatever else hangs on a user.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from proxy.accounts.names import normalise
from proxy.accounts.refusals import NameTaken
from proxy.accounts.user import DATABASE, Credential, Email, User


@dataclass(frozen=True, slots=True)
class Entry:
    """A user as its directory describes it. `key` is the normalised name."""

    key: str
    username: str
    password_hash: str = field(repr=False)
    scheme: str
    name: str | None = None
    emails: tuple[Email, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    super_admin: bool = False


class Directory(Protocol):
    @property
    def source(self) -> str:
        """The word stored with its users, such as `config`."""

    def by_handle(self, key: str) -> Entry | None:
        """The entry with this normalised name or else this normalised verified address."""

    def by_name(self, key: str) -> Entry | None:
        """The entry with this normalised name."""

    def entries(self) -> Iterable[Entry]:
        """Every entry."""

    def handles(self) -> Iterable[str]:
        """Every normalised name and verified address."""


def described(user: User, entry: Entry) -> User:
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
    """All directories beside the database, as one. Raises NameTaken when two share a name."""

    __slots__ = ("_by_source",)

    def __init__(self, directories: Iterable[Directory] = ()) -> None:
        self._by_source = {directory.source: directory for directory in directories}
        seen: dict[str, str] = {}
        for directory in self:
            for handle in directory.handles():
                if (other := seen.setdefault(handle, directory.source)) != directory.source:
                    raise NameTaken(f"{handle!r} is a user of {other} and of {directory.source}.")

    def __iter__(self) -> Iterator[Directory]:
        return iter(self._by_source.values())

    def by_handle(self, key: str) -> tuple[str, Entry] | None:
        """Source and entry that this normalised name or address leads to."""
        for directory in self:
            if (entry := directory.by_handle(key)) is not None:
                return directory.source, entry
        return None

    def entry(self, user: User) -> Entry | None:
        """What the user's directory says of it; None when it is gone from there."""
        directory = self._by_source.get(user.source)
        return None if directory is None else directory.by_name(normalise(user.username))

    def complete(self, user: User) -> User:
        """The user as it is now; inactive when its directory no longer has it."""
        if user.source == DATABASE:
            return user
        entry = self.entry(user)
        return replace(user, active=False) if entry is None else described(user, entry)

    @staticmethod
    def credential(user: User, entry: Entry) -> Credential:
        return Credential(described(user, entry), entry.password_hash, entry.scheme)
