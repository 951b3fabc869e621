"""Secrets encrypted for storage: AES-256-GCM with a key of the instance, bound to their owner.

It knows bytes and keys; it must not know what the secrets are for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from doorward.accounts import randomness
from doorward.accounts.keys import Derive, Keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class UnreadableSecret(Exception):
    """No key of this instance decrypts it, or it belongs to another owner."""


class Sealing:
    """For one purpose: a value sealed for one cannot be opened for another (CVE-2024-47616)."""

    __slots__ = ("_ciphers",)

    def __init__(self, keys: Keys, purpose: str) -> None:
        self._ciphers = keys.follow(lambda derive: _build_ciphers(derive, purpose))

    def seal(self, secret: bytes, owner: str) -> bytes:
        """Nonce and ciphertext, with the first key. The owner is authenticated data, so a row
        copied to another user cannot be decrypted."""
        nonce = randomness.nonce()
        return nonce + self._ciphers()[0].encrypt(nonce, secret, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """The secret, with any of the keys. Raises UnreadableSecret."""
        return self._open(sealed, owner)[0]

    def renew(self, sealed: bytes, owner: str) -> bytes | None:
        """The same secret with the first key, None if it uses that already. Raises
        UnreadableSecret."""
        secret, position = self._open(sealed, owner)
        return None if position == 0 else self.seal(secret, owner)

    def _open(self, sealed: bytes, owner: str) -> tuple[bytes, int]:
        from cryptography.exceptions import InvalidTag

        nonce, text = sealed[: randomness.NONCE_BYTES], sealed[randomness.NONCE_BYTES :]
        for position, cipher in enumerate(self._ciphers()):
            try:
                return cipher.decrypt(nonce, text, owner.encode()), position
            except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
                continue
        raise UnreadableSecret


def _build_ciphers(derive: Derive, purpose: str) -> tuple[AESGCM, ...]:
    # cryptography takes 8 MiB, which a worker does not need before there are secrets
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return tuple(AESGCM(key) for key in derive(purpose))
