"""The encrypted secrets of users, sealed and opened: TOTP secrets, and the keys of code digests.

It knows whose a secret is and under which key; what is computed with it, it must not know.
"""

from __future__ import annotations

from dataclasses import replace

from doorward.accounts import randomness
from doorward.accounts.factors.records import Sealed
from doorward.accounts.keys import Keys
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.sealing import Sealing, Unreadable
from doorward.accounts.user import User


class Vault:
    """A secret that no key opens ends as StorageUnavailable: the start refuses such a database, so
    the key was lost since."""

    __slots__ = ("_code_keys", "_secrets")

    def __init__(self, keys: Keys) -> None:
        self._secrets = Sealing(keys, "totp secret")
        self._code_keys = Sealing(keys, "code key")

    def seal_secret(self, user: User, secret: str) -> bytes:
        return self._secrets.seal(secret.encode("ascii"), _owner(user.number))

    def secret(self, user: User, sealed: bytes) -> str:
        """The TOTP secret, in base32."""
        return _opened(self._secrets, user, sealed).decode("ascii")

    def new_code_key(self, user: User) -> bytes:
        """Sealed."""
        return self._code_keys.seal(randomness.key(), _owner(user.number))

    def code_key(self, user: User, sealed: bytes) -> bytes:
        return _opened(self._code_keys, user, sealed)

    def renewed(self, old: Sealed) -> Sealed:
        """The same secrets, all under the first key. Raises Unreadable with the user's name."""
        try:
            return self._renewed(old, _owner(old.user))
        except Unreadable as error:
            if old.is_used:
                raise Unreadable(old.username) from error
            return replace(old, code_key=self._code_keys.seal(randomness.key(), _owner(old.user)))

    def _renewed(self, old: Sealed, owner: str) -> Sealed:
        totp = None if old.totp is None else self._secrets.renewed(old.totp, owner)
        code_key = self._code_keys.renewed(old.code_key, owner)
        return replace(old, totp=totp or old.totp, code_key=code_key or old.code_key)


def _owner(user: int) -> str:
    return f"user {user}"


def _opened(sealing: Sealing, user: User, sealed: bytes) -> bytes:
    try:
        return sealing.open(sealed, _owner(user.number))
    except Unreadable as error:
        raise StorageUnavailable from error
