"""The logout page: GET shows a button, only POST ends the session.

Knows where to go afterwards; that a session ends everywhere at once is the core's business.
"""

from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.accounts.refusals import StorageUnavailable
from proxy.gate.ours import endpoint, safe_return
from proxy.pages import drawing, login
from proxy.pages.entrance import Entrance
from proxy.pages.message import answer, not_allowed, safely
from proxy.pages.posted import FOREIGN

PATH = "/.doorward/logout"
FAILED = "You are still logged in: the logout could not be written down. Try again in a moment."


@dataclass(frozen=True, slots=True)
class LogoutPage:
    entrance: Entrance

    def route(self) -> Route:
        get, post = safely(self.show), safely(self.submit)
        return endpoint(PATH, not_allowed=not_allowed, get=get, post=post)

    async def show(self, request: Request) -> Response:
        session = await self.entrance.session(request)
        name = None if session is None else session.user.username
        return drawing.page(
            "logout.html", 200, action=_action(request), name=name, login=login.PATH
        )

    async def submit(self, request: Request) -> Response:
        """Ends the session, if there is one, and expires every variant of the cookie."""
        if not self.entrance.is_ours(request):
            return answer(request, 403, FOREIGN, "foreign_origin")
        try:
            expired = await self.entrance.leave(request)
        except StorageUnavailable:
            return answer(request, 503, FAILED)
        return drawing.moved(_target(request), expired)


def _target(request: Request) -> str:
    """CVE-2021-29456: where a logout leads is checked like where a login does."""
    rd = request.query_params.get("rd")
    target = safe_return(rd)
    return login.PATH if target == "/" and rd != "/" else target


def _action(request: Request) -> str:
    target = _target(request)
    return PATH if target == login.PATH else f"{PATH}?rd={quote(target, safe='/')}"
