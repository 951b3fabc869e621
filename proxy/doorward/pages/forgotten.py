"""The pages for forgotten passwords: requesting a link, and setting a new password with it.

Knows two forms and their texts; the core decides who gets a mail and what a link allows.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.forgotten import Forgotten
from doorward.accounts.passwords.hashing import LEAST_CHARACTERS
from doorward.accounts.refusals import EnrolmentExpired, Overloaded, Refusal
from doorward.accounts.user import User
from doorward.gate.cookies import Header
from doorward.pages.form import read_form
from doorward.pages.languages import N_
from doorward.pages.message import Messages
from doorward.web.endpoint import get_client
from doorward.web.refusal_headers import refusal_headers
from doorward.web.session_service import SessionService

MISSING = N_("Enter your user name or your e-mail address.")
TOO_OFTEN = N_("You have asked for this too often. Try again later.")
VOID = N_("This link is no longer valid. Ask for a new one.")  # the core's wording
# The page's address contains the key, so requests from this page send only the origin as referrer.
QUIET = "origin"


@dataclass(frozen=True, slots=True)
class ForgottenPages:
    service: SessionService
    messages: Messages
    forgotten: Forgotten

    def routes(self) -> list[Route]:
        """If no mail can be sent, a single page that says who can help."""
        endpoint = self.messages.endpoint
        if not self.forgotten.is_offered:
            return [endpoint(paths.FORGOTTEN, self.show)]
        return [
            endpoint(paths.FORGOTTEN, self.show, self.ask),
            endpoint(paths.RESET, self.show_reset, self.reset),
        ]

    async def show(self, request: Request) -> Response:
        return self._forgotten(request)

    async def ask(self, request: Request) -> Response:
        """The same answer for every name, sent before the name is looked up."""
        form = await read_form(self.service, self.messages, request)
        if isinstance(form, Response):
            return form
        if not (name := form.get("username", "").strip()):
            return self._forgotten(request, 400, error=MISSING)
        address = get_client(request).address
        wait_s = self.forgotten.ask(name, address, self.service.clock())
        if wait_s is None:
            return self._forgotten(request, sent=True)
        more = refusal_headers(429, int(wait_s) + 1)
        return self._forgotten(request, 429, TOO_OFTEN, more=more)

    def _forgotten(
        self,
        request: Request,
        status: int = 200,
        error: str | None = None,
        sent: bool = False,
        more: list[Header] | None = None,
    ) -> Response:
        return self.messages.renderer.render_page(
            request,
            "forgotten.html",
            status,
            more or [],
            action=paths.FORGOTTEN,
            error=error,
            sent=sent,
            can_mail=self.forgotten.is_offered,
        )

    async def show_reset(self, request: Request) -> Response:
        link = request.query_params.get("token", "")
        try:
            user = await self.forgotten.whose(link, self.service.clock())
        except EnrolmentExpired:
            return self._reset(request, None, "", 400, VOID)
        return self._reset(request, user, link)

    async def reset(self, request: Request) -> Response:
        form = await read_form(self.service, self.messages, request)
        if isinstance(form, Response):
            return form
        link, new = form.get("token", ""), form.get("new", "")
        user, now = None, self.service.clock()
        try:
            user = await self.forgotten.whose(link, now)
            await self.forgotten.use(link, new, now)
        except EnrolmentExpired:
            return self._reset(request, None, "", 400, VOID)
        except Overloaded as refusal:
            return self._reset(request, user, link, 503, str(refusal))
        except Refusal as refusal:
            if user is None:
                raise
            return self._reset(request, user, link, 400, str(refusal))
        return self._reset(request, user, "")

    def _reset(
        self,
        request: Request,
        user: User | None,
        link: str,
        status: int = 200,
        error: str | None = None,
    ) -> Response:
        """The form for a valid link; without a link, the result of the last step."""
        response = self.messages.renderer.render_page(
            request,
            "reset.html",
            status,
            refusal_headers(status),
            action=paths.RESET,
            user=user,
            link=link,
            least=LEAST_CHARACTERS,
            error=error,
        )
        response.headers["referrer-policy"] = QUIET
        return response
