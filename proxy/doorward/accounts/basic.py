"""Logins by HTTP Basic, for programs of users who have no second factor.

It knows logins, and that a result is remembered for a short time. It must not know what else a
request carries, or where passwords are accepted.
"""

from __future__ import annotations

import hmac

from doorward.accounts import randomness
from doorward.accounts.logins import Logins
from doorward.accounts.refusals import (
    LockedOut,
    Overloaded,
    Refusal,
    StorageUnavailable,
)
from doorward.accounts.session import EVERYTHING, TOKEN, ClientInfo, Found, Session
from doorward.accounts.user import User

KIND = "basic"
# A WebDAV client sends a request for each file, with the password in each.
KEPT_S = 300.0
# Numbers of sessions that exist only in memory, far from those of sessions and tokens.
_FIRST_NUMBER = -(1 << 62)


class BasicLogins:
    """`compute_key` represents name, password and address without revealing them. What is
    remembered for one address does not apply to another, which may or may not be locked out."""

    __slots__ = ("_key", "_logins")

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._key = randomness.key()

    def compute_key(self, name: bytes, password: bytes, address: str) -> bytes:
        """A keyed hash (HMAC-SHA-256) under a key of this process."""
        parts = (address.encode(), name, password)
        text = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return hmac.digest(self._key, text, "sha256")

    async def find(self, name: bytes, password: bytes, client: ClientInfo, now: float) -> Found:
        """A session for a client with this password and no second factor. It lasts KEPT_S, or until
        anything about its user changes. Raises LockedOut, Overloaded, StorageUnavailable."""
        try:
            user = await self._logins.authenticate_program(
                _decode(name), _decode(password), client=client, now=now
            )
        except (LockedOut, Overloaded, StorageUnavailable):
            raise
        except Refusal:
            return Found(None, known=False)
        key = self.compute_key(name, password, client.address)
        return Found(self._build_session(user, key, client, now), known=True)

    @staticmethod
    def _build_session(user: User, key: bytes, client: ClientInfo, now: float) -> Session:
        """The number is the same for the same name and password, so open streams continue when the
        password is checked again."""
        return Session(
            number=_FIRST_NUMBER - int.from_bytes(key[:7]),
            id=randomness.public_id(),
            user=user,
            iat=int(now),
            created_at=now,
            last_used_at=now,
            idle_timeout_s=None,
            expires_at=now + KEPT_S,
            remember=False,
            address=client.address,
            user_agent=client.user_agent,
            information="",
            kind=KIND,
            level=TOKEN,
            scope=EVERYTHING,
        )


def _decode(text: bytes) -> str:
    """UTF-8, which the challenge asks for (RFC 7617 2.1); else Latin-1, which older browsers
    send."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
