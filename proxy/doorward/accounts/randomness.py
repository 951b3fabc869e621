"""The only source of randomness: ids, tokens, generated passwords.

All of it comes from the operating system's generator (CVE-2024-21495 shows why).
"""

from __future__ import annotations

import itertools
import os
import secrets
import string

# Without 0 O 1 I l U V u and similar characters, so that an id can be read aloud or typed from
# paper.
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz"
ID_LENGTH = 17
TOKEN_BYTES = 32
PASSWORD_LENGTH = 20  # 115 bits of this alphabet
REFRESH_ALPHABET = string.digits + string.ascii_letters
REFRESH_LENGTH = 64  # 381 bits: the length its clients know
API_SECRET_LENGTH = 32  # 190 bits
RECOVERY_ALPHABET = "23456789abcdefghjkmnpqrstwxyz"  # typed from paper, in whatever case
RECOVERY_LENGTH = 8  # 38 bits: guesses are limited by the attempt budget, not by a hash
MAIL_DIGITS = 6
TOTP_SECRET_BYTES = 20  # RFC 4226 4, R6: 160 bits recommended
KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D 8.2.2; random ones are safe for 2^32 values of one key


def _letters(count: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(count))


def public_id() -> str:
    """17 characters without look-alikes: the public id of a user or session."""
    return _letters(ID_LENGTH)


def is_public_id(text: str) -> bool:
    """Whether this has the form of an id; not whether it exists."""
    return len(text) == ID_LENGTH and all(letter in ALPHABET for letter in text)


def session_token() -> str:
    """The secret of a session: 32 bytes as 43 characters of base64url."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def refresh_secret() -> str:
    """The secret that gets a session its next access token: 64 letters and digits."""
    return "".join(secrets.choice(REFRESH_ALPHABET) for _ in range(REFRESH_LENGTH))


def api_secret() -> str:
    """The secret of an API token: 32 letters and digits."""
    return "".join(secrets.choice(REFRESH_ALPHABET) for _ in range(API_SECRET_LENGTH))


def password() -> str:
    """A generated password that can be typed."""
    return _letters(PASSWORD_LENGTH)


# Request ids need to be unique, across processes and restarts too, but guessing one is useless: a
# random stem and a counter cost a tenth of 16 fresh random bytes.
_STEM = secrets.token_hex(8)
_COUNTER = itertools.count(1)


def _renew_stem() -> None:
    global _STEM
    _STEM = secrets.token_hex(8)


os.register_at_fork(after_in_child=_renew_stem)  # otherwise two workers would share ids


def request_id() -> str:
    """24 hexadecimal characters and more, never the same twice."""
    return f"{_STEM}{next(_COUNTER):08x}"


def marker_bytes() -> bytes:
    """The content of the revocation marker after a change: 16 new bytes."""
    return secrets.token_bytes(16)


def totp_secret() -> bytes:
    """The secret that an authenticator app shares."""
    return secrets.token_bytes(TOTP_SECRET_BYTES)


def recovery_code() -> str:
    """Eight characters that replace a factor once."""
    return "".join(secrets.choice(RECOVERY_ALPHABET) for _ in range(RECOVERY_LENGTH))


def mail_code() -> str:
    """Six digits to send by e-mail."""
    return f"{secrets.randbelow(10**MAIL_DIGITS):0{MAIL_DIGITS}}"


def key() -> bytes:
    """A key of 256 bits."""
    return secrets.token_bytes(KEY_BYTES)


def nonce() -> bytes:
    """The nonce that makes two ciphertexts of one text differ."""
    return secrets.token_bytes(NONCE_BYTES)
