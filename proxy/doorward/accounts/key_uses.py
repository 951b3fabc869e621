"""What needs a key that is to be retired or is missing: secrets under it, and sessions and
tokens from its time.

Knows who has them; must not know where keys are stored, or which of them signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from doorward.accounts.application_credentials import PURPOSE, SealedCredential
from doorward.accounts.factors.records import Sealed
from doorward.accounts.factors.vault import Vault
from doorward.accounts.keys import Keys
from doorward.accounts.sealing import Sealing, UnreadableSecret


@dataclass(frozen=True, slots=True)
class OpenedBefore:
    """How many sessions, and when the last one expires even if it is used until then; 0 for
    none."""

    count: int
    last_end: float


@dataclass(frozen=True, slots=True)
class KeyNeeds:
    """`users`: those whose secrets no other key decrypts. `sessions`: how many have a cookie under
    the key; the last of them ends at `until` (Unix seconds). `tokens`: how many are hashed with
    it."""

    users: tuple[str, ...] = ()
    sessions: int = 0
    until: float = 0.0
    tokens: int = 0

    @property
    def is_any(self) -> bool:
        return bool(self.users or self.sessions or self.tokens)


class KeyUseStore(Protocol):
    """Only reads. Times are Unix seconds. Every method raises StorageUnavailable."""

    async def sealed_factors(self) -> Sequence[Sealed]:
        """The encrypted values of all users."""

    async def sealed_credentials(self) -> Sequence[tuple[str, SealedCredential]]:
        """The encrypted credentials of all users, with the users' names."""

    async def count_opened(self, before: float, now: float) -> OpenedBefore:
        """The valid sessions of all users that were opened before that time."""

    async def count_unused(self, since: float, now: float) -> int:
        """How many valid tokens of all users were neither created nor used since then."""


class KeyUses:
    __slots__ = ("_store",)

    def __init__(self, store: KeyUseStore) -> None:
        self._store = store

    async def find(self, rest: Keys, before: float, now: float) -> KeyNeeds:
        """What would be lost if only the `rest` of the keys existed. The key in question has signed
        nothing since `before`. Raises StorageUnavailable."""
        users = await self.list_unreadable(rest)
        opened = await self._store.count_opened(before, now)
        unused = await self._store.count_unused(before, now)
        return KeyNeeds(users, opened.count, opened.last_end, unused)

    async def list_unreadable(self, keys: Keys) -> tuple[str, ...]:
        """The names of users with secrets that none of these keys decrypts. Raises
        StorageUnavailable."""
        users = [*await self._list_factors(keys), *await self._list_credentials(keys)]
        return tuple(dict.fromkeys(users))

    async def _list_factors(self, keys: Keys) -> list[str]:
        """The names of users whose factors none of these keys decrypts."""
        vault, found = Vault(keys), []
        for sealed in await self._store.sealed_factors():
            try:
                vault.renew(sealed)
            except UnreadableSecret:
                found.append(sealed.username)
        return found

    async def _list_credentials(self, keys: Keys) -> list[str]:
        """The names of users with credentials that none of these keys decrypts."""
        sealing, found = Sealing(keys, PURPOSE), []
        for username, sealed in await self._store.sealed_credentials():
            try:
                sealing.open(sealed.password, sealed.owner)
            except UnreadableSecret:
                found.append(username)
        return found
