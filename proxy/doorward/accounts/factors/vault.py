"""The encrypted secrets of users: TOTP secrets, and the keys of code digests.

It knows whose a secret is and which key encrypts it; it must not know what is computed with it.
"""

from __future__ import annotations

from dataclasses import replace

from doorward.accounts import randomness
from doorward.accounts.factors.records import Sealed
from doorward.accounts.keys import Keys
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.sealing import Sealing, UnreadableSecret
from doorward.accounts.user import User


class Vault:
    """A secret that no key decrypts raises StorageUnavailable: the start refuses such a database,
    so the key must have been removed since."""

    __slots__ = ("_code_keys", "_secrets")

    def __init__(self, keys: Keys) -> None:
        self._secrets = Sealing(keys, "totp secret")
        self._code_keys = Sealing(keys, "code key")

    def seal_secret(self, user: User, secret: str) -> bytes:
        return self._secrets.seal(secret.encode("ascii"), _owner(user.number))

    def secret(self, user: User, sealed: bytes) -> str:
        """The TOTP secret, in base32."""
        return _open(self._secrets, user, sealed).decode("ascii")

    def new_code_key(self, user: User) -> bytes:
        """Sealed."""
        return self._code_keys.seal(randomness.key(), _owner(user.number))

    def code_key(self, user: User, sealed: bytes) -> bytes:
        return _open(self._code_keys, user, sealed)

    def renew(self, old: Sealed) -> Sealed:
        """The same secrets, encrypted with the first key. Raises UnreadableSecret with the user's
        name."""
        try:
            return self._renew(old, _owner(old.user))
        except UnreadableSecret as error:
            if old.is_used:
                raise UnreadableSecret(old.username) from error
            return replace(old, code_key=self._code_keys.seal(randomness.key(), _owner(old.user)))

    def _renew(self, old: Sealed, owner: str) -> Sealed:
        totp = None if old.totp is None else self._secrets.renew(old.totp, owner)
        code_key = self._code_keys.renew(old.code_key, owner)
        return replace(old, totp=totp or old.totp, code_key=code_key or old.code_key)


def _owner(user: int) -> str:
    return f"user {user}"


def _open(sealing: Sealing, user: User, sealed: bytes) -> bytes:
    try:
        return sealing.open(sealed, _owner(user.number))
    except UnreadableSecret as error:
        raise StorageUnavailable from error
