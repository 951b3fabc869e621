"""Session tokens: signed for the cookie, hashed for storage. The only door to itsdangerous.

It knows the form of a token; it must not know the session behind it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm

from doorward.accounts.keys import Keys

PURPOSE = "session cookie"
TOKEN = re.compile(rb"[A-Za-z0-9_-]{43}")
# Longer than any of Doorward's values: longer input is refused without a hash.
VALUE_BYTES = 128


def is_token(value: bytes) -> bool:
    """Whether this has the form of a bare session token; not whether one exists."""
    return TOKEN.fullmatch(value) is not None


class _Hmac(SigningAlgorithm):
    """HMAC-SHA-256 in one call, because every forged cookie costs one."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


def _build_signer(keys: Sequence[bytes]) -> Signer:
    """itsdangerous expects the newest key last. The keys are derived already, hence "none"."""
    return Signer(list(reversed(keys)), sep=".", key_derivation="none", algorithm=_Hmac())


class Tokens:
    """Signs and recognises cookie values: `<43 characters>.<signature>`."""

    __slots__ = ("_signer",)

    def __init__(self, keys: Keys) -> None:
        self._signer = keys.follow(lambda derive: _build_signer(derive(PURPOSE)))

    def sign(self, token: str) -> str:
        """The cookie value for this token."""
        return self._signer().sign(token).decode("ascii")

    def unsign(self, value: bytes) -> str | None:
        """The token in this cookie value, or None if Doorward did not sign it."""
        if len(value) > VALUE_BYTES:
            return None
        token, _, signature = value.rpartition(b".")
        # Not `unsign`: the exception that it raises costs as much as the HMAC.
        if not (is_token(token) and self._signer().verify_signature(token, signature)):
            return None
        return token.decode("ascii")

    @staticmethod
    def digest(token: str) -> bytes:
        """What storage keeps of a token: SHA-256, enough for 256 random bits."""
        return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
