"""All pages of ours, joined: their routes under `/.doorward/` and the message of the gate.

Knows which page answers where; what a page does is in its own file.
"""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.core import Accounts
from doorward.gate.cookies import Cookies
from doorward.gate.identify import Identify
from doorward.pages import qr
from doorward.pages.account import AccountPage
from doorward.pages.admin import AdminPages
from doorward.pages.admin_guard import AdminGuard
from doorward.pages.admin_user import AdminUserPages
from doorward.pages.authenticator import AuthenticatorPage
from doorward.pages.credentials import CredentialPages
from doorward.pages.forgotten import ForgottenPages
from doorward.pages.form_token import FormToken
from doorward.pages.login import LoginPage
from doorward.pages.logout import LogoutPage
from doorward.pages.message import Messages
from doorward.pages.preserved_form import Keeping
from doorward.pages.rendering import Drawing, guarded
from doorward.pages.second_factor import SecondFactorPage
from doorward.pages.session_form import Forms
from doorward.pages.sites import known_hosts
from doorward.settings import Settings
from doorward.web.endpoint import endpoint
from doorward.web.session_service import SessionService


class Pages:
    """Raises InvalidSettings for files of the owner's that cannot be used."""

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        identify: Identify,
        cookies: Cookies,
        clock: Callable[[], float],
    ) -> None:
        self._service = SessionService(settings, accounts, identify, cookies, clock)
        self._messages = Messages(Drawing(settings.pages, known_hosts(settings)))
        keeping = Keeping(self._service)
        parts = (self._service, self._messages)
        self._second = SecondFactorPage(*parts, keeping)
        self._login = LoginPage(*parts, self._second, keeping, FormToken(self._service))
        self.message = self._messages.message  # for the gate
        self.interrupted = self._login.interrupted  # likewise

    def prepare(self) -> None:
        """Do what the first requests would wait for; to be called in a thread."""
        self._messages.drawing.prepare()
        qr.svg("")

    def routes(self) -> list[Route]:
        """Every path under `/.doorward/`; names that nothing here has are 404."""
        parts = (self._service, self._messages)
        forms = Forms(*parts)
        return [
            self._login.route(),
            LogoutPage(*parts).route(),
            self._second.route(),
            *AccountPage(forms).routes(),
            *AuthenticatorPage(forms).routes(),
            *CredentialPages(forms).routes(),
            *ForgottenPages(*parts).routes(),
            *AdminPages(AdminGuard(forms)).routes(),
            *AdminUserPages(AdminGuard(forms)).routes(),
            endpoint(paths.HEALTH, not_allowed=self._messages.not_allowed, get=healthy),
            *self._messages.drawing.routes(),
            self._unknown_route(),
        ]

    def _unknown_route(self) -> Route:
        async def unknown(request: Request) -> Response:
            return self._messages.answer(request, 404)

        route = Route(paths.PREFIX + "{name:path}", unknown)
        route.methods = set()  # whatever the method, nothing of ours reaches an upstream
        return route


async def healthy(request: Request) -> Response:
    """This process answers. It needs no client, as it is asked under any Host."""
    return guarded(JSONResponse({"status": "ok"}))
