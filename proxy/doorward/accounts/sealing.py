"""Secrets encrypted for storage: AES-256-GCM under a key of the instance, bound to their owner.

It knows bytes and keys; what the secrets are for it must not know.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from doorward.accounts import randomness
from doorward.accounts.keys import Keys


class UnreadableSecret(Exception):
    """No key of this instance opens it, or it was another owner's."""


class Sealing:
    """For one purpose: what is sealed for one cannot be opened for another (CVE-2024-47616)."""

    __slots__ = ("_ciphers",)

    def __init__(self, keys: Keys, purpose: str) -> None:
        self._ciphers = keys.follow(lambda derive: tuple(AESGCM(key) for key in derive(purpose)))

    def seal(self, secret: bytes, owner: str) -> bytes:
        """Nonce and ciphertext, under the first key. The owner is authenticated along, so that a
        row copied to another user opens nothing."""
        nonce = randomness.nonce()
        return nonce + self._ciphers()[0].encrypt(nonce, secret, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """The secret, whichever key it is under. Raises UnreadableSecret."""
        return self._open(sealed, owner)[0]

    def renew(self, sealed: bytes, owner: str) -> bytes | None:
        """The same secret under the first key, None when it is that already. Raises
        UnreadableSecret."""
        secret, position = self._open(sealed, owner)
        return None if position == 0 else self.seal(secret, owner)

    def _open(self, sealed: bytes, owner: str) -> tuple[bytes, int]:
        nonce, text = sealed[: randomness.NONCE_BYTES], sealed[randomness.NONCE_BYTES :]
        for position, cipher in enumerate(self._ciphers()):
            try:
                return cipher.decrypt(nonce, text, owner.encode()), position
            except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
                continue
        raise UnreadableSecret
