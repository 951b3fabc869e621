"""Hands a session over to a host of another root domain, to which browsers do not send the portal's
cookie.

Knows codes, the browser's nonce and tokens that are valid on one host; must not know cookies or
forms. A host's token identifies the same session as the portal's, but is a secret of its own: a
stolen one is valid on that host only, and it ends with the session.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Protocol

from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import REFUSED, Event, Kind, build_event
from doorward.accounts.keys import Keys
from doorward.accounts.refusals import SessionNotFound
from doorward.accounts.session import FULL, ClientInfo, Found, Opened, Session
from doorward.accounts.sessions.tokens import is_token
from doorward.accounts.users.directory import Directories

CODE_S = 60.0  # from the page with the code to the host that redeems it
NONCE_S = 600.0  # from leaving the host until coming back, with a login in between
MOST_CODES = 8  # codes of one session at a time, for as many tabs
MOST_TOKENS = 64  # tokens of one session: hosts, and cookies that browsers lost
PURPOSE = "host cookie"
# SHA-256 in base64url without padding.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Code:
    """The stored form of a code: digests of it, and of the host and browser that it is for."""

    digest: bytes
    session: int
    binding: bytes
    expires_at: float


class HandoverStore(Protocol):
    """Every method raises StorageUnavailable."""

    async def add_code(self, code: Code, most: int, now: float) -> None:
        """Store it, and keep only the newest `most` of its session."""

    async def take_code(
        self,
        digest: bytes,
        binding: bytes,
        token: bytes,
        most: int,
        now: float,
        event: Event,
        failed: Event,
    ) -> Session | None:
        """Delete the code in any case. If it was for this host and browser and its session is live
        and full, store the token for that session, keep the newest `most` of them, and write
        `event` with the session's user. Otherwise write `failed`, if there was such a code."""

    async def by_token(self, digest: bytes) -> Session | None:
        """The session with this token of a host, including ended ones."""

    async def drop_token(self, digest: bytes, now: float) -> None:
        """Delete a token of a host."""

    async def purge_codes(self, now: float) -> None:
        """Delete expired codes."""


class HostTokens:
    """Signs and verifies cookie values for one host at a time. The host is part of the signed data,
    so a value is invalid on another host."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys.follow(lambda derive: derive(PURPOSE))

    def sign(self, token: str, host: str) -> str:
        return f"{token}.{_signature(self._keys()[0], token, host)}"

    def unsign(self, value: bytes, host: str) -> str | None:
        """The token in this cookie value, or None if it was not signed for this host."""
        token, _, signature = value.decode("latin-1").partition(".")
        if not is_token(token.encode("latin-1")) or not signature.isascii():
            return None
        expected = [_signature(key, token, host) for key in self._keys()]
        return token if any([hmac.compare_digest(signature, one) for one in expected]) else None


def _signature(key: bytes, token: str, host: str) -> str:
    made = hmac.digest(key, f"{token}\n{host}".encode("utf-8", "surrogatepass"), "sha256")
    return urlsafe_b64encode(made).rstrip(b"=").decode()


def make_nonce() -> str:
    """The nonce that a browser keeps while it is at the portal."""
    return randomness.session_token()


def build_challenge(nonce: str) -> str:
    """The challenge for a nonce. It appears in addresses, and does not reveal the nonce (as in RFC
    7636 4.2)."""
    return urlsafe_b64encode(_digest(nonce)).rstrip(b"=").decode()


def is_challenge(text: str) -> bool:
    return _CHALLENGE.fullmatch(text) is not None


class Handovers:
    """All hand-overs. Every method raises StorageUnavailable."""

    __slots__ = ("_directories", "_store", "host_tokens")

    def __init__(self, store: HandoverStore, directories: Directories, keys: Keys) -> None:
        self._store = store
        self._directories = directories
        self.host_tokens = HostTokens(keys)

    async def issue(self, session: Session, host: str, challenge: str, now: float) -> str:
        """A code that hands this session over to one host, for the browser with this challenge's
        nonce. The code is available only here. Raises SessionNotFound for one that is not full."""
        if session.level is not FULL:  # CVE-2026-32246: an unfinished login does not count
            raise SessionNotFound
        code = randomness.session_token()
        kept = Code(_digest(code), session.number, _digest(challenge, host), now + CODE_S)
        await self._store.add_code(kept, MOST_CODES, now)
        return code

    async def redeem(
        self, code: str, host: str, nonce: str | None, client: ClientInfo, now: float
    ) -> Opened | None:
        """The session, with its own token for this host; None if the code has expired, was used, or
        is for another host or browser. Presenting a code uses it up, even without a nonce.

        A code that never existed is neither counted nor recorded: nobody guesses 256 bits, but any
        site can make a visitor's browser send some, which would lock the visitor's network out.
        """
        if not is_token(code.encode()):
            return None
        token = randomness.session_token()
        # No code is bound to b"": a challenge can also be made from an empty nonce.
        binding = b"" if nonce is None else _digest(build_challenge(nonce), host)
        session = await self._store.take_code(
            _digest(code),
            binding,
            _digest(token, host),
            MOST_TOKENS,
            now,
            build_event(Kind.HANDED_OVER, now, client=client, detail=host),
            build_event(Kind.HANDOVER_FAILED, now, client=client, outcome=REFUSED, detail=host),
        )
        if session is None:
            return None
        session.user = self._directories.complete(session.user)
        if not session.is_live(now):
            return None
        return Opened(session, token)

    async def by_token(self, token: str, host: str, now: float) -> Found:
        """The live session with this token of this host."""
        session = await self._store.by_token(_digest(token, host))
        if session is None:
            return Found(None, known=False)
        session.user = self._directories.complete(session.user)
        if session.is_live(now) and session.level is FULL:
            return Found(session, known=True)
        return Found(None, known=True, banned=session.is_suspended(now))

    async def forget(self, token: str, host: str, now: float) -> None:
        """End the token; its session continues elsewhere."""
        await self._store.drop_token(_digest(token, host), now)

    async def purge(self, now: float) -> None:
        await self._store.purge_codes(now)


def _digest(secret: str, host: str = "") -> bytes:
    """SHA-256, enough for 256 random bits; over the host's name, too, for a secret that is valid on
    one host."""
    text = f"{secret}\n{host}" if host else secret
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
