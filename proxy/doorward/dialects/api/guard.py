"""Access to the administration API: only with an administrator's token that has an admin scope.

Knows carriers and scopes of tokens; must not know what an operation does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from doorward.accounts.permissions import is_admin
from doorward.accounts.refusals import NotPermitted
from doorward.accounts.session import ClientInfo, Session
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.accounts.tokens.uses import TokenUses
from doorward.accounts.user import User
from doorward.dialects.context import Unauthenticated
from doorward.gate.accept import Client
from doorward.gate.tokens import admits_administration, read_authorization
from doorward.web.endpoint import get_client

READING = frozenset(("GET", "HEAD"))
NOT_FOR_THIS = "This token is not for the administration API."
READS_ONLY = "This token may only read: its scope is admin:read."


@dataclass(frozen=True, slots=True)
class _Use:
    """A request in the form that `TokenUses` needs."""

    address_text: str
    client: Client


@dataclass(frozen=True, slots=True)
class ApiGuard:
    """Queries storage for every request, so that no worker accepts a revoked token."""

    tokens: ApiTokens
    uses: TokenUses
    clock: Callable[[], float]

    async def find_actor(self, request: Request) -> User:
        """The administrator whose token is in this request. Raises Unauthenticated, NotPermitted,
        LockedOut, StorageUnavailable."""
        now, client = self.clock(), get_client(request)
        session = await self._find_session(request, client, now)
        self.uses.note(session, _Use(client.address, client), now)
        scope = session.scope
        if scope is None or not admits_administration(scope, request.method, client.address):
            raise NotPermitted(NOT_FOR_THIS)
        if not is_admin(session.user):
            raise NotPermitted
        if scope.admin != "write" and request.method not in READING:
            raise NotPermitted(READS_ONLY)
        return session.user

    async def _find_session(self, request: Request, client: Client, now: float) -> Session:
        lines = request.headers.getlist("authorization")
        token = read_authorization(lines[0].encode("latin-1")) if len(lines) == 1 else None
        if token is None or token.name is not None:  # browsers add Basic to any site's requests
            raise Unauthenticated
        asking = ClientInfo(client.address, client.user_agent)
        found = await self.tokens.find(token.value, token.name, asking, now)
        if found.session is None:
            raise Unauthenticated("expired" if found.known else "wrong")
        return found.session
