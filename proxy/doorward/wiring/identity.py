"""The headers that identify the user to each route's application, as the settings say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from doorward.accounts.keys import Keys
from doorward.gate.identity_policy import Tell
from doorward.rewrite.identity_headers import IdentityHeaders
from doorward.settings import Route

if TYPE_CHECKING:
    from doorward.accounts.sessions.assertions import AssertionKeys


def build_tells(routes: Iterable[Route], keys: Keys, issuer: str) -> tuple[Tell, ...]:
    """One for each route."""
    made: dict[str, AssertionKeys] = {}
    found: list[Tell] = []
    for route in routes:
        plain = IdentityHeaders(route.identity_headers, route.encoding)
        if route.assertion is None:
            found.append(plain)
            continue
        # PyJWT and what it needs of cryptography take 2 MiB
        from doorward.accounts.sessions.assertions import AssertionKeys
        from doorward.rewrite.signed_identity import SignedIdentity

        algorithm = route.assertion.algorithm
        if algorithm not in made:
            made[algorithm] = AssertionKeys(keys, algorithm)
        found.append(SignedIdentity(plain, route, made[algorithm], issuer))
    return tuple(found)
