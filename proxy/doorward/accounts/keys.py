"""The secrets of the instance, and the keys each use derives from them.

It knows no file: `doorward.settings.key_ring` reads them. The first secret signs, all of them
verify. They may be replaced while the instance runs, so every use follows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32

# Verifiers know a new key before it signs assertions. They keep a key set for as long as its
# header says (300 s), or for ten minutes, whatever it says (jose; others for five).
NOTICE_S = 900.0

Made = TypeVar("Made")
Derive = Callable[[str], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Secret:
    """`since`: from when on it signs, in Unix seconds; 0 for one that always did. An urgent one is
    given no notice."""

    value: bytes = field(repr=False)
    since: float = 0.0
    is_urgent: bool = False

    def is_due(self, now: float, notice_s: float) -> bool:
        return self.since + (0.0 if self.is_urgent else notice_s) <= now


def arrange(secrets: Sequence[Secret], now: float, notice_s: float = 0.0) -> tuple[bytes, ...]:
    """The secrets, newest first as given, with the one that signs now moved to the front: the
    newest that is due for `notice_s`. The last one always is."""
    first = next((each for each in secrets if each.is_due(now, notice_s)), secrets[-1])
    return (first.value, *(each.value for each in secrets if each is not first))


class Keys:
    """One derived key per secret and purpose (HKDF-SHA-256, RFC 5869), the secrets' order kept.

    The purpose is part of the derivation, so that a value made for one use is nothing in another
    (CVE-2024-47616). `published` has the same secrets for what others verify: there a new one signs
    only once it is known.
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
        """The same secrets, not replaced with these."""
        return Keys(self._secrets, self.published._secrets)

    def is_same(self, other: Keys) -> bool:
        """Whether the same secrets sign and verify, here and at others."""
        mine, theirs = self.published._secrets, other.published._secrets
        return self._secrets == other._secrets and mine == theirs

    def replace(self, other: Keys) -> None:
        """Have these secrets from now on; whatever follows this value does, too."""
        if self.published is not self:
            self.published.replace(other.published)
        self._secrets = other._secrets

    def signs_as(self, other: Keys) -> bool:
        """Whether the same secret signs."""
        return self._secrets[0] == other._secrets[0]

    def lacks_any(self, other: Keys) -> bool:
        """Whether `other` has a secret that is not among these."""
        return not set(other._secrets) <= set(self._secrets)

    def follow(self, make: Callable[[Derive], Made]) -> Followed[Made]:
        """What `make` makes of keys: it is given a function from a purpose to the keys of 32 bytes
        for it, the one to sign with first. There is no other way to a key, so that none is kept
        that was retired."""
        return Followed(self, make)

    def _derive(self, purpose: str) -> tuple[bytes, ...]:
        info = f"doorward {purpose}".encode()
        return tuple(
            HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)
            for secret in self._secrets
        )


class Followed(Generic[Made]):
    """Something made of keys, made again when it is asked for after they were replaced."""

    __slots__ = ("_keys", "_made", "_make", "_of")

    def __init__(self, keys: Keys, make: Callable[[Derive], Made]) -> None:
        self._keys = keys
        self._make = make
        self._of: tuple[bytes, ...] = keys._secrets
        self._made = make(keys._derive)

    def __call__(self) -> Made:
        if self._of is not self._keys._secrets:
            self._of = self._keys._secrets
            self._made = self._make(self._keys._derive)
        return self._made
