"""Codes of authenticator apps (RFC 6238): SHA-1, six digits, thirty seconds.

The only importer of pyotp. It computes; it must not know which codes were accepted before, or how
often somebody tried.
"""

from __future__ import annotations

import base64
import hmac
import re

import pyotp

from doorward import text
from doorward.accounts import randomness

STEP_S = 30
# One step either way: RFC 6238 5.2 allows for the network's delay and for clocks that differ.
WINDOW = 1
_CODE = re.compile(r"[0-9]{6}")


def new_secret() -> str:
    """160 random bits in base32."""
    return base64.b32encode(randomness.totp_secret()).decode("ascii")


def normalise_secret(secret: str) -> str | None:
    """A secret as a client or a file may write it; None if it is not valid.

    Fewer than 112 bits are refused (NIST SP 800-63B-4 3.1.4.1).
    """
    plain = text.code(secret).upper().rstrip("=")
    try:
        pyotp.TOTP(plain)
    except (ValueError, UnicodeError):
        return None
    return plain


def provisioning_uri(secret: str, username: str, issuer: str) -> str:
    """The URI that apps read from a QR code: `otpauth://totp/Issuer:name?secret=…&issuer=…`."""
    return pyotp.TOTP(secret, name=username, issuer=issuer).provisioning_uri()


def step_at(now: float) -> int:
    """The number of the thirty-second step that contains `now` (RFC 6238 4.2)."""
    return int(now // STEP_S)


def code_at(secret: str, step: int) -> str:
    """The code of this step."""
    # By the step's number, not by a date: pyotp reads a naive date in the machine's time zone.
    return pyotp.TOTP(secret, interval=STEP_S).generate_otp(step)


def matched_step(secret: str, code: str, now: float) -> int | None:
    """The step around `now` with this code. Takes the same time whether and where it matches."""
    digits = text.code(code)
    if _CODE.fullmatch(digits) is None:
        return None
    matched = None
    for step in range(max(0, step_at(now) - WINDOW), step_at(now) + WINDOW + 1):
        if hmac.compare_digest(code_at(secret, step), digits):
            matched = step
    return matched
