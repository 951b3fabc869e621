"""All pages of ours, joined: their routes under `/.doorward/` and the message of the gate.

Knows which page answers where; what a page does is in its own file.
"""

from collections.abc import Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from proxy.accounts.core import Accounts
from proxy.gate.accept import Client
from proxy.gate.cookies import Cookies, Header
from proxy.gate.identify import Identify
from proxy.gate.ours import endpoint
from proxy.pages.drawing import guarded, static_routes
from proxy.pages.entrance import Entrance
from proxy.pages.login import LoginPage
from proxy.pages.logout import LogoutPage
from proxy.pages.message import answer, message, not_allowed
from proxy.pages.second_factor import SecondFactorPage
from proxy.settings import Settings

HEALTH = "/.doorward/healthz"


class Pages:
    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        identify: Identify,
        cookies: Cookies,
        clock: Callable[[], float],
    ) -> None:
        self._entrance = Entrance(settings, accounts, identify, cookies, clock)

    def routes(self) -> list[Route]:
        """Every path under `/.doorward/`; names that nothing here has are 404."""
        return [
            LoginPage(self._entrance).route(),
            LogoutPage(self._entrance).route(),
            SecondFactorPage(self._entrance).route(),
            endpoint(HEALTH, not_allowed=not_allowed, get=healthy),
            *static_routes(),
            unknown_route(),
        ]

    def message(
        self,
        status: int,
        title: str | None,
        text: str | None,
        client: Client | None,
        *,
        browser: bool,
        code: str | None = None,
        headers: Iterable[Header] = (),
        more: Mapping[str, str] | None = None,
    ) -> Response:
        """See `proxy.pages.message.message`."""
        return message(
            status, title, text, client, browser=browser, code=code, headers=headers, more=more
        )


async def healthy(request: Request) -> Response:
    """This process answers. It needs no client, as it is asked under any Host."""
    return guarded(JSONResponse({"status": "ok"}))


async def unknown(request: Request) -> Response:
    return answer(request, 404)


def unknown_route() -> Route:
    route = Route("/.doorward/{name:path}", unknown)
    route.methods = set()  # whatever the method, nothing of ours reaches an upstream
    return route
