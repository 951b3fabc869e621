"""The login page: the form, and the answer when it is posted.

Knows fields, texts and statuses; the core decides whether a password is right.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope

from doorward import paths
from doorward.accounts.logins import LoginRequest
from doorward.accounts.passwords.hashing import LEAST_CHARACTERS
from doorward.accounts.refusals import (
    InvalidCredentials,
    LockedOut,
    MailFailed,
    Overloaded,
    PasswordChangeRequired,
    Refusal,
    SecondFactorInvalid,
    SecondFactorRequired,
    StorageUnavailable,
    TooManyCodes,
    WeakPassword,
    retry_after,
)
from doorward.accounts.sessions.sessions import FULL, PENDING, NewSession
from doorward.gate.client_kind import detect_request_kind
from doorward.pages import rendering, second_factor
from doorward.pages.browser import get_note
from doorward.pages.form import read_form
from doorward.pages.form_token import FormToken
from doorward.pages.handover import HandoverPage
from doorward.pages.languages import N_
from doorward.pages.login_loop import find_causes, is_login_loop
from doorward.pages.message import Messages
from doorward.pages.preserved_form import FIELD, PreservedForms, most_bytes
from doorward.web.endpoint import get_client
from doorward.web.refusal_headers import refusal_headers, set_retry_after
from doorward.web.return_address import address, referring_page
from doorward.web.session_service import SessionService, lifetimes

OFF = ("", "0", "false", "no", "off")

# Additional fields, for users who have to change their password.
CHANGE = "password"
CHANGE_WITH_CODE = "password and code"

UNBOUND = N_("Please log in again. If you see this again, allow cookies for this site.")
SEND = (
    "This form shows neither where it came from nor the token of its page. Send an Origin header"
    " with this site's origin, or get the login page first and send back its cookie and the value"
    " of its field `form`."
)
MISSING = N_("Enter your user name and your password.")

# Every other refusal reads like a wrong password: the page does not reveal which users exist.
STATUSES: dict[type[Refusal], int] = {
    LockedOut: 429,
    TooManyCodes: 429,
    SecondFactorRequired: 403,
    WeakPassword: 400,
    MailFailed: 503,
    PasswordChangeRequired: 403,
    Overloaded: 503,
    StorageUnavailable: 503,
}


@dataclass(frozen=True, slots=True)
class LoginForm:
    """The content of the form. `change`: the sentence that asks for a new password; `preserved`:
    the sealed form that it carries; `interrupted`: whether a form was just preserved; `clock`:
    whether a phone's clock may be wrong; `action`: where the form is posted, if not to its own
    page."""

    error: str | None = None
    username: str = ""
    logged_in_as: str | None = None
    change: str = ""
    preserved: str = ""
    interrupted: bool = False
    clock: bool = False
    action: str | None = None


@dataclass(frozen=True, slots=True)
class LoginPage:
    service: SessionService
    messages: Messages
    second: second_factor.SecondFactorPage
    preserved_forms: PreservedForms
    token: FormToken
    handover: HandoverPage | None = None

    def routes(self) -> list[Route]:
        return [self.messages.endpoint(paths.LOGIN, get=self.show, post=self.submit)]

    async def show(self, request: Request) -> Response:
        """The form. A user who is already logged in, in a second tab, continues to the target,
        except with `?another=1`."""
        if self.handover is not None and self.handover.takes(request):
            return await self.handover.leave(request)
        session = await self.service.session(request)
        logged_in = session is not None and session.level is FULL
        if logged_in and "another" not in request.query_params:
            return rendering.redirect(self.service.onward(request))
        name = session.user.username if session is not None and logged_in else None
        if session is None and is_login_loop(request):
            return self._explain(request)
        return self._render(request, 200, LoginForm(logged_in_as=name))

    def _explain(self, request: Request) -> Response:
        """The page that explains a login loop, from the second time in a row."""
        target = self.service.here(paths.LOGIN, request)
        return self.messages.renderer.render_page(
            request,
            "login_loop.html",
            409,
            self.service.cookie.expire_lines(request),
            causes=find_causes(self.service, request),
            again=target + ("&" if "?" in target else "?") + "again=1",
        )

    async def submit(self, request: Request) -> Response:
        if self.handover is not None and self.handover.takes(request):
            return await self.handover.leave(request)
        form = await read_form(self.service, self.messages, request, most_bytes(request))
        if isinstance(form, Response):
            return form
        if self.token.is_due(request, form):
            return self._refuse_unbound(request, form)
        return await self._log_in(request, form)

    def _refuse_unbound(self, request: Request, form: dict[str, str]) -> Response:
        """The answer to a form that may come from another site (CVE-2017-1000069): the same form
        again, with its token. For a program, the answer says what to send."""
        if not detect_request_kind(request).is_person:
            return self.messages.answer(request, 403, SEND, "form_token_required")
        name, preserved = form.get("username", ""), form.get(FIELD, "")
        return self._render(
            request, 403, LoginForm(error=UNBOUND, username=name, preserved=preserved)
        )

    async def _log_in(self, request: Request, form: dict[str, str]) -> Response:
        name, password = form.get("username", ""), form.get("password", "")
        preserved = form.get(FIELD, "")
        if not name or not password:
            return self._render(
                request, 400, LoginForm(error=MISSING, username=name, preserved=preserved)
            )
        try:
            opened = await self.service.open(request, self._login_request(request, form))
        except PasswordChangeRequired:
            return self._render(
                request,
                403,
                LoginForm(
                    error=PasswordChangeRequired.message,
                    username=name,
                    change=CHANGE,
                    preserved=preserved,
                ),
            )
        except Refusal as refusal:
            return self._refuse(request, refusal, name, preserved, "new" in form)
        lines = self.service.cookie.set_lines(request, opened)
        if preserved and self.preserved_forms.open(request, preserved) is not None:
            return await self.second.continue_login(request, opened.session, preserved, lines)
        onward = self.service.onward(request)
        if opened.session.level is PENDING:
            onward = self.service.here(paths.SECOND_FACTOR, request)
        return rendering.redirect(onward, lines)

    def _login_request(self, request: Request, form: dict[str, str]) -> LoginRequest:
        remember = form.get("remember", "").lower() not in OFF
        return LoginRequest(
            form["username"],
            form["password"],
            NewSession("page", lifetimes(self.service.settings), remember),
            code=form.get("code") or None,
            pending=True,
            new_password=form.get("new") or None,
            browser=get_note(request, self.service.cookie.cookies),
        )

    async def preserve(self, scope: Scope, receive: Receive) -> Response | None:
        """For the gate: preserve the posted form of a person whose session is over across the
        login."""
        request = Request(scope)
        if self.handover is not None and self.handover.takes(request):
            return None  # the login is on another host, which would not have the form
        preserved = await self.preserved_forms.read(scope, receive)
        if preserved is None:
            return None
        sealed, line = self.preserved_forms.seal(preserved)
        target = referring_page(request.headers.raw, get_client(request).host)
        action = address(paths.LOGIN, target)
        response = self._render(
            request, 401, LoginForm(preserved=sealed, action=action, interrupted=True)
        )
        response.raw_headers.append(line)
        return response

    def _refuse(
        self, request: Request, refusal: Refusal, name: str, preserved: str, changes: bool = False
    ) -> Response:
        status = STATUSES.get(type(refusal), 401)
        told = status != 401 or isinstance(refusal, SecondFactorInvalid)
        error = str(refusal) if told else InvalidCredentials.message
        wants_code = isinstance(refusal, SecondFactorRequired | SecondFactorInvalid | TooManyCodes)
        change = (CHANGE_WITH_CODE if wants_code else CHANGE) if changes else ""
        response = self._render(
            request,
            status,
            LoginForm(
                error=error,
                username=name,
                change=change,
                preserved=preserved,
                clock=second_factor.may_be_clock(refusal),
            ),
        )
        set_retry_after(response, retry_after(refusal))
        return response

    def _render(self, request: Request, status: int, form: LoginForm) -> Response:
        token, lines = self.token.offer(request)
        return self.messages.renderer.render_page(
            request,
            "login.html",
            status,
            [*refusal_headers(status), *self.service.cookie.clearing_lines(request), *lines],
            token=token,
            action=form.action or self.service.here(paths.LOGIN, request),
            preserved=form.preserved,
            interrupted=form.interrupted,
            onward=self.service.onward(request),
            error=form.error,
            username=form.username,
            logged_in_as=form.logged_in_as,
            change=form.change,
            least=LEAST_CHARACTERS,
            forgotten=paths.FORGOTTEN,
            expired="expired" in request.query_params,
            clock=form.clock,
            lost=self.service.has_lost(request),
        )
