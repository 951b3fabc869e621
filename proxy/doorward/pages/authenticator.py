"""The pages for second factors: authenticator apps, recovery codes and codes by e-mail.

Knows the steps and their order; the core makes secrets and checks codes. If a rule demands a factor
of a user who has none, the user is sent here first, and then to the requested page.
"""

from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.factors import totp
from doorward.accounts.factors.records import TOTP
from doorward.accounts.factors.second_factor import Confirmed, Enrolment, SecondFactors
from doorward.accounts.refusals import (
    EnrolmentExpired,
    Refusal,
    SecondFactorInvalid,
    TotpAlreadyOn,
    TotpNotOn,
)
from doorward.accounts.sessions.sessions import Session
from doorward.pages import qr, rendering
from doorward.pages.second_factor import STATUSES, may_be_clock
from doorward.pages.session_form import Forms, PostedForm
from doorward.web.session_service import SessionService

RECOVERY = f"{paths.ACCOUNT}/recovery-codes"
EMAILED = f"{paths.ACCOUNT}/email-codes"


@dataclass(frozen=True, slots=True)
class AuthenticatorPage:
    forms: Forms
    factors: SecondFactors

    def routes(self) -> list[Route]:
        endpoint = self.forms.messages.endpoint
        return [
            endpoint(paths.AUTHENTICATOR, self.show, self.submit),
            endpoint(RECOVERY, self.back, self.renew),
            endpoint(EMAILED, self.back, self.switch),
        ]

    async def back(self, request: Request) -> Response:
        return rendering.redirect(paths.ACCOUNT)

    async def show(self, request: Request) -> Response:
        session = await self.forms.session(request)
        if isinstance(session, Response):
            return session
        return await self._overview(request, session)

    async def submit(self, request: Request) -> Response:
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        step = {"begin": self._begin, "confirm": self._confirm, "remove": self._remove}
        return await step.get(posted.form.get("step", ""), self._begin)(request, posted)

    async def _overview(
        self,
        request: Request,
        session: Session,
        status: int = 200,
        error: str | None = None,
        clock: bool = False,
    ) -> Response:
        enabled = await self.factors.list_enabled(session.user)
        return self.forms.render(
            request,
            "authenticator.html",
            session,
            status,
            on=TOTP in enabled,
            # The user was sent here on the way to another page.
            demanded="rd" in request.query_params and not enabled,
            error=error,
            clock=clock,
        )

    async def _begin(self, request: Request, posted: PostedForm) -> Response:
        if (question := await self.forms.demand_proof(request, posted)) is not None:
            return question
        try:
            now = self.forms.service.clock()
            enrolment = await self.factors.begin_totp(posted.session, now)
        except TotpAlreadyOn:
            return rendering.redirect(_onward(self.forms.service, request))
        return self._scan(request, posted.session, enrolment)

    def _scan(
        self,
        request: Request,
        session: Session,
        enrolment: Enrolment,
        status: int = 200,
        error: str | None = None,
    ) -> Response:
        """The page with the key to scan, with an error if a code does not match the key."""
        secret = enrolment.secret
        return self.forms.render(
            request,
            "enrol.html",
            session,
            status,
            picture=qr.draw_svg(enrolment.uri),
            uri=enrolment.uri,
            secret=secret,
            typed=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
            error=error,
            clock=error is not None,
        )

    async def _confirm(self, request: Request, posted: PostedForm) -> Response:
        if not await self._is_proved(posted):  # begun too long ago, or in another browser
            return await self._begin(request, PostedForm(posted.session, {"step": "begin"}))
        service, session, form = self.forms.service, posted.session, posted.form
        now = service.clock()
        secret, code = form.get("secret", ""), form.get("code", "")
        try:
            confirmed = await self.factors.confirm_totp(session, secret, code, now, renew=True)
        except SecondFactorInvalid as refusal:
            issuer = service.settings.second_factor.issuer
            uri = totp.provisioning_uri(secret, session.user.username, issuer)
            return self._scan(request, session, Enrolment(secret, uri), 401, str(refusal))
        except TotpAlreadyOn:
            return rendering.redirect(_onward(self.forms.service, request))
        except EnrolmentExpired as refusal:
            return await self._overview(request, session, 400, str(refusal))
        return self._confirmed(request, session, confirmed)

    async def _is_proved(self, posted: PostedForm) -> bool:
        return await self.factors.is_proved(posted.session, self.forms.service.clock())

    def _confirmed(self, request: Request, session: Session, confirmed: Confirmed) -> Response:
        """The correct code also counts as this session's second factor. The session gets a new
        token."""
        if confirmed.opened is not None:
            self.forms.set_cookie(request, confirmed.opened)
        return self._codes(request, session, confirmed.codes)

    def _codes(self, request: Request, session: Session, codes: tuple[str, ...]) -> Response:
        grouped = [f"{code[:4]}-{code[4:]}" for code in codes]
        here, name = self.forms.messages.renderer.here(request), session.user.username
        text = "\r\n".join([f"{here} · {name}" if here else name, "", *grouped, ""])
        return self.forms.render(
            request,
            "codes.html",
            session,
            codes=grouped,
            download=f"data:text/plain;charset=utf-8,{quote(text)}",
            onward=_onward(self.forms.service, request),
        )

    async def _remove(self, request: Request, posted: PostedForm) -> Response:
        now = self.forms.service.clock()
        try:
            code = posted.form.get("code", "")
            opened = await self.factors.remove_totp(posted.session, code, now, renew=True)
        except TotpNotOn:
            return rendering.redirect(paths.ACCOUNT)
        except Refusal as refusal:
            status = STATUSES.get(type(refusal), 401)
            clock = may_be_clock(refusal)
            return await self._overview(request, posted.session, status, str(refusal), clock)
        return self.forms.redirect(request, f"{paths.ACCOUNT}?done=removed", opened)

    async def renew(self, request: Request) -> Response:
        """Make new recovery codes; the old ones stop working."""
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        if (question := await self.forms.demand_proof(request, posted)) is not None:
            return question
        try:
            now = self.forms.service.clock()
            codes = await self.factors.regenerate_recovery(posted.session, now)
        except TotpNotOn:
            return rendering.redirect(paths.ACCOUNT)
        return self._codes(request, posted.session, codes)

    async def switch(self, request: Request) -> Response:
        """Switch codes by e-mail on or off."""
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        if (question := await self.forms.demand_proof(request, posted)) is not None:
            return question
        session, now = posted.session, self.forms.service.clock()
        if posted.form.get("switch") == "off":
            await self.factors.disable_email(session, now)
            return rendering.redirect(f"{paths.ACCOUNT}?done=off")
        try:
            opened = await self.factors.enable_email(session, now, renew=True)
        except Refusal as refusal:
            return self.forms.messages.answer(request, 409, str(refusal))
        return self.forms.redirect(request, f"{paths.ACCOUNT}?done=on", opened)


def _onward(service: SessionService, request: Request) -> str:
    return paths.ACCOUNT if "rd" not in request.query_params else service.onward(request)
