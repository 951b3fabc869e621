"""Sessions found without their token: by an access token's claim, by a refresh secret.

It knows no carrier and no wire format; it learns of ended sessions in the same way as all others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from doorward.accounts import randomness
from doorward.accounts.keys import Keys
from doorward.accounts.names import clip
from doorward.accounts.refusals import SessionNotFound
from doorward.accounts.sessions.sessions import FULL, Found, Lifetimes, Session
from doorward.accounts.users.directory import Directories

if TYPE_CHECKING:
    from doorward.accounts.sessions.access_tokens import AccessTokens

# Longer ones do not exist; shorter ones do not either, but storage may say so.
SECRET_CHARACTERS = 256


class AccessStore(Protocol):
    """Finds sessions, including ended ones. Every method raises StorageUnavailable."""

    async def by_id(self, public_id: str) -> Session | None: ...

    async def by_secret(self, digest: bytes) -> Session | None: ...

    async def keep_secret(self, number: int, digest: bytes, now: float) -> bool:
        """False, and nothing changed, when the session has ended."""

    async def renew(self, number: int, expires_at: float, information: str, now: float) -> bool:
        """Used now, with another end and description; False if it has ended."""


class AccessSecrets:
    """`tokens` names sessions for an hour; a refresh secret gets the next token."""

    __slots__ = ("_directories", "_keys", "_store", "_tokens")

    def __init__(self, store: AccessStore, directories: Directories, keys: Keys) -> None:
        self._store = store
        self._directories = directories
        self._keys = keys
        self._tokens: AccessTokens | None = None

    @property
    def tokens(self) -> AccessTokens:
        if self._tokens is None:
            # PyJWT takes 1 MiB, and only one dialect has access tokens
            from doorward.accounts.sessions.access_tokens import AccessTokens

            self._tokens = AccessTokens(self._keys)
        return self._tokens

    async def by_id(self, public_id: str, now: float) -> Found:
        """The live session with this public id. An id proves nothing: only for ids that Doorward
        signed."""
        if not randomness.is_public_id(public_id):
            return Found(None, known=False)
        return self._found(await self._store.by_id(public_id), now)

    async def by_secret(self, secret: str, now: float) -> Found:
        """The live session with this refresh secret."""
        if len(secret) > SECRET_CHARACTERS:
            return Found(None, known=False)
        return self._found(await self._store.by_secret(_digest(secret)), now)

    def _found(self, session: Session | None, now: float) -> Found:
        if session is None:
            return Found(None, known=False)
        session.user = self._directories.complete(session.user)
        if session.is_live(now):
            return Found(session, known=True)
        return Found(None, known=True, banned=session.is_suspended(now))

    async def make_secret(self, session: Session, now: float) -> str:
        """A refresh secret for the session, which is available only here. An older one becomes
        invalid.

        Raises SessionNotFound if the session has ended, or is not complete.
        """
        secret = randomness.refresh_secret()
        if session.level is not FULL or not await self._store.keep_secret(
            session.number, _digest(secret), now
        ):
            raise SessionNotFound
        return secret

    async def renew(
        self, session: Session, *, lifetimes: Lifetimes, information: str, now: float
    ) -> None:
        """The session's lifetime begins again, as far as `max_lifetime_s` from its opening allows.

        Raises SessionNotFound if it has ended.
        """
        end = now + lifetimes.whole_s(session.remember)
        if lifetimes.max_lifetime_s is not None:
            end = min(end, session.created_at + lifetimes.max_lifetime_s)
        if not await self._store.renew(session.number, end, clip(information), now):
            raise SessionNotFound


def _digest(secret: str) -> bytes:
    """The stored form: SHA-256, which is enough for 380 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
