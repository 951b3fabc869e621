"""A user's own names and passwords at applications: shown without secrets, set and removed here.

Knows the fields and their messages; the core decides whose credentials these are.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.application_credentials import (
    ACCOUNT_CHARACTERS,
    PASSWORD_BYTES,
    ApplicationCredentials,
    ApplicationLogin,
)
from doorward.accounts.refusals import CredentialNotFound, InvalidCredential
from doorward.accounts.sessions.sessions import Session
from doorward.pages import rendering
from doorward.pages.languages import N_
from doorward.pages.session_form import Forms, PostedForm

APPLICATIONS = f"{paths.ACCOUNT}/applications"
# The fields of a posted form that may be repeated in the form that asks for proof: no secrets.
ASKED = ("code", "method", "current")
DONE = {
    "set": N_("Your name and password are saved."),
    "removed": N_("Your name and password are removed."),
}
UNFIT = N_("Enter a user name without a colon, and a password of at most 1,024 bytes.")


@dataclass(frozen=True, slots=True)
class ApplicationRow:
    """An application as a row of the list shows it; `account` is None if nothing is set."""

    route: str
    account: str | None
    set_at: float
    set_s: float


@dataclass(frozen=True, slots=True)
class ApplicationPages:
    forms: Forms
    credentials: ApplicationCredentials

    def routes(self) -> list[Route]:
        """None if no application has accounts per user."""
        if not self.credentials.routes:
            return []
        return [self.forms.messages.endpoint(APPLICATIONS, self.show, self.submit)]

    async def show(self, request: Request) -> Response:
        session = await self.forms.session(request)
        if isinstance(session, Response):
            return session
        route = request.query_params.get("route")
        if route not in self.credentials.routes:
            return await self._list(request, session)
        posted = PostedForm(session, {})
        if (question := await self.forms.demand_proof(request, posted)) is not None:
            return question
        return await self._form(request, session, route)

    async def _list(self, request: Request, session: Session) -> Response:
        now = self.forms.service.clock()
        known = {one.route: one for one in await self.credentials.list(session.user)}
        rows = []
        for route in self.credentials.routes:
            one = known.get(route)
            account, at = (None, now) if one is None else (one.account, one.set_at)
            rows.append(ApplicationRow(route, account, at, now - at))
        done = DONE.get(request.query_params.get("done", ""))
        return self.forms.render(
            request, "applications.html", session, action=APPLICATIONS, rows=rows, done=done
        )

    async def _form(
        self,
        request: Request,
        session: Session,
        route: str,
        account: str | None = None,
        error: str | None = None,
    ) -> Response:
        if account is None:
            known = {one.route: one for one in await self.credentials.list(session.user)}
            account = known[route].account if route in known else session.user.username
        return self.forms.render(
            request,
            "application.html",
            session,
            400 if error else 200,
            route=route,
            account=account,
            most=ACCOUNT_CHARACTERS,
            most_password=PASSWORD_BYTES,
            error=error,
        )

    async def submit(self, request: Request) -> Response:
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        if "remove" in posted.form:
            return await self._remove(posted)
        return await self._set(request, posted)

    async def _remove(self, posted: PostedForm) -> Response:
        now = self.forms.service.clock()
        try:
            await self.credentials.remove_own(posted.session, posted.form["remove"], now=now)
        except CredentialNotFound:
            pass  # removed in the meantime
        return rendering.redirect(f"{APPLICATIONS}?done=removed")

    async def _set(self, request: Request, posted: PostedForm) -> Response:
        asked = {name: text for name, text in posted.form.items() if name in ASKED}
        proof = PostedForm(posted.session, asked)
        if (question := await self.forms.demand_proof(request, proof)) is not None:
            return question
        session, form = proof.session, posted.form
        route = request.query_params.get("route", "")
        if route not in self.credentials.routes:
            return rendering.redirect(APPLICATIONS)
        if "password" not in form:  # the form answered the question for proof
            return await self._form(request, session, route)
        account = form.get("account", "").strip()
        login = ApplicationLogin(route, account, form["password"])
        try:
            await self.credentials.set_own(session, login, now=self.forms.service.clock())
        except InvalidCredential:
            return await self._form(request, session, route, account, UNFIT)
        return rendering.redirect(f"{APPLICATIONS}?done=set")
