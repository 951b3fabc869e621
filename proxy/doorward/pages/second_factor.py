"""The page that asks for a second factor, after a password or because a rule demands one.

Knows a field, buttons and texts; the core decides which factor is due and whether a code is right.
"""

import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.challenge import Challenge
from doorward.accounts.factors.records import TOTP
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.refusals import (
    MailFailed,
    Overloaded,
    Refusal,
    SecondFactorInvalid,
    SessionNotFound,
    StorageUnavailable,
    TooManyCodes,
    retry_after,
)
from doorward.accounts.sessions.sessions import FULL, Session
from doorward.gate.cookies import Header
from doorward.gate.decision import MAX_AGE
from doorward.pages import rendering
from doorward.pages.browser import note_line
from doorward.pages.form import read_form
from doorward.pages.handover import HandoverPage
from doorward.pages.languages import N_
from doorward.pages.message import Messages
from doorward.pages.preserved_form import FIELD, PreservedForms, most_bytes
from doorward.web.refusal_headers import refusal_headers, set_retry_after
from doorward.web.session_service import SessionService

MISSING = N_("Enter the code.")
NO_FACTOR = N_("This page needs a second factor, but yours is not available right now.")
NOTHING = Challenge(None)
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def may_be_clock(refusal: Refusal) -> bool:
    """Whether the phone's clock may be wrong, because an authenticator's code was."""
    return isinstance(refusal, SecondFactorInvalid) and refusal.challenge.method == TOTP


# Every other refusal of a code is a 401.
STATUSES: dict[type[Refusal], int] = {
    TooManyCodes: 429,
    MailFailed: 503,
    Overloaded: 503,
    StorageUnavailable: 503,
}


@dataclass(frozen=True, slots=True)
class SecondFactorPage:
    service: SessionService
    messages: Messages
    preserved_forms: PreservedForms
    factors: SecondFactors
    handover: HandoverPage | None = None

    def routes(self) -> list[Route]:
        return [self.messages.endpoint(paths.SECOND_FACTOR, get=self.show, post=self.submit)]

    async def show(self, request: Request) -> Response:
        """The form for a session whose factor is due; others continue to their target or the
        login."""
        if self.handover is not None and self.handover.takes(request):
            return await self.handover.leave(request, paths.SECOND_FACTOR)
        session = await self.service.session(request)
        if session is None:
            return self._to_login(request)
        if session.level is FULL and self._is_fresh(request, session):
            return rendering.redirect(self.service.onward(request))
        if session.level is FULL and not await self.factors.list_enabled(session.user):
            return rendering.redirect(self.service.here(paths.AUTHENTICATOR, request))
        if not await self.factors.can_be_asked(session.user):
            return self.messages.answer(request, 403, NO_FACTOR)
        return await self._ask(request, session, None)

    def _is_fresh(self, request: Request, session: Session) -> bool:
        """Whether the session's factor is as fresh as demanded by the rule that sent the user
        here."""
        at, asked = session.second_factor_at, request.query_params.get(MAX_AGE, "")
        if at is None or _SECONDS.fullmatch(asked) is None:
            return at is not None
        return 0 <= self.service.clock() - at < int(asked)

    async def submit(self, request: Request) -> Response:
        form = await read_form(self.service, self.messages, request, most_bytes(request))
        if isinstance(form, Response):
            return form
        session = await self.service.session(request)
        if session is None:
            return self._to_login(request)
        code, method = form.get("code", "").strip(), form.get("method")
        preserved = form.get(FIELD, "")
        if not code:
            error = MISSING if "code" in form else None
            return await self._ask(request, session, method, error, preserved)
        try:
            opened = await self.service.complete(request, session, code, method)
        except SessionNotFound:
            return self._to_login(request)
        except Refusal as refusal:
            return self._refuse(request, refusal, preserved)
        lines = self.service.cookie.set_lines(request, opened)
        if form.get("browser"):
            lines += await self._note_lines(opened.session)
        if preserved and self.preserved_forms.open(request, preserved) is not None:
            return await self.continue_login(request, opened.session, preserved, lines)
        return rendering.redirect(self.service.onward(request), lines)

    async def continue_login(
        self, request: Request, session: Session, sealed: str, lines: list[Header]
    ) -> Response:
        """The next step of a login that carries a preserved form: the code, or the form itself."""
        if session.level is not FULL:
            response = await self._ask(request, session, None, None, sealed)
            response.raw_headers.extend(lines)
            return response
        form, onward = self.preserved_forms.open(request, sealed), self.service.onward(request)
        return self.messages.renderer.render_page(
            request, "resend.html", 200, lines, form=form, onward=onward
        )

    async def _note_lines(self, session: Session) -> list[Header]:
        """The cookie with which this browser needs no code at later logins, if the settings allow
        it."""
        settings, now = self.service.settings, self.service.clock()
        note = await self.factors.remember_browser(session.user, now)
        life = settings.second_factor.remember_browser
        if note is None or life is None:
            return []
        return [note_line(note, life.total_seconds(), self.service.cookie.cookies)]

    async def _ask(
        self,
        request: Request,
        session: Session,
        method: str | None,
        error: str | None = None,
        preserved: str = "",
    ) -> Response:
        """The form for this method; if it is e-mail, the code is sent first."""
        try:
            now = self.service.clock()
            challenge = await self.factors.prepare(session.user, method, now=now)
        except Refusal as refusal:
            return self._refuse(request, refusal, preserved)
        return self._render(request, 200 if error is None else 400, challenge, error, preserved)

    def _refuse(self, request: Request, refusal: Refusal, preserved: str = "") -> Response:
        challenge = getattr(refusal, "challenge", NOTHING)
        status = STATUSES.get(type(refusal), 401)
        clock = may_be_clock(refusal)
        response = self._render(request, status, challenge, str(refusal), preserved, clock)
        set_retry_after(response, retry_after(refusal))
        return response

    def _render(
        self,
        request: Request,
        status: int,
        challenge: Challenge,
        error: str | None,
        preserved: str = "",
        clock: bool = False,
    ) -> Response:
        life = self.service.settings.second_factor.remember_browser
        return self.messages.renderer.render_page(
            request,
            "second_factor.html",
            status,
            [*refusal_headers(status), *self.service.cookie.clearing_lines(request)],
            action=self.service.here(paths.SECOND_FACTOR, request),
            logout=paths.LOGOUT,
            onward=self.service.onward(request),
            method=challenge.method or "",
            others=[m for m in challenge.available if m != challenge.method],
            remembers=None if life is None else life.total_seconds(),
            error=error,
            clock=clock,
            lost=self.service.has_lost(request),
            preserved=preserved,
        )

    def _to_login(self, request: Request) -> Response:
        target = self.service.here(paths.LOGIN, request)
        if self.service.cookie.count(request):  # otherwise it keeps no cookies
            target += ("&" if "?" in target else "?") + "expired=1"
        return rendering.redirect(target, self.service.cookie.clearing_lines(request))
