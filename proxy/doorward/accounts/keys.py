"""The secrets of the instance, and the keys each use derives from them.

The first secret signs, all of them verify. They can be replaced while the instance runs, so every
use follows them. Must not know files: `doorward.settings.key_ring` reads them.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

# Verifiers have to know a new key before it signs assertions. They cache the key set for as long as
# its header says (300 s), or for a fixed time: ten minutes (jose) or five (others).
NOTICE_S = 900.0

Made = TypeVar("Made")
Derive = Callable[[str], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Secret:
    """`since`: when it begins to sign, in Unix seconds; 0 for one that always did. An urgent one
    signs without notice."""

    value: bytes = field(repr=False)
    since: float = 0.0
    is_urgent: bool = False

    def is_due(self, now: float, notice_s: float) -> bool:
        return self.since + (0.0 if self.is_urgent else notice_s) <= now


def arrange(secrets: Sequence[Secret], now: float, notice_s: float = 0.0) -> tuple[bytes, ...]:
    """The secrets in the given order, newest first, except that the one that signs now comes first.
    That is the newest one that has been due for `notice_s`; the oldest always is."""
    first = next((each for each in secrets if each.is_due(now, notice_s)), secrets[-1])
    return (first.value, *(each.value for each in secrets if each is not first))


class Keys:
    """One derived key per secret and purpose (HKDF-SHA-256, RFC 5869), in the order of the secrets.

    The purpose is part of the derivation, so that a value made for one use is invalid for another
    (CVE-2024-47616). `published` has the same secrets for values that others verify: there, a new
    one signs only once they know it.
    """

    __slots__ = ("_secrets", "published")

    def __init__(
        self, secrets: tuple[bytes, ...], published: tuple[bytes, ...] | None = None
    ) -> None:
        if not secrets or not all(secrets):
            raise ValueError("at least one key is needed, and none may be empty")
        self._secrets = secrets
        self.published = self if published is None else Keys(published)

    def __repr__(self) -> str:
        return f"Keys({len(self._secrets)} secrets)"

    def copy(self) -> Keys:
        """A copy that does not change when these are replaced."""
        return Keys(self._secrets, self.published._secrets)

    def is_same(self, other: Keys) -> bool:
        """Whether the same secrets sign and verify, here and at verifiers."""
        mine, theirs = self.published._secrets, other.published._secrets
        return self._secrets == other._secrets and mine == theirs

    def replace(self, other: Keys) -> None:
        """Use these secrets from now on, for everything that follows this object."""
        if self.published is not self:
            self.published.replace(other.published)
        self._secrets = other._secrets

    def signs_as(self, other: Keys) -> bool:
        """Whether the same secret signs in both."""
        return self._secrets[0] == other._secrets[0]

    def lacks_any(self, other: Keys) -> bool:
        """Whether `other` contains a secret that is missing here."""
        return not set(other._secrets) <= set(self._secrets)

    def follow(self, make: Callable[[Derive], Made]) -> Followed[Made]:
        """An object that `make` builds from keys. `make` gets a function that returns the 32-byte
        keys for a purpose, the one that signs first. There is no other way to get a key, so that no
        retired one is kept."""
        return Followed(self, make)

    def _derive(self, purpose: str) -> tuple[bytes, ...]:
        info = f"doorward {purpose}".encode()
        return tuple(_derive_key(secret, info) for secret in self._secrets)


def _derive_key(secret: bytes, info: bytes) -> bytes:
    """32 bytes (HKDF-SHA-256). cryptography has the same function, but takes 8 MiB."""
    extracted = hmac.digest(bytes(32), secret, "sha256")  # RFC 5869 2.2; no salt is zeros
    return hmac.digest(extracted, info + b"\x01", "sha256")  # 2.3; one block is the whole key


class Followed(Generic[Made]):
    """An object built from keys when it is first used, and again after they were replaced."""

    __slots__ = ("_keys", "_made", "_make", "_of")

    def __init__(self, keys: Keys, make: Callable[[Derive], Made]) -> None:
        self._keys = keys
        self._make = make
        self._of: tuple[bytes, ...] = ()
        self._made: Made

    def __call__(self) -> Made:
        if self._of is not self._keys._secrets:
            self._of = self._keys._secrets
            self._made = self._make(self._keys._derive)
        return self._made
