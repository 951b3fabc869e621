"""The logout page: GET shows a button, only POST ends the session.

Knows where the browser goes afterwards; the core ends the session everywhere at once.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.refusals import StorageUnavailable
from doorward.pages import rendering
from doorward.pages.form import FOREIGN
from doorward.pages.languages import N_
from doorward.pages.message import Messages
from doorward.web.return_address import address
from doorward.web.session_service import SessionService

FAILED = N_("You are still logged in: the logout could not be saved. Try again in a moment.")
# W3C Clear Site Data 3.1. Not "cookies", because the application may have cookies that have nothing
# to do with logins.
FORGET = (b"clear-site-data", b'"cache", "storage"')


@dataclass(frozen=True, slots=True)
class LogoutPage:
    service: SessionService
    messages: Messages

    def routes(self) -> list[Route]:
        return [self.messages.endpoint(paths.LOGOUT, get=self.show, post=self.submit)]

    async def show(self, request: Request) -> Response:
        session = await self.service.session(request) or await self.service.find_handed(request)
        name = None if session is None else session.user.username
        return self.messages.renderer.render_page(
            request,
            "logout.html",
            200,
            action=self._action(request),
            name=name,
            login=paths.LOGIN,
            onward=self._target(request),
        )

    async def submit(self, request: Request) -> Response:
        """End the session, if there is one, and expire every variant of the cookie."""
        if not self.service.is_from_own_site(request):
            return self.messages.answer(request, 403, FOREIGN, "foreign_origin")
        try:
            expired = await self.service.leave(request)
        except StorageUnavailable:
            return self.messages.answer(request, 503, FAILED)
        forget = [FORGET] if self.service.settings.pages.clear_site_data else []
        return rendering.redirect(self._target(request), [*expired, *forget])

    def _target(self, request: Request) -> str:
        """CVE-2021-29456: the target of a logout is checked like that of a login."""
        rd = request.query_params.get("rd")
        target = self.service.returns.check(rd)
        return paths.LOGIN if target == "/" and rd != "/" else target

    def _action(self, request: Request) -> str:
        target = self._target(request)
        return paths.LOGOUT if target == paths.LOGIN else address(paths.LOGOUT, target)
