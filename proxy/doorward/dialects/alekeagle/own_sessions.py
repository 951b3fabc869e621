"""The user's own sessions in the `alekeagle` dialect: read, list and end them.

Knows the endpoints' order of checks; must not know how a session ends.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts import refusals
from doorward.accounts.sessions.sessions import FULL, Session, Sessions
from doorward.dialects import context as contexts
from doorward.dialects.alekeagle.bodies import read_required_fields
from doorward.dialects.alekeagle.error_table import NOT_READABLE, render, render_error
from doorward.dialects.alekeagle.rendering import render_removed, render_session
from doorward.dialects.alekeagle.shapes import AlekeagleDone, AlekeagleSessions
from doorward.dialects.context import Context, Malformed, Unauthenticated
from doorward.dialects.fields import Fields

PAGE = 50  # sessions on a page of the list


@dataclass(frozen=True, slots=True)
class OwnSessions:
    context: Context
    sessions: Sessions

    # The caller and the caller's sessions

    async def _require_caller(self, request: Request) -> Session:
        """Raises UserBanned, and Unauthenticated, also if a second factor is due
        (CVE-2026-32246)."""
        person = await self.context.service.identify.find_caller(
            request.headers.raw, self.context.clock()
        )
        if person.banned:
            raise refusals.UserBanned
        if person.session is None or person.session.level is not FULL:
            raise Unauthenticated
        return person.session

    async def _require_change(self, request: Request) -> Session:
        """The same, for requests that change something."""
        self.context.check_origin(request)
        return await self._require_caller(request)

    async def _sessions(self, caller: Session) -> list[Session]:
        """The caller's sessions, in the order of their logins."""
        found = await self.sessions.list(caller.user, self.context.clock())
        return sorted((s for s in found if s.level is FULL), key=lambda session: session.iat)

    async def _find(self, request: Request, caller: Session) -> Session | None:
        wanted = request.path_params["id"]
        return next((s for s in await self._sessions(caller) if str(s.iat) == wanted), None)

    # Reading

    async def show(self, request: Request) -> Response:
        return render(render_session(await self._require_caller(request)))

    async def show_other(self, request: Request) -> Response:
        found = await self._find(request, await self._require_caller(request))
        if found is None:  # a different code from ending one
            return render_error(NOT_READABLE, refusals.SessionNotFound())
        return render(render_session(found))

    async def list_own(self, request: Request) -> Response:
        """All of them, unless the query asks for a part: `sessions.max_per_user` is the limit."""
        sessions = await self._sessions(await self._require_caller(request))
        shown = _slice(request, sessions)
        return await asyncio.to_thread(_render_list, len(sessions), shown)  # there may be thousands

    # Ending

    async def end_one(self, request: Request) -> Response:
        caller = await self._require_change(request)
        found = await self._find(request, caller)
        if found is None:
            raise refusals.SessionNotFound
        by = "logout" if found.number == caller.number else "revoked"
        if not await self.sessions.end(found, self.context.clock(), by):
            raise refusals.SessionNotFound
        response = render(AlekeagleDone(code="GENERIC_SUCCESS", message="Session Deleted"))
        return await self._leave(request, response, caller) if by == "logout" else response

    async def end_many(self, request: Request) -> Response:
        caller = await self._require_change(request)
        wanted = _parse_ids(await read_required_fields(request, "sessions"))
        going = [each for each in await self._sessions(caller) if str(each.iat) in wanted]
        count = await self.sessions.end_own(caller.user, going, self.context.clock())
        is_over = any(each.number == caller.number for each in going)
        response = render_removed(count)
        return await self._leave(request, response, caller) if is_over else response

    async def end_all(self, request: Request) -> Response:
        caller = await self._require_change(request)
        now = self.context.clock()
        if not _spares_caller(request):
            count = await self.sessions.end_all(caller.user, now, by="revoked")
            return await self._leave(request, render_removed(count), caller)
        # A program that sends its token does not get another one.
        ended = await self.sessions.end_others(
            caller, now, renew=not contexts.is_by_header(request)
        )
        response = render_removed(ended.count)
        if ended.opened is not None:
            self.context.service.cookie.set(response, request, ended.opened)
        return response

    async def _leave(self, request: Request, response: Response, caller: Session) -> Response:
        """The answer if the caller's own session has ended."""
        return await self.context.service.complete_logout(
            request, response, caller, expire=not contexts.is_by_header(request)
        )


def _render_list(count: int, shown: Sequence[Session]) -> Response:
    return render(AlekeagleSessions(count=count, items=[render_session(each) for each in shown]))


def _parse_ids(fields: Fields) -> set[str]:
    """The ids in the body, as strings; anything else in the list is ignored."""
    found = fields.get("sessions")
    if not isinstance(found, list):
        raise Malformed(fields=("sessions",))
    return {str(each) for each in found if type(each) in (str, int)}


_NUMBER = re.compile(r"[0-9]{1,9}")


def _slice(request: Request, sessions: Sequence[Session]) -> Sequence[Session]:
    """All sessions, or the page that the query asks for. Invalid numbers count as absent."""
    query = request.query_params
    if "limit" not in query and "offset" not in query:
        return sessions
    limit = min(_parse_number(query.get("limit")) or PAGE, PAGE)
    offset = _parse_number(query.get("offset"))
    return sessions[offset : offset + limit]


def _parse_number(text: str | None) -> int:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else 0


def _spares_caller(request: Request) -> bool:
    """Whether the query has `allButSelf`, in any case, and its value is not empty, 0 or false."""
    for pair in request.url.query.split("&"):
        name, equals, value = (unquote_plus(part) for part in pair.partition("="))
        if name.lower() == "allbutself":
            return not equals or value.lower() not in ("", "0", "false")
    return False
