"""Access tokens: signed notes (JWT, RFC 7519) that name a session for a while.

They name a session. Whether it is still valid is looked up at each use. It must not know how they
are signed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# {"typ":"JWT","alg":"HS256"}: all of Doorward's tokens begin with this, and others are never
# parsed, whether their algorithm is `none` or another (RFC 8725 3.1).
HEADER = b"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9"
# About 180 characters of claims; an HMAC-SHA-256 has 43.
FORM = re.compile(HEADER + rb"\.[A-Za-z0-9_-]{1,512}\.[A-Za-z0-9_-]{43}")


def has_form(value: bytes) -> bool:
    """Whether this looks like one of Doorward's tokens; not whether it is one."""
    return FORM.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """The content of a token. Times are whole Unix seconds; `user` is a number."""

    session: str
    user: int
    issued_at: int
    expires_at: int
    renewals: int = 0

    def is_expired(self, now: float) -> bool:
        return now >= self.expires_at

    def is_due(self, now: float) -> bool:
        """Whether it is valid now: issued, and not expired (no leeway)."""
        return self.issued_at <= now and not self.is_expired(now)
