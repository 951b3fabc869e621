"""The identity headers of a route that includes a signed assertion, which its application can
verify.

Knows when an assertion is renewed; must not know its content.
"""

from __future__ import annotations

from typing import Any

import structlog

from doorward.accounts.sessions.assertions import LIFE_S, AssertionKeys
from doorward.accounts.sessions.sessions import Session
from doorward.gate.identity_policy import UnfitIdentity
from doorward.rewrite.identity_headers import ASSERTION, VALUE_BYTES, IdentityHeaders
from doorward.settings import Route

_log = structlog.get_logger("doorward.gate")

# Half of its lifetime: an assertion sent just before its renewal is valid for another minute.
RENEWED_AFTER_S = LIFE_S / 2


class SignedIdentity:
    """Identity headers with a signed token that identifies the user, renewed once a minute for each
    session."""

    def __init__(self, plain: IdentityHeaders, route: Route, keys: AssertionKeys, issuer: str):
        assert route.assertion is not None
        self._plain = plain
        self._keys = keys
        self._issuer = issuer
        self._audience = route.assertion.audience

    def __call__(self, session: Session, now: float) -> bytes:
        """The header lines. Raises UnfitIdentity."""
        known: Any = session.derived.get(self)
        if known is not None and 0 <= now - known[0] < RENEWED_AFTER_S:
            lines: bytes = known[1]
            return lines
        token = self._keys.sign(session, self._issuer, self._audience, now)
        if len(token) > VALUE_BYTES:
            reason = f"is longer than {VALUE_BYTES} bytes"
            user = session.user.username
            _log.warning("identity_unfit", user=user, header=ASSERTION, reason=reason)
            raise UnfitIdentity(reason)
        lines = b"%b%b: %b\r\n" % (
            self._plain(session, now),
            ASSERTION.encode(),
            token.encode(),
        )
        session.derived[self] = now, lines
        return lines
