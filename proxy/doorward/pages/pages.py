"""All pages together: their routes under `/.doorward/`, and the gate's messages.

Knows that each page has routes; must not know what a page does.
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
        """Every path under `/.doorward/`; unknown names get 404."""
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
        route.methods = set()  # none of these paths reaches an upstream, whatever the method
        return route


async def healthy(request: Request) -> Response:
    """The process is alive. Any Host may ask, so the client is not determined."""
    return add_page_headers(JSONResponse({"status": "ok"}))
