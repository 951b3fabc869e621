"""Users in the administration API, with the sessions and tokens of each.

Knows the endpoints' order of checks; the core decides who may do what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.administration import Administration
from doorward.accounts.sessions.sessions import FULL, Session, Sessions
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.accounts.user import User
from doorward.dialects.api.guard import ApiGuard
from doorward.dialects.api.parameters import (
    DETAILS,
    MUST_CHANGE,
    get_flag,
    get_id,
    get_storable,
    read_details,
    read_flag,
    read_limit,
    read_new_password,
    read_text,
    read_user_cursor,
    refuse_others,
    write_user_cursor,
)
from doorward.dialects.api.rendering import (
    describe_session,
    describe_token,
    describe_user,
    render,
    respond_empty,
)
from doorward.dialects.api.shapes import (
    ApiEnded,
    ApiPasswordSet,
    ApiUserAdded,
    ApiUserDetails,
    ApiUsers,
    ApiUserSessions,
    ApiUserTokens,
)
from doorward.dialects.fields import read_json, read_optional_json

Act = Callable[[User, str, float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ApiUserEndpoints:
    guard: ApiGuard
    administration: Administration
    sessions: Sessions
    tokens: ApiTokens

    async def list_all(self, request: Request) -> Response:
        actor, limit = await self.guard.find_actor(request), read_limit(request)
        place = read_user_cursor(request)
        text, banned = read_text(request, "q") or "", read_flag(request, "banned")
        found = await self.administration.users(actor, text, banned, place, limit + 1)
        last = found[limit - 1][0] if len(found) > limit else None
        return render(
            ApiUsers(
                users=[describe_user(user) for _, user in found[:limit]],
                next=None if last is None else write_user_cursor(last),
            )
        )

    async def add(self, request: Request) -> Response:
        actor, fields = await self.guard.find_actor(request), await read_json(request)
        refuse_others(fields, "username", "password", *DETAILS)
        added = await self.administration.add(
            actor,
            get_storable(fields, "username"),
            read_details(fields),
            read_new_password(fields),
            now=self.guard.clock(),
        )
        shape = ApiUserAdded(user=describe_user(added.user), password=added.password)
        return render(shape, 201)

    async def show(self, request: Request) -> Response:
        actor = await self.guard.find_actor(request)
        about = await self.administration.about(actor, get_id(request), self.guard.clock())
        return render(
            ApiUserDetails(user=describe_user(about.user), second_factors=list(about.factors))
        )

    async def change(self, request: Request) -> Response:
        actor, fields = await self.guard.find_actor(request), await read_json(request)
        refuse_others(fields, *DETAILS)
        await self.administration.edit(
            actor, get_id(request), read_details(fields), now=self.guard.clock()
        )
        return respond_empty()

    def act(self, act: Act) -> Callable[[Request], Awaitable[Response]]:
        """Operations on one user that take no body."""

        async def answer(request: Request) -> Response:
            actor = await self.guard.find_actor(request)
            refuse_others(await read_optional_json(request))
            await act(actor, get_id(request), self.guard.clock())
            return respond_empty()

        return answer

    async def delete(self, request: Request) -> Response:
        actor = await self.guard.find_actor(request)
        await self.administration.delete(actor, get_id(request), self.guard.clock())
        return respond_empty()

    async def set_password(self, request: Request) -> Response:
        actor, fields = await self.guard.find_actor(request), await read_optional_json(request)
        refuse_others(fields, "password", MUST_CHANGE)
        now, public_id = self.guard.clock(), get_id(request)
        password, must_change = read_new_password(fields), get_flag(fields, MUST_CHANGE)
        if password is None:
            added = await self.administration.renew_password(actor, public_id, now)
            return render(ApiPasswordSet(password=added.password))
        await self.administration.set_password(
            actor, public_id, password, now=now, must_change=bool(must_change)
        )
        return render(ApiPasswordSet(password=None))

    # A user's sessions and tokens

    async def list_sessions(self, request: Request) -> Response:
        actor = await self.guard.find_actor(request)
        about = await self.administration.about(actor, get_id(request), self.guard.clock())
        return await asyncio.to_thread(_render_sessions, about.sessions)  # up to LISTED

    async def end_sessions(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        user = (await self.administration.about(actor, get_id(request), now)).user
        return render(ApiEnded(ended=await self.sessions.revoke_all(user, actor=actor, now=now)))

    async def list_tokens(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        user = (await self.administration.about(actor, get_id(request), now)).user
        found = [describe_token(one, now) for one in await self.tokens.list(user, now)]
        return render(ApiUserTokens(tokens=found))

    async def end_tokens(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        user = (await self.administration.about(actor, get_id(request), now)).user
        return render(ApiEnded(ended=await self.tokens.revoke_all(user, actor=actor, now=now)))


def _render_sessions(sessions: Iterable[Session]) -> Response:
    found = [describe_session(one) for one in sessions if one.level is FULL]
    return render(ApiUserSessions(sessions=found))
