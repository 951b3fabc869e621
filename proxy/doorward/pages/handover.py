"""Hands a session over to a host of another root domain, which gets no cookie of the portal.

The host puts a nonce into a cookie and sends the browser to the portal with a challenge made from
it. The portal sends the browser back with a code in a form, so no logged address contains the nonce
or the code. Knows pages and their order; the core decides whether a code is valid.
"""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.sessions.handover import (
    Handovers,
    build_challenge,
    is_challenge,
    make_nonce,
)
from doorward.accounts.sessions.sessions import FULL
from doorward.gate.handover import HandoverCarrier
from doorward.gate.same_origin import build_origin
from doorward.pages import rendering
from doorward.pages.languages import N_
from doorward.pages.message import Messages
from doorward.web.endpoint import BodyTooLarge, get_client, get_host
from doorward.web.forms import NotAForm, UnreadableForm, read_fields
from doorward.web.return_address import ReturnAddresses, find_site, safe_return
from doorward.web.session_service import SessionService, get_client_info

UNKNOWN = N_("This address leads to no site that you can log in to here.")


@dataclass(frozen=True, slots=True)
class HandoverPage:
    """`portal` is the origin where users log in; `returns` checks addresses on the other hosts."""

    service: SessionService
    messages: Messages
    handovers: Handovers
    carrier: HandoverCarrier
    returns: ReturnAddresses
    portal: str

    def routes(self) -> list[Route]:
        return [self.messages.endpoint(paths.HANDOVER, get=self.give, post=self.take)]

    # On the host

    def takes(self, request: Request) -> bool:
        """Whether the requested host gets its sessions from the portal."""
        return self.carrier.takes(get_host(request))

    async def leave(self, request: Request, page: str = paths.LOGIN) -> Response:
        """Redirect to the portal: to a page of it, or to get a session for this host."""
        client = get_client(request)
        scheme = self.portal.partition(":")[0]
        onward = safe_return(request.query_params.get("rd"))
        if onward.startswith(paths.PREFIX):
            return rendering.redirect(self.portal + onward)
        back = build_origin(scheme, client.host) + onward
        another = "another" in request.query_params
        if another or page != paths.LOGIN:
            asked = "another=1&" if another else ""
            return rendering.redirect(f"{self.portal}{page}?{asked}rd={quote(back, safe='/')}")
        if await self.service.find_handed(request) is not None:
            return rendering.redirect(onward)
        nonce = self.carrier.read_nonce(request.headers.raw) or make_nonce()
        query = urlencode({"challenge": build_challenge(nonce), "rd": back}, safe="/")
        line = self.carrier.nonce_line(nonce)
        return rendering.redirect(f"{self.portal}{paths.HANDOVER}?{query}", [line])

    async def take(self, request: Request) -> Response:
        """Exchange the code in the portal's form for a session, with a cookie for this host. Only
        the browser that started here has the nonce (CVE-2017-1000069, CVE-2025-52553)."""
        if not self.takes(request):
            return self.messages.answer(request, 404)
        try:
            form = await read_fields(request)
        except BodyTooLarge:
            return self.messages.answer(request, 413)
        except NotAForm:
            return self.messages.answer(request, 415)
        except UnreadableForm:
            return self.messages.answer(request, 400)
        onward = safe_return(form.get("rd"))
        nonce = self.carrier.read_nonce(request.headers.raw)
        host, now = get_host(request), self.service.clock()
        client, code = get_client_info(request), form.get("code", "")
        opened = await self.handovers.redeem(code, host, nonce, client, now)
        if opened is None:
            return await self._refuse(request, onward)
        await self.service.forget_handed(request)  # it may be another session's
        session = opened.session
        age = session.expires_at - self.service.clock() if session.remember else None
        lines = [
            self.carrier.set_line(opened.token, get_host(request), age),
            self.carrier.expire_nonce_line(),
        ]
        return rendering.redirect(onward, lines)

    async def _refuse(self, request: Request, onward: str) -> Response:
        """A second tab whose form arrives late uses the session of the first one."""
        if await self.service.find_handed(request) is not None:
            return rendering.redirect(onward)
        again = f"{paths.LOGIN}?rd={quote(onward, safe='/')}"
        return self.messages.renderer.render_page(
            request, "handover_failed.html", 403, [self.carrier.expire_nonce_line()], again=again
        )

    # At the portal

    async def give(self, request: Request) -> Response:
        """The form that carries a code to the host. A user who is not logged in logs in first."""
        if self.takes(request):
            return await self.leave(request)
        rd, challenge = (request.query_params.get(name, "") for name in ("rd", "challenge"))
        target = self.returns.check(rd)
        site = find_site(target)
        if not site or not is_challenge(challenge):
            return self.messages.answer(request, 400, UNKNOWN)
        session = await self.service.session(request)
        if session is None or session.level is not FULL:
            query = urlencode({"challenge": challenge, "rd": target}, safe="/")
            here = quote(f"{paths.HANDOVER}?{query}", safe="/")
            page = paths.LOGIN if session is None else paths.SECOND_FACTOR
            return rendering.redirect(f"{page}?rd={here}")
        host = get_site_host(site)
        code = await self.handovers.issue(session, host, challenge, self.service.clock())
        return self.messages.renderer.render_page(
            request,
            "handover.html",
            200,
            action=site + paths.HANDOVER,
            onward=target,
            code=code,
            rd=target.removeprefix(site) or "/",
            host=host,
            name=session.user.username,
        )


def get_site_host(site: str) -> str:
    """The host name of an origin, without the port."""
    return site.partition("://")[2].partition(":")[0]
