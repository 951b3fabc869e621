"""Recovery codes: eight characters each, for users who have lost every factor. Made, parsed,
digested.

It must not know which were used; storage has the digests of the unused ones.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from doorward import text
from doorward.accounts import randomness

COUNT = 12
_CODE = re.compile(f"[{randomness.RECOVERY_ALPHABET}]{{{randomness.RECOVERY_LENGTH}}}")


def new_codes() -> tuple[str, ...]:
    """Twelve different ones."""
    codes: set[str] = set()
    while len(codes) < COUNT:
        codes.add(randomness.recovery_code())
    return tuple(codes)


def normalise(code: str) -> str | None:
    """The code as it was made, None if it does not have the form of one. Case, spaces and dashes
    are ignored."""
    plain = text.code(code).lower()
    return plain if _CODE.fullmatch(plain) else None


def digest(key: bytes, code: str) -> bytes:
    """The stored form. Without the key, a hash of 38 bits could be reversed."""
    return hmac.digest(key, b"recovery " + code.encode("ascii"), hashlib.sha256)
