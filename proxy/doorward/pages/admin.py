"""The lists of the administration pages: users, sessions, lock-outs, audit records.

Knows pages, filters and texts for events. `admin_guard.py` decides who may see them, and
`admin_user.py` shows a single user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.administration import Administration, Cursor
from doorward.accounts.audit.audit_log import Kind, Record, RecordFilter
from doorward.accounts.passwords.regulation import NO_ADDRESS, get_network
from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions.sessions import FULL, Session
from doorward.pages import rendering
from doorward.pages.account import describe_session
from doorward.pages.admin_guard import AdminGuard
from doorward.pages.languages import N_

BANNED = f"{paths.ADMIN}/banned"
SESSIONS = f"{paths.ADMIN}/sessions"
LOCKOUTS = f"{paths.ADMIN}/lockouts"
RECORDS = f"{paths.ADMIN}/records"

PAGE = 50
LOCKS = 200
NO_SUCH_ADDRESS = N_("This is not an address.")
UNLOCKED = N_("Logins are possible again.")

KINDS: Mapping[Kind, str] = {
    Kind.LOGIN: N_("Login"),
    Kind.LOGIN_PENDING: N_("Password accepted, code required"),
    Kind.LOGIN_FAILED: N_("Login failed"),
    Kind.LOCKED_OUT: N_("Locked out"),
    Kind.LOCK_ENDED: N_("Lock-out over"),
    Kind.UNLOCKED: N_("Unlocked"),
    Kind.SESSION_ENDED: N_("Session ended"),
    Kind.SESSIONS_ENDED: N_("Sessions ended"),
    Kind.USER_ADDED: N_("User added"),
    Kind.USER_CHANGED: N_("User changed"),
    Kind.USER_DELETED: N_("User deleted"),
    Kind.USER_BANNED: N_("User banned"),
    Kind.USER_UNBANNED: N_("Ban lifted"),
    Kind.USER_ENABLED: N_("User enabled"),
    Kind.USER_DISABLED: N_("User disabled"),
    Kind.PASSWORD_CHANGED: N_("Password changed"),
    Kind.RESET_MAILED: N_("Password reset link sent"),
    Kind.FACTOR_ADDED: N_("Factor added"),
    Kind.FACTOR_REMOVED: N_("Factor removed"),
    Kind.FACTOR_PASSED: N_("Correct code"),
    Kind.FACTOR_FAILED: N_("Wrong code"),
    Kind.FACTOR_LOCKED: N_("Codes locked"),
    Kind.RECOVERY_CODES_MADE: N_("Recovery codes created"),
    Kind.KEY_ADDED: N_("Key created"),
    Kind.KEY_RETIRED: N_("Key retired"),
    Kind.CREDENTIAL_SET: N_("Credentials for an application set"),
    Kind.CREDENTIAL_REMOVED: N_("Credentials for an application removed"),
    Kind.TOKEN_ADDED: N_("Token created"),
    Kind.TOKEN_ENDED: N_("Token ended"),
    Kind.TOKENS_ENDED: N_("Tokens ended"),
    Kind.TOKEN_FAILED: N_("Token wrong"),
    Kind.HANDED_OVER: N_("Session passed to another host"),
    Kind.HANDOVER_FAILED: N_("Session not passed to another host"),
    Kind.CONFIGURATION_RELOADED: N_("File of users read again"),
}


@dataclass(frozen=True, slots=True)
class AdminPages:
    guard: AdminGuard
    administration: Administration

    def routes(self) -> list[Route]:
        endpoint = self.guard.forms.messages.endpoint
        return [
            endpoint(paths.ADMIN, self.users, self.proven),
            endpoint(BANNED, self.banned, self.proven),
            endpoint(SESSIONS, self.sessions, self.proven),
            endpoint(LOCKOUTS, self.lockouts, self.lift),
            endpoint(RECORDS, self.records, self.proven),
        ]

    async def proven(self, request: Request) -> Response:
        """The only form of these pages asks for a code."""
        posted = await self.guard.read_form(request)
        return posted if isinstance(posted, Response) else rendering.redirect(paths.ADMIN)

    async def users(self, request: Request) -> Response:
        return await self._users(request, banned=False)

    async def banned(self, request: Request) -> Response:
        return await self._users(request, banned=True)

    async def _users(self, request: Request, banned: bool) -> Response:
        session = await self.guard.session(request)
        if isinstance(session, Response):
            return session
        text = request.query_params.get("q", "")
        after = _place(request.query_params.get("after", ""))
        found = await self.administration.users(session.user, text, banned, after, PAGE + 1)
        last = found[PAGE - 1][0] if len(found) > PAGE else None
        path = BANNED if banned else paths.ADMIN
        return self.guard.forms.render(
            request,
            "admin_users.html",
            session,
            tab=path,
            path=path,
            users=[user for _, user in found[:PAGE]],
            q=text,
            first=None if after is None else build_link(path, q=text),
            onward=last and build_link(path, q=text, after=f"{last.number}.{last.key}"),
        )

    async def sessions(self, request: Request) -> Response:
        session = await self.guard.session(request)
        if isinstance(session, Response):
            return session
        now, before = self.guard.forms.service.clock(), get_number(request, "before")
        found = await self.administration.sessions(session.user, before, PAGE + 1, now)
        more = len(found) > PAGE
        return self.guard.forms.render(
            request,
            "admin_sessions.html",
            session,
            tab=SESSIONS,
            sessions=[
                (one.user, describe_session(one, now, one.number == session.number))
                for one in found[:PAGE]
                if one.level is FULL
            ],
            first=None if before is None else SESSIONS,
            onward=build_link(SESSIONS, before=str(found[PAGE - 1].number)) if more else None,
        )

    async def lockouts(self, request: Request) -> Response:
        session = await self.guard.session(request)
        if isinstance(session, Response):
            return session
        return await self._lockouts(request, session)

    async def _lockouts(
        self, request: Request, session: Session, status: int = 200, error: str | None = None
    ) -> Response:
        now = self.guard.forms.service.clock()
        locks, codes = await self.administration.locks(session.user, now, LOCKS)
        return self.guard.forms.render(
            request,
            "admin_lockouts.html",
            session,
            status,
            tab=LOCKOUTS,
            locks=locks,
            codes=codes,
            most=LOCKS,
            now=now,
            done=UNLOCKED if "done" in request.query_params else None,
            error=error,
        )

    async def lift(self, request: Request) -> Response:
        """End the lock-out of a user, or of the network of an address."""
        posted = await self.guard.read_form(request)
        if isinstance(posted, Response):
            return posted
        actor, form, now = posted.session.user, posted.form, self.guard.forms.service.clock()
        try:
            if form["do"] == "user":
                public_id = await self.administration.get_id(actor, form.get("user", ""))
                await self.administration.unlock(actor, public_id, now)
            else:
                address = form.get("network", "").strip().partition("/")[0]
                if get_network(address) == NO_ADDRESS != address:
                    return await self._lockouts(request, posted.session, 400, NO_SUCH_ADDRESS)
                await self.administration.unlock_network(actor, address, now)
        except Refusal as refusal:
            if (answer := self.guard.render_refusal(request, refusal)) is None:
                raise
            return answer
        return rendering.redirect(f"{LOCKOUTS}?done=1")

    async def records(self, request: Request) -> Response:
        session = await self.guard.session(request)
        if isinstance(session, Response):
            return session
        query = request.query_params
        kind = query.get("kind", "")
        wanted = RecordFilter(
            user=query.get("user", "").strip() or None,
            kind=Kind(kind) if kind in set(Kind) else None,
            since=_day(query.get("since", "")),
        )
        before = get_number(request, "before")
        found = await self.administration.records(session.user, wanted, before, PAGE + 1)
        chosen = {name: query.get(name, "") for name in ("user", "kind", "since")}
        more = len(found) > PAGE
        return self.guard.forms.render(
            request,
            "admin_records.html",
            session,
            tab=RECORDS,
            records=_describe(found[:PAGE]),
            kinds=KINDS,
            chosen=chosen,
            first=None if before is None else build_link(RECORDS, **chosen),
            onward=build_link(RECORDS, **chosen, before=str(found[PAGE - 1].number))
            if more
            else None,
        )


def _describe(records: Sequence[Record]) -> list[dict[str, object]]:
    return [
        {
            "what": KINDS[one.event.kind],
            "event": one.event,
            "time": datetime.fromtimestamp(one.event.at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        }
        for one in records
    ]


def build_link(path: str, **query: str) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def _place(text: str) -> Cursor | None:
    """The position after the previous page, from the link."""
    number, _, key = text.partition(".")
    return Cursor(key, int(number)) if _is_number(number) else None


def get_number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    return int(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _day(text: str) -> float | None:
    """The start of this day in UTC."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
