"""All pages, joined: their routes under `/.doorward/` and the message of the gate.

Knows that each page has routes; what a page does is in its own file.
"""

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from doorward import paths
from doorward.pages import qr
from doorward.pages.login import LoginPage
from doorward.pages.message import Messages
from doorward.pages.rendering import add_page_headers
from doorward.web.endpoint import endpoint


class PageRoutes(Protocol):
    """One page, or a few that belong together."""

    def routes(self) -> list[Route]: ...


class Pages:
    def __init__(self, messages: Messages, login: LoginPage, others: Sequence[PageRoutes]) -> None:
        self.messages = messages  # for the gate, too
        self._pages: tuple[PageRoutes, ...] = (login, *others)
        self.preserve = login.preserve  # the same

    def prepare(self) -> None:
        """Do what the first requests would wait for; to be called in a thread."""
        self.messages.renderer.prepare()
        qr.draw_svg("")

    def routes(self) -> list[Route]:
        """Every path under `/.doorward/`; names that nothing here has are 404."""
        return [
            *(route for page in self._pages for route in page.routes()),
            endpoint(paths.HEALTH, not_allowed=self.messages.not_allowed, get=healthy),
            *self.messages.renderer.routes(),
            self._unknown_route(),
        ]

    def _unknown_route(self) -> Route:
        async def unknown(request: Request) -> Response:
            return self.messages.answer(request, 404)

        route = Route(paths.PREFIX + "{name:path}", unknown)
        route.methods = set()  # whatever the method, none of these paths reaches an upstream
        return route


async def healthy(request: Request) -> Response:
    """This process answers. It needs no client, as it is asked under any Host."""
    return add_page_headers(JSONResponse({"status": "ok"}))
