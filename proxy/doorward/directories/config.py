"""The users of the configuration file: read once at the start, and read-only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from doorward.accounts.names import normalise, normalise_address
from doorward.accounts.passwords.hashing import FILE
from doorward.accounts.refusals import NameTaken
from doorward.accounts.user import Email
from doorward.accounts.users.directory import DirectoryEntry
from doorward.settings import ConfigUser


class ConfigDirectory:
    """Implements `accounts.users.directory.Directory`. An address in the file counts as
    verified."""

    source = "config"
    warnings: Sequence[str] = ()

    def __init__(self, users: Sequence[ConfigUser]) -> None:
        """Raises InvalidName, InvalidEmail, NameTaken if two users share a name or address."""
        self._by_name: dict[str, DirectoryEntry] = {}
        self._by_handle: dict[str, DirectoryEntry] = {}
        for user in users:
            self._keep(_entry(user))

    def fresh(self) -> None:
        """Settings are read only at the start."""

    def by_handle(self, key: str) -> DirectoryEntry | None:
        return self._by_handle.get(key)

    def by_name(self, key: str) -> DirectoryEntry | None:
        return self._by_name.get(key)

    def entries(self) -> Iterable[DirectoryEntry]:
        return self._by_name.values()

    def handles(self) -> Iterable[str]:
        return self._by_handle.keys()

    def _keep(self, entry: DirectoryEntry) -> None:
        self._by_name[entry.key] = entry
        for handle in {entry.key, *(normalise_address(e.address) for e in entry.emails)}:
            if handle in self._by_handle:
                raise NameTaken(f"two users in the configuration file share {handle!r}.")
            self._by_handle[handle] = entry


def _entry(user: ConfigUser) -> DirectoryEntry:
    return DirectoryEntry(
        key=normalise(user.username),
        username=user.username,
        password_hash=user.password_hash.get_secret_value(),
        scheme=FILE,
        name=user.name,
        emails=() if user.email is None else (Email(user.email, verified=True),),
        groups=user.groups,
        roles=user.roles,
        super_admin=user.super_admin,
    )
