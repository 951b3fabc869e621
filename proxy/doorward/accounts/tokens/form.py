"""The text form of an API token: `dw_`, its public id, the secret, six check digits.

The prefix and the check digits let secret scanners recognise a token. Knows the form, and the keyed
hash that is stored; must not know whose a token is.
"""

from __future__ import annotations

import hmac
import re
import zlib
from dataclasses import dataclass, field

from doorward.accounts import randomness
from doorward.accounts.keys import Keys

PURPOSE = "api token"
PREFIX = "dw_"
CHECK_LENGTH = 6  # a CRC-32 in base 62

# 58 characters, so that it cannot be mistaken for the bare token of a session, which has 43.
FORM = re.compile(
    rb"dw_([%b]{%d})([0-9A-Za-z]{%d})([0-9A-Za-z]{%d})"
    % (
        randomness.ALPHABET.encode(),
        randomness.ID_LENGTH,
        randomness.API_SECRET_LENGTH,
        CHECK_LENGTH,
    )
)


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token with a valid form, which may still be unknown."""

    id: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        body = f"{PREFIX}{self.id}{self.secret}"
        return body + _check_digits(body)


def new_text() -> TokenText:
    """A token that does not exist."""
    return TokenText(randomness.public_id(), randomness.api_secret())


def read_text(value: bytes) -> TokenText | None:
    """The token in these bytes, or None if the form or the check digits are wrong."""
    match = FORM.fullmatch(value)
    if match is None:
        return None
    found = TokenText(match[1].decode(), match[2].decode())
    return found if str(found).encode() == value else None


def _check_digits(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(randomness.REFRESH_ALPHABET))
        digits = randomness.REFRESH_ALPHABET[digit] + digits
    return digits


class TokenHashes:
    """Keyed hashes of secrets, so that a stolen database is useless without the key. The first key
    makes them, all verify."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys.follow(lambda derive: derive(PURPOSE))

    def make(self, text: TokenText) -> bytes:
        """HMAC-SHA-256 over id and secret, so that a hash copied to another row is invalid."""
        return self._hash(self._keys()[0], text)

    def matches(self, text: TokenText, digest: bytes) -> bool:
        """Whether this is the hash of this token, under any of the keys."""
        return any(hmac.compare_digest(self._hash(key, text), digest) for key in self._keys())

    @staticmethod
    def _hash(key: bytes, text: TokenText) -> bytes:
        return hmac.digest(key, f"{text.id} {text.secret}".encode(), "sha256")
