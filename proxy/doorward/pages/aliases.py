"""Doorward's pages under the names that other programs use for them, so that links and front
proxies that were set up for those programs keep working. Each redirects to a page of the portal.

Knows names and targets; must not know what the pages do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.session import FULL
from doorward.gate.same_origin import build_origin
from doorward.pages.message import Messages
from doorward.pages.rendering import add_page_headers
from doorward.web.endpoint import get_client
from doorward.web.session_service import SessionService

FOUND, SEE_OTHER = 302, 303
# The header that oauth2-proxy reads if the query contains no return address.
_RETURN_HEADER = "x-auth-request-redirect"


@dataclass(frozen=True, slots=True)
class AliasPages:
    """`aliases` are the programs whose names are used; `portal` is the origin of the targets."""

    service: SessionService
    messages: Messages
    aliases: Iterable[str]
    portal: str

    def routes(self) -> list[Route]:
        page, found = self.messages.endpoint, []
        if "oauth2-proxy" in self.aliases:
            for name in ("sign_in", "start"):
                at = paths.OAUTH2_PROXY + name
                found.append(page(at, get=self.lead_to_login, post=self.lead_to_login))
            out = paths.OAUTH2_PROXY + "sign_out"
            found.append(page(out, get=self.lead_to_logout, post=self.lead_to_logout))
            found.append(page(paths.OAUTH2_PROXY + "userinfo", get=self.tell_user))
        if "authentik" in self.aliases:
            found.append(page(paths.AUTHENTIK + "start", get=self.lead_to_login))
            found.append(page(paths.AUTHENTIK + "sign_out", get=self.lead_to_logout))
            found.append(page(paths.AUTHENTIK + "ping", get=self.answer_ping))
        return found

    async def lead_to_login(self, request: Request) -> Response:
        return self._lead(request, paths.LOGIN)

    async def lead_to_logout(self, request: Request) -> Response:
        """Redirect to the page with the button, because a link or an image must not log anyone
        out."""
        return self._lead(request, paths.LOGOUT)

    async def tell_user(self, request: Request) -> Response:
        """The user. No token is part of it (CVE-2024-39315)."""
        session = await self.service.session(request)
        if session is None or session.level is not FULL:
            return self.messages.answer(request, 401)
        user = session.user
        told: dict[str, object] = {"user": user.username, "email": user.email or ""}
        if user.groups:
            told["groups"] = list(user.groups)
        told["preferredUsername"] = user.username
        return add_page_headers(JSONResponse(told))

    async def answer_ping(self, request: Request) -> Response:
        return add_page_headers(Response(status_code=204))

    def _lead(self, request: Request, page: str) -> Response:
        client = get_client(request)
        here = build_origin(client.scheme, client.host)
        rd = request.query_params.get("rd") or request.headers.get(_RETURN_HEADER) or ""
        if rd.startswith(paths.OAUTH2_PROXY):
            rd = ""  # nginx sends the address of this page itself
        to = self.portal + page
        if rd and here != self.portal and rd.startswith("/"):
            site = build_origin(self.portal.partition(":")[0], client.host)
            rd = site + self.service.returns.check(rd)
        if self.service.returns.check(rd) != "/":
            to += f"?rd={quote(rd, safe='/')}"
        status = FOUND if request.method in ("GET", "HEAD") else SEE_OTHER
        return add_page_headers(Response(status_code=status, headers={"location": to}))
