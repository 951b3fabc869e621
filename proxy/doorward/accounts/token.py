"""One API token as values: its user, scope, expiry and last use.

Must not know how the secret is written or where it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from doorward.accounts.session import EVERYTHING, TokenScope
from doorward.accounts.user import User

EXPIRY_WARNING_S = 14 * 86_400.0


@dataclass(frozen=True, slots=True)
class NewToken:
    """The requested token. If `life_s` is None, it never expires."""

    name: str
    scope: TokenScope = EVERYTHING
    life_s: float | None = None


@dataclass(frozen=True, slots=True)
class TokenDraft:
    """What storage needs to keep a new token. `digest` is a keyed hash of its secret."""

    id: str
    user: User
    name: str
    scope: TokenScope
    digest: bytes = field(repr=False)
    created_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A stored token. Times are Unix seconds, None is never; `address` and `user_agent` are those
    of the last use."""

    number: int
    id: str
    user: User
    name: str
    scope: TokenScope
    digest: bytes = field(repr=False)
    created_at: float
    expires_at: float | None
    last_used_at: float | None = None
    address: str = ""
    user_agent: str = ""
    ended_at: float | None = None
    ended_by: str | None = None  # a word for why, or the id of the user who ended it

    def is_over(self, now: float) -> bool:
        """Whether it was revoked or has expired."""
        return self.ended_at is not None or (self.expires_at is not None and now >= self.expires_at)

    def expires_soon(self, now: float) -> bool:
        """Whether its owner should be warned that it expires."""
        return self.expires_at is not None and now > self.expires_at - EXPIRY_WARNING_S


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A new token and its text, which is available only here."""

    token: ApiToken
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenUse:
    """The last use of a token, by its number."""

    number: int
    at: float
    address: str
    user_agent: str
