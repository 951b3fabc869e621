"""Access tokens, signed and verified. With the assertions, the only door to PyJWT.

It knows claims and keys; it must not know whether a session is still valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jwt

from doorward.accounts.keys import Derive, Keys
from doorward.accounts.sessions.access_token import AccessToken, has_form
from doorward.accounts.sessions.sessions import Session
from doorward.bounds import make_room

PURPOSE = "access token"
ALGORITHM = "HS256"
ISSUER = "lumen-jwt"  # what the documented API has always said
SESSION_CLAIM = "session"  # private (RFC 7519 4.3): the session's public id
RENEWALS_CLAIM = "renewals"  # of the session, at the time; not there while it is 0


READ_LIMIT = 4096  # tokens in memory, each for one client that sends it again and again


class _Keys:
    """The derived keys, and the tokens that were verified with them: verifying one takes as long as
    forwarding a request."""

    __slots__ = ("all", "verified")

    def __init__(self, derive: Derive) -> None:
        self.all = derive(PURPOSE)
        self.verified: dict[bytes, AccessToken] = {}


class AccessTokens:
    """The first key signs, all verify."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys.follow(_Keys)

    def issue(self, session: Session, life_s: float, now: float) -> str:
        """A token for this session; `life_s` is cut to whole seconds."""
        claims = {
            "iss": ISSUER,
            "sub": session.user.number,
            "iat": int(now),
            "exp": int(now) + int(life_s),
            SESSION_CLAIM: session.id,
        }
        if session.renewals:
            claims[RENEWALS_CLAIM] = session.renewals
        return jwt.encode(claims, self._keys().all[0], ALGORITHM, sort_headers=False)

    def read(self, value: bytes) -> AccessToken | None:
        """The content of this token, expired or not; None if Doorward did not issue it."""
        keys = self._keys()
        token = keys.verified.get(value)
        if token is None and has_form(value):
            claims = _verify(value, keys.all)
            token = None if claims is None else _read(claims)
            if token is not None:
                make_room(keys.verified, READ_LIMIT)
                keys.verified[value] = token
        return token


# Clients compare times with their own clocks; `exp` is a number as documented.
_SIGNATURE_ONLY: Any = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_sub": False,
    "verify_aud": False,
}


def _verify(value: bytes, keys: Sequence[bytes]) -> dict[str, Any] | None:
    for key in keys:
        try:
            return jwt.decode(value, key, [ALGORITHM], options=_SIGNATURE_ONLY)
        except jwt.InvalidTokenError:
            continue
    return None


def _read(claims: dict[str, Any]) -> AccessToken | None:
    session = claims.get(SESSION_CLAIM)
    numbers = [claims.get(name) for name in ("sub", "iat", "exp")]
    numbers.append(claims.get(RENEWALS_CLAIM, 0))
    if not isinstance(session, str) or not all(type(number) is int for number in numbers):
        return None
    return AccessToken(session, *numbers)  # type: ignore[arg-type]
