"""Everybody's sessions, tokens and lock-outs in the administration API.

Knows the endpoints' order of checks; the core decides who may do what.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.administration import Administration
from doorward.accounts.passwords.regulation import NO_ADDRESS, get_network
from doorward.accounts.sessions.sessions import FULL, Sessions
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.dialects.api.guard import ApiGuard
from doorward.dialects.api.parameters import (
    get_id,
    read_cursor,
    read_limit,
    refuse_others,
    write_cursor,
)
from doorward.dialects.api.rendering import (
    describe_code_lock,
    describe_lock,
    describe_session,
    describe_token,
    render,
    respond_empty,
)
from doorward.dialects.api.shapes import ApiLocks, ApiSessions, ApiTokenInfo, ApiTokenList
from doorward.dialects.context import Malformed
from doorward.dialects.fields import get_text, read_json

LOCKS = 200


@dataclass(frozen=True, slots=True)
class ApiLoginEndpoints:
    guard: ApiGuard
    administration: Administration
    sessions: Sessions
    tokens: ApiTokens

    async def list_sessions(self, request: Request) -> Response:
        actor, limit = await self.guard.find_actor(request), read_limit(request)
        before, now = read_cursor(request), self.guard.clock()
        found = await self.administration.sessions(actor, before, limit + 1, now)
        return render(
            ApiSessions(
                sessions=[describe_session(one) for one in found[:limit] if one.level is FULL],
                next=write_cursor(found, limit, lambda session: session.number),
            )
        )

    async def end_session(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        await self.sessions.revoke(get_id(request), actor=actor, now=now)
        return respond_empty()

    async def list_tokens(self, request: Request) -> Response:
        actor, limit = await self.guard.find_actor(request), read_limit(request)
        before, now = read_cursor(request), self.guard.clock()
        found = await self.tokens.page(actor, before, limit + 1, now)
        return render(
            ApiTokenList(
                tokens=[describe_token(one, now) for one in found[:limit]],
                next=write_cursor(found, limit, lambda token: token.number),
            )
        )

    async def show_token(self, request: Request) -> Response:
        await self.guard.find_actor(request)
        shape: ApiTokenInfo = describe_token(
            await self.tokens.get(get_id(request)), self.guard.clock()
        )
        return render(shape)

    async def end_token(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        await self.tokens.revoke(get_id(request), actor=actor, now=now)
        return respond_empty()

    async def list_locks(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        passwords, codes = await self.administration.locks(actor, now, LOCKS)
        return render(
            ApiLocks(
                passwords=[describe_lock(one) for one in passwords],
                codes=[describe_code_lock(one) for one in codes],
            )
        )

    async def unlock_network(self, request: Request) -> Response:
        actor, fields = await self.guard.find_actor(request), await read_json(request)
        refuse_others(fields, "address")
        address = get_text(fields, "address")
        if get_network(address) == NO_ADDRESS:
            raise Malformed("The field address has to be an IP address.", ("address",))
        await self.administration.unlock_network(actor, address, self.guard.clock())
        return respond_empty()
