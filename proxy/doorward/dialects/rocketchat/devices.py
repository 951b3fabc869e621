"""The `sessions/…` endpoints of the `rocketchat` dialect: list, show and end sessions.

Knows their order of checks and paging; must not know which sessions exist.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.administration import Administration
from doorward.accounts.devices import parse_device
from doorward.accounts.permissions import END_SESSIONS, VIEW_SESSIONS, require
from doorward.accounts.refusals import SessionNotFound
from doorward.accounts.sessions.sessions import FULL, Session, Sessions
from doorward.dialects.context import Malformed
from doorward.dialects.rocketchat.carriers import Requester
from doorward.dialects.rocketchat.error_table import build_failure
from doorward.dialects.rocketchat.guard import (
    RequestGuard,
    parse_json,
    parse_number,
    read_body,
    read_query,
)
from doorward.dialects.rocketchat.rendering import (
    get_display_name,
    render_any_session,
    render_record,
    render_session,
    render_shape,
    render_success,
    search_term,
)
from doorward.dialects.rocketchat.shapes import (
    RocketchatEnded,
    RocketchatOwnedSession,
    RocketchatOwnedSessions,
    RocketchatRecord,
    RocketchatSeenSession,
    RocketchatSession,
    RocketchatSessions,
)
from doorward.dialects.shapes import Shape

PAGE = 50
MOST = 100
PAGING = ("offset", "count", "filter", "sort")
SORTS: dict[str, Callable[[Session], object]] = {
    "loginAt": lambda session: session.created_at,
    "device.name": lambda session: parse_device(session.user_agent).name.lower(),
    "device.os.name": lambda session: parse_device(session.user_agent).os_name.lower(),
    "device.os.version": lambda session: parse_device(session.user_agent).os_version,
    "_user.name": lambda session: get_display_name(session.user).lower(),
    "_user.username": lambda session: session.user.username.lower(),
}


class WrongSort(Exception):
    """Lists cannot be sorted by this key."""


@dataclass(frozen=True, slots=True)
class Paging:
    offset: int
    count: int
    wanted: str
    order: tuple[tuple[str, bool], ...]  # key, and whether descending

    @classmethod
    def of(cls, request: Request) -> "Paging":
        """Raises Malformed, WrongSort."""
        query = read_query(request, optional=PAGING)
        asked = parse_number(query, "count")
        return cls(
            parse_number(query, "offset") or 0,
            min(asked or PAGE, MOST),
            query.get("filter", "").lower(),
            _parse_order(query.get("sort", "")),
        )

    async def page(
        self,
        kind: type[Shape],
        sessions: Iterable[Session],
        render: Callable[[Session], Shape],
    ) -> Response:
        """`count` is the requested size, not the number of entries. `sessions` is read in a thread:
        there may be very many, from more browsers than `parse_device` remembers."""
        return await asyncio.to_thread(self._build_page, kind, sessions, render)

    def _build_page(
        self,
        kind: type[Shape],
        sessions: Iterable[Session],
        render: Callable[[Session], Shape],
    ) -> Response:
        found = list(sessions)
        for key, down in reversed(self.order):
            found.sort(key=SORTS[key], reverse=down)  # type: ignore[arg-type]  # one type a key
        page = found[self.offset : self.offset + self.count]
        return render_success(
            kind,
            sessions=[render(session) for session in page],
            total=len(found),
            count=self.count,
            offset=self.offset,
        )

    def wants(self, session: Session) -> bool:
        return not self.wanted or self.wanted in search_term(session).lower()

    def wants_any(self, session: Session) -> bool:
        """In lists of all users' sessions, names of users are searched, too."""
        names = f"{session.user.username}\n{session.user.name or ''}".lower()
        return self.wants(session) or self.wanted in names


def _parse_order(text: str) -> tuple[tuple[str, bool], ...]:
    if not text:
        return (("loginAt", True),)
    asked = parse_json(text)
    if not isinstance(asked, dict):
        raise Malformed("must be object")
    if not asked.keys() <= SORTS.keys():
        raise WrongSort
    if any(type(way) is not int or way not in (1, -1) for way in asked.values()):
        raise Malformed("must be 1 or -1")
    return tuple((key, way == -1) for key, way in asked.items())


def _refuse_sort() -> Response:
    return render_shape(build_failure("error-invalid-sort-keys"), 400)


@dataclass(frozen=True, slots=True)
class Devices:
    guard: RequestGuard
    sessions: Sessions
    administration: Administration

    @property
    def _url(self) -> str:
        return self.guard.context.settings.public_url

    async def list_own(self, request: Request) -> Response:
        session = await self.guard.require_reader(request)
        try:
            paging = Paging.of(request)
        except WrongSort:
            return _refuse_sort()
        found = await self.sessions.list(session.user, self.guard.context.clock())
        return await paging.page(
            RocketchatSessions,
            (each for each in found if each.level is FULL and paging.wants(each)),
            lambda each: RocketchatSession(**render_session(each, session, self._url)),
        )

    async def list_all(self, request: Request) -> Response:
        session = await self.guard.require_reader(request, VIEW_SESSIONS)
        try:
            paging = Paging.of(request)
        except WrongSort:
            return _refuse_sort()
        await self.guard.demand(request, session, honours_trust=True)
        every = self.administration.every_session(self.guard.context.clock())
        found = [each async for each in every if each.level is FULL]
        return await paging.page(
            RocketchatOwnedSessions,
            filter(paging.wants_any, found),
            lambda each: RocketchatOwnedSession(**render_any_session(each, session, self._url)),
        )

    async def info(self, request: Request) -> Response:
        session = await self.guard.require_reader(request)
        wanted = read_query(request, required=["sessionId"])["sessionId"]
        found = await self._get(wanted)
        if found.user.number != session.user.number:
            raise SessionNotFound
        return render_success(RocketchatRecord, **render_record(found, self._url))

    async def info_admin(self, request: Request) -> Response:
        session = await self.guard.require_reader(request, VIEW_SESSIONS)
        wanted = read_query(request, required=["sessionId"])["sessionId"]
        await self.guard.demand(request, session, honours_trust=True)
        found = await self._get(wanted)
        if not found.is_live(self.guard.context.clock()):
            raise SessionNotFound
        return render_success(
            RocketchatSeenSession, **render_any_session(found, session, self._url)
        )

    async def end_own(self, request: Request) -> Response:
        caller = await self.guard.require_changer(request)
        wanted = (await read_body(request, required=["sessionId"]))["sessionId"]
        found = await self._get(wanted)
        if found.user.number != caller.session.user.number:
            raise SessionNotFound
        return await self._end(request, found, caller)

    async def end_any(self, request: Request) -> Response:
        """Checks credentials, permission, parameters and second factor, and looks the session up,
        in this order."""
        caller = await self.guard.require_changer(request)
        session = caller.session
        require(session.user, END_SESSIONS)
        wanted = (await read_body(request, required=["sessionId"]))["sessionId"]
        await self.guard.demand(request, session, honours_trust=True)
        return await self._end(request, await self._get(wanted), caller)

    async def _get(self, id: str) -> Session:
        found = await self.sessions.get(id)
        if found.level is not FULL:
            raise SessionNotFound  # not logged in yet
        return found

    async def _end(self, request: Request, found: Session, caller: Requester) -> Response:
        """Repeating it succeeds, too."""
        now, session = self.guard.context.clock(), caller.session
        await self.sessions.revoke(found.id, actor=session.user, now=now)
        response = render_success(RocketchatEnded, sessionId=found.id)
        if found.number != session.number:
            return response
        return await self.guard.complete_logout(request, response, caller)
