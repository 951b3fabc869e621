"""The administration API, under `/.doorward/api/v1/`, for tokens of administrators.

    GET     users                        who there is, by name; `q`, `banned`
    POST    users                        a new user; without a password one is generated
    GET     users/{id}                   one user, with its second factors
    PATCH   users/{id}                   {"name", "email", "groups", "roles", …}
    DELETE  users/{id}                   the user and everything that belongs to the user → 204
    POST    users/{id}/ban unban disable enable unlock reset-factors → 204
    POST    users/{id}/password          {"password"}, or nothing: one is generated
    GET     users/{id}/sessions          where the user is logged in
    DELETE  users/{id}/sessions          end all of them
    GET     users/{id}/tokens            what the user's programs log in with
    DELETE  users/{id}/tokens            end all of them
    GET     sessions                     everybody's, the newest first
    DELETE  sessions/{id}                end one → 204
    GET     tokens                       everybody's, the newest first
    GET     tokens/{id}                  one token, over or not
    DELETE  tokens/{id}                  end one → 204
    GET     lockouts                     who has to wait after wrong passwords and codes
    POST    lockouts/unlock              {"address"}: its network may try again → 204
    GET     audit                        records, the newest first; `user`, `kind`, `since`
    GET     audit/events                 records as they come, as server-sent events
    GET     explain                      what happens to a request, and why

Accepts only tokens in `Authorization`, as Bearer or Basic, and no sessions, so another site's page
cannot use a cookie here. Errors are `{"error": "<code>", "message": "<sentence>"}`. Knows these
shapes; the core decides who may do what.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from doorward import paths
from doorward.accounts.administration import Administration, Cursor, Details
from doorward.accounts.audit.audit_log import AuditLog, Kind, Record, RecordFilter
from doorward.accounts.passwords.regulation import NO_ADDRESS, get_network
from doorward.accounts.refusals import Refusal, StorageUnavailable
from doorward.accounts.sessions.sessions import FULL, Sessions
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.accounts.user import User
from doorward.dialects.api.error_table import ERROR_FORMAT
from doorward.dialects.api.guard import ApiGuard
from doorward.dialects.api.rendering import (
    NO_STORE,
    describe_code_lock,
    describe_explanation,
    describe_lock,
    describe_record,
    describe_session,
    describe_token,
    describe_user,
    render,
    respond_empty,
)
from doorward.dialects.api.shapes import (
    ApiEnded,
    ApiLocks,
    ApiPasswordSet,
    ApiRecords,
    ApiSessions,
    ApiTokenInfo,
    ApiTokenList,
    ApiUserAdded,
    ApiUserDetails,
    ApiUsers,
    ApiUserSessions,
    ApiUserTokens,
)
from doorward.dialects.context import Context, Malformed, RequestFault
from doorward.dialects.fields import get_text, is_storable, read_json, read_optional_json
from doorward.gate.addresses import parse_address
from doorward.web.explanation import Explain, Question

# The fields of a user that an administrator can set; others are refused by name.
_MUST_CHANGE = "must_change_password"
_DETAILS = ("name", "email", "groups", "roles", _MUST_CHANGE)
PAGE, MOST = 50, 200
LOCKS = 200
FOLLOW_S = 1.0  # between two reads of the records
QUIET_LOOKS = 15  # without news; then a comment keeps proxies from closing the stream

Item = TypeVar("Item")
Sleep = Callable[[float], Awaitable[object]]
Act = Callable[[User, str, float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Api:
    guard: ApiGuard
    administration: Administration
    sessions: Sessions
    tokens: ApiTokens
    audit_log: AuditLog
    explain: Explain | None = None
    sleep: Sleep = asyncio.sleep

    # Users

    async def list_users(self, request: Request) -> Response:
        actor, limit = await self.guard.find_actor(request), _read_limit(request)
        place = _read_place(request.query_params.get("cursor"))
        text, banned = _read_text(request, "q") or "", _read_flag(request, "banned")
        found = await self.administration.users(actor, text, banned, place, limit + 1)
        last = found[limit - 1][0] if len(found) > limit else None
        return render(
            ApiUsers(
                users=[describe_user(user) for _, user in found[:limit]],
                next=None if last is None else f"{last.number}.{last.key}",
            )
        )

    async def add_user(self, request: Request) -> Response:
        actor, fields = await self.guard.find_actor(request), await read_json(request)
        _refuse_others(fields, "username", "password", *_DETAILS)
        added = await self.administration.add(
            actor,
            _get_storable(fields, "username"),
            _read_details(fields),
            _read_new_password(fields),
            now=self.guard.clock(),
        )
        shape = ApiUserAdded(user=describe_user(added.user), password=added.password)
        return render(shape, 201)

    async def show_user(self, request: Request) -> Response:
        actor = await self.guard.find_actor(request)
        about = await self.administration.about(actor, _get_id(request), self.guard.clock())
        return render(
            ApiUserDetails(user=describe_user(about.user), second_factors=list(about.factors))
        )

    async def change_user(self, request: Request) -> Response:
        actor, fields = await self.guard.find_actor(request), await read_json(request)
        _refuse_others(fields, *_DETAILS)
        await self.administration.edit(
            actor, _get_id(request), _read_details(fields), now=self.guard.clock()
        )
        return respond_empty()

    def act(self, act: Act) -> Callable[[Request], Awaitable[Response]]:
        """Operations on one user that take no body."""

        async def answer(request: Request) -> Response:
            actor = await self.guard.find_actor(request)
            _refuse_others(await read_optional_json(request))
            await act(actor, _get_id(request), self.guard.clock())
            return respond_empty()

        return answer

    async def delete_user(self, request: Request) -> Response:
        actor = await self.guard.find_actor(request)
        await self.administration.delete(actor, _get_id(request), self.guard.clock())
        return respond_empty()

    async def set_password(self, request: Request) -> Response:
        actor, fields = await self.guard.find_actor(request), await read_optional_json(request)
        _refuse_others(fields, "password", _MUST_CHANGE)
        now, public_id = self.guard.clock(), _get_id(request)
        password, must_change = _read_new_password(fields), _get_flag(fields, _MUST_CHANGE)
        if password is None:
            added = await self.administration.renew_password(actor, public_id, now)
            return render(ApiPasswordSet(password=added.password))
        await self.administration.set_password(
            actor, public_id, password, now=now, must_change=bool(must_change)
        )
        return render(ApiPasswordSet(password=None))

    async def list_user_sessions(self, request: Request) -> Response:
        actor = await self.guard.find_actor(request)
        about = await self.administration.about(actor, _get_id(request), self.guard.clock())
        found = [describe_session(one) for one in about.sessions if one.level is FULL]
        return render(ApiUserSessions(sessions=found))

    async def end_user_sessions(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        user = (await self.administration.about(actor, _get_id(request), now)).user
        return render(ApiEnded(ended=await self.sessions.revoke_all(user, actor=actor, now=now)))

    async def list_user_tokens(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        user = (await self.administration.about(actor, _get_id(request), now)).user
        found = [describe_token(one, now) for one in await self.tokens.list(user, now)]
        return render(ApiUserTokens(tokens=found))

    async def end_user_tokens(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        user = (await self.administration.about(actor, _get_id(request), now)).user
        return render(ApiEnded(ended=await self.tokens.revoke_all(user, actor=actor, now=now)))

    # Sessions and tokens

    async def list_sessions(self, request: Request) -> Response:
        actor, limit = await self.guard.find_actor(request), _read_limit(request)
        before, now = _read_number(request), self.guard.clock()
        found = await self.administration.sessions(actor, before, limit + 1, now)
        return render(
            ApiSessions(
                sessions=[describe_session(one) for one in found[:limit] if one.level is FULL],
                next=_find_next(found, limit, lambda session: session.number),
            )
        )

    async def end_session(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        await self.sessions.revoke(_get_id(request), actor=actor, now=now)
        return respond_empty()

    async def list_tokens(self, request: Request) -> Response:
        actor, limit = await self.guard.find_actor(request), _read_limit(request)
        before, now = _read_number(request), self.guard.clock()
        found = await self.tokens.page(actor, before, limit + 1, now)
        return render(
            ApiTokenList(
                tokens=[describe_token(one, now) for one in found[:limit]],
                next=_find_next(found, limit, lambda token: token.number),
            )
        )

    async def show_token(self, request: Request) -> Response:
        await self.guard.find_actor(request)
        shape: ApiTokenInfo = describe_token(
            await self.tokens.get(_get_id(request)), self.guard.clock()
        )
        return render(shape)

    async def end_token(self, request: Request) -> Response:
        actor, now = await self.guard.find_actor(request), self.guard.clock()
        await self.tokens.revoke(_get_id(request), actor=actor, now=now)
        return respond_empty()

    # Lock-outs and records

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
        _refuse_others(fields, "address")
        address = get_text(fields, "address")
        if get_network(address) == NO_ADDRESS:
            raise Malformed("The field address has to be an IP address.", ("address",))
        await self.administration.unlock_network(actor, address, self.guard.clock())
        return respond_empty()

    async def list_records(self, request: Request) -> Response:
        actor, limit = await self.guard.find_actor(request), _read_limit(request)
        wanted, before = _read_filter(request), _read_number(request)
        found = await self.administration.records(actor, wanted, before, limit + 1)
        return render(
            ApiRecords(
                records=[describe_record(one) for one in found[:limit]],
                next=_find_next(found, limit, lambda record: record.number),
            )
        )

    async def follow_records(self, request: Request) -> Response:
        """Server-sent events (HTML, "server-sent events"). Ids are numbers of records, so that a
        client that reconnects continues where it was."""
        actor, wanted = await self.guard.find_actor(request), _read_filter(request)
        last = request.headers.get("last-event-id", "")
        if last.isascii() and last.isdigit() and len(last) < 19:
            number = int(last)
        else:
            newest = await self.administration.records(actor, RecordFilter(), None, 1)
            number = newest[0].number if newest else 0
        headers = NO_STORE | {"x-accel-buffering": "no"}
        events = self._events(request, wanted, number)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def peek_records(self, request: Request) -> Response:
        """HEAD: the headers of GET, without the stream."""
        await self.guard.find_actor(request)
        _read_filter(request)
        return Response(media_type="text/event-stream", headers=NO_STORE)

    async def explain_request(self, request: Request) -> Response:
        """The output of `doorward explain`, from this process."""
        actor = await self.guard.find_actor(request)
        method, url = _read_text(request, "method") or "GET", _read_text(request, "url")
        address = _read_text(request, "address") or "127.0.0.1"
        if url is None:
            raise Malformed("The parameter url has to be there.", ("url",))
        if parse_address(address) is None:
            raise Malformed("The parameter address has to be an IP address.", ("address",))
        has_factor, user = _read_flag(request, "second_factor"), None
        if name := _read_text(request, "user"):
            public_id = await self.administration.get_id(actor, name)
            user = (await self.administration.about(actor, public_id, self.guard.clock())).user
        assert self.explain is not None
        try:
            found = await self.explain(Question(method, url, user, address, has_factor))
        except ValueError:  # NoUrl, or text that cannot be a URL at all
            raise Malformed("The parameter url has to be a URL or a path.", ("url",)) from None
        return render(describe_explanation(found))

    async def _events(
        self, request: Request, wanted: RecordFilter, number: int
    ) -> AsyncIterator[str]:
        """Until the client leaves, or is no longer allowed to see them."""
        yield ": records as they come\n\n"
        quiet = 0
        while True:
            try:
                await self.guard.find_actor(request)
                found = await self.audit_log.after(number, wanted, MOST)
            except StorageUnavailable:
                found = ()  # later ones have to wait, too
            except (Refusal, RequestFault):
                return
            for record in found:
                number = record.number
                yield _draw_event(record)
            quiet = 0 if found else quiet + 1
            if quiet >= QUIET_LOOKS:
                quiet = 0
                yield ":\n\n"
            await self.sleep(FOLLOW_S)


def _draw_event(record: Record) -> str:
    data = describe_record(record).model_dump_json()
    return f"id: {record.number}\nevent: record\ndata: {data}\n\n"


# Parameters of requests


def _get_id(request: Request) -> str:
    found: str = request.path_params["id"]
    return found


def _read_text(request: Request, name: str) -> str | None:
    text = request.query_params.get(name)
    if text is not None and not is_storable(text):
        raise Malformed(f"The parameter {name} holds what no text can hold.", (name,))
    return text


def _read_limit(request: Request) -> int:
    text = request.query_params.get("limit", str(PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST):
        raise Malformed(f"The parameter limit has to be a number from 1 to {MOST}.", ("limit",))
    return int(text)


def _read_flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise Malformed(f"The parameter {name} has to be true or false.", (name,))
    return text == "true"


def _read_number(request: Request) -> int | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Malformed("The parameter cursor is not one that was given.", ("cursor",))
    return int(text)


def _read_place(text: str | None) -> Cursor | None:
    if text is None:
        return None
    number, dot, key = text.partition(".")
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    if not (is_number and dot and is_storable(key)):
        raise Malformed("The parameter cursor is not one that was given.", ("cursor",))
    return Cursor(key, int(number))


def _read_filter(request: Request) -> RecordFilter:
    kind, since = request.query_params.get("kind"), request.query_params.get("since")
    if kind is not None and kind not in set(Kind):
        raise Malformed("The parameter kind is not one of a record.", ("kind",))
    return RecordFilter(
        user=_read_text(request, "user"),
        kind=None if kind is None else Kind(kind),
        since=None if since is None else _parse_time(since),
    )


def _parse_time(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
        return found.timestamp()
    except (ValueError, OverflowError):
        sentence = "The parameter since has to be a time such as 2026-01-31T00:00:00Z."
        raise Malformed(sentence, ("since",)) from None


def _find_next(found: Sequence[Item], limit: int, number: Callable[[Item], int]) -> str | None:
    return str(number(found[limit - 1])) if len(found) > limit else None


def _refuse_others(fields: Mapping[str, object], *names: str) -> None:
    """A misspelt field must not be mistaken for an absent one."""
    if others := tuple(name for name in fields if name not in names):
        raise Malformed(f"There is no field {others[0][:80]!a} here.", others)


def _get_storable(fields: Mapping[str, object], name: str) -> str:
    text = get_text(fields, name)
    if not is_storable(text):
        raise Malformed(f"The field {name} holds what no text can hold.", (name,))
    return text


def _get_optional(fields: Mapping[str, object], name: str) -> str | None:
    return _get_storable(fields, name) if name in fields else None


def _get_flag(fields: Mapping[str, object], name: str) -> bool | None:
    value = fields.get(name)
    if name in fields and not isinstance(value, bool):
        raise Malformed(f"The field {name} has to be true or false.", (name,))
    return value if isinstance(value, bool) else None


def _read_details(fields: Mapping[str, object]) -> Details:
    return Details(
        name=_get_optional(fields, "name"),
        email=_get_optional(fields, "email"),
        groups=_get_list(fields, "groups"),
        roles=_get_list(fields, "roles"),
        must_change=_get_flag(fields, _MUST_CHANGE),
    )


def _read_new_password(fields: Mapping[str, object]) -> str | None:
    """None if one is to be generated. Such a password has to be changed, because an administrator
    has seen it."""
    password = _get_optional(fields, "password")
    if password is None and _get_flag(fields, _MUST_CHANGE) is False:
        raise Malformed("A generated password has to be changed.", (_MUST_CHANGE,))
    return password


def _get_list(fields: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    if name not in fields:
        return None
    value = fields[name]
    if not isinstance(value, list) or not all(
        isinstance(one, str) and is_storable(one) for one in value
    ):
        raise Malformed(f"The field {name} has to be a list of strings.", (name,))
    return tuple(dict.fromkeys(value))


def routes(context: Context, api: Api) -> list[Route]:
    administration = api.administration
    acts = {
        "ban": administration.ban,
        "unban": administration.unban,
        "disable": administration.disable,
        "enable": administration.enable,
        "unlock": administration.unlock,
        "reset-factors": administration.reset_factors,
    }
    one = f"{paths.API}users/{{id}}"

    def at(path: str, **handlers: Callable[[Request], Awaitable[Response]]) -> Route:
        return context.endpoint(path, ERROR_FORMAT, None, **handlers)

    explaining = [at(f"{paths.API}explain", get=api.explain_request)] if api.explain else []
    return [
        at(f"{paths.API}users", get=api.list_users, post=api.add_user),
        at(one, get=api.show_user, patch=api.change_user, delete=api.delete_user),
        *(at(f"{one}/{name}", post=api.act(act)) for name, act in acts.items()),
        at(f"{one}/password", post=api.set_password),
        at(f"{one}/sessions", get=api.list_user_sessions, delete=api.end_user_sessions),
        at(f"{one}/tokens", get=api.list_user_tokens, delete=api.end_user_tokens),
        at(f"{paths.API}sessions", get=api.list_sessions),
        at(f"{paths.API}sessions/{{id}}", delete=api.end_session),
        at(f"{paths.API}tokens", get=api.list_tokens),
        at(f"{paths.API}tokens/{{id}}", get=api.show_token, delete=api.end_token),
        at(f"{paths.API}lockouts", get=api.list_locks),
        at(f"{paths.API}lockouts/unlock", post=api.unlock_network),
        at(f"{paths.API}audit", get=api.list_records),
        at(f"{paths.API}audit/events", get=api.follow_records, head=api.peek_records),
        *explaining,
    ]
