"""The account page: the user, the sessions and what protects the account.

Knows what is shown and which sessions end; factors, password and address are changed on other
pages.
"""

import asyncio
import ipaddress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.addresses import Addresses
from doorward.accounts.application_credentials import ApplicationCredentials
from doorward.accounts.factors.records import EMAIL, TOTP
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.permissions import is_admin
from doorward.accounts.refusals import SessionNotFound
from doorward.accounts.sessions.sessions import LISTED, Session, Sessions
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.accounts.user import DATABASE
from doorward.pages import rendering
from doorward.pages.languages import N_
from doorward.pages.rendering import add_page_headers
from doorward.pages.session_form import Forms
from doorward.rewrite.added_headers import EXPIRES_IN

SESSIONS = f"{paths.ACCOUNT}/sessions"
OTHERS = "others"

DONE = {
    "ended": N_("The session is ended."),
    "others": N_("All other sessions are ended."),
    "password": N_("Your password is changed, and all other sessions are ended."),
    "email": N_("Your e-mail address is changed."),
    "removed": N_("The authenticator app is removed."),
    "on": N_("Codes by e-mail are turned on."),
    "off": N_("Codes by e-mail are turned off."),
}


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as a row of the list shows it; times are seconds from now."""

    id: str
    here: bool
    device: str
    place: str
    address: str
    opened: float
    opened_s: float
    used: float
    used_s: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class AccountPage:
    forms: Forms
    sessions: Sessions
    factors: SecondFactors
    addresses: Addresses
    tokens: ApiTokens
    credentials: ApplicationCredentials

    def routes(self) -> list[Route]:
        endpoint = self.forms.messages.endpoint
        return [
            endpoint(paths.ACCOUNT, self.show),
            endpoint(SESSIONS, self.back, self.end),
            endpoint(paths.SESSION, self.remaining),
        ]

    async def show(self, request: Request) -> Response:
        session = await self.forms.session(request)
        if isinstance(session, Response):
            return session
        now = self.forms.service.clock()
        enabled = await self.factors.list_enabled(session.user)
        tokens = await self.tokens.list(session.user, now)
        listed = await self.sessions.list(session.user, now, LISTED)
        mine = [one for one in listed if one.level is session.level]
        if session.number not in {one.number for one in mine}:
            mine.append(session)
        recovery = await self.factors.remaining_recovery(session.user)

        def render() -> Response:
            return self.forms.render(
                request,
                "account.html",
                session,
                sessions=sorted(
                    (describe_session(one, now, one.number == session.number) for one in mine),
                    key=lambda one: not one.here,
                ),
                most=LISTED if len(listed) == LISTED else None,
                ends_s=session.ends_at() - now,
                idles=session.idle_timeout_s is not None,
                totp=TOTP in enabled,
                emailed=EMAIL in enabled,
                can_mail=self.factors.can_mail(session.user),
                recovery=recovery,
                can_change_address=self.addresses.can_change(session.user),
                own=session.user.source == DATABASE,
                others=OTHERS,
                tokens=tokens,
                applications=self.credentials.routes,
                expiring=any(token.expires_soon(now) for token in tokens),
                administers=is_admin(session.user),
                done=DONE.get(request.query_params.get("done", "")),
            )

        return await asyncio.to_thread(render)  # so many sessions take 25 ms

    async def back(self, request: Request) -> Response:
        return rendering.redirect(paths.ACCOUNT)

    async def end(self, request: Request) -> Response:
        """End the session that the form names, or all others."""
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        session, which = posted.session, posted.form.get("end", "")
        service = self.forms.service
        now, user = service.clock(), session.user
        if which == OTHERS:
            ended = await self.sessions.end_others(session, now, renew=True)
            return self.forms.redirect(request, f"{paths.ACCOUNT}?done=others", ended.opened)
        mine = {one.id for one in await self.sessions.list(user, now)}
        if which in mine:  # one that ended in the meantime needs nothing more
            try:
                await self.sessions.revoke(which, actor=user, now=now)
            except SessionNotFound:
                pass
        if which == session.id:
            left = rendering.redirect(paths.LOGIN)
            return await service.complete_logout(request, left, session, expire=True)
        return rendering.redirect(f"{paths.ACCOUNT}?done=ended")

    async def remaining(self, request: Request) -> Response:
        """For scripts: how long the session lasts if nothing else happens. This request does not
        count as use of the session, so a script that asks every minute does not keep its user
        logged in."""
        service = self.forms.service
        now = service.clock()
        found = await service.peek(request, now)
        if found is None:
            return self.forms.messages.answer(request, 401)
        left = str(max(0, int(found.ends_at() - now)))
        response = add_page_headers(JSONResponse({"expires_in": int(left)}))
        response.headers[EXPIRES_IN.decode()] = left
        return response


def describe_session(session: Session, now: float, here: bool) -> SessionRow:
    device = session.device
    system = f"{device.os_name} {device.os_version.partition('.')[0]}".strip()
    name = " · ".join(part for part in (device.name, system) if part)
    used = max(session.last_used_at, session.created_at)
    return SessionRow(
        id=session.id,
        here=here,
        device=name or session.information[:80] or session.user_agent[:80],
        place=describe_place(session.address),
        address=session.address,
        opened=session.created_at,
        opened_s=now - session.created_at,
        used=used,
        used_s=now - used,
        ends_s=session.ends_at() - now,
    )


def describe_place(address: str) -> str:
    """A description of an address that needs no look-up."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if found.is_loopback:
        return N_("this machine")
    return N_("local network") if found.is_private else ""
