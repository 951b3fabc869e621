"""Ends sessions of applications when Doorward's session ends: calls their logout, and expires their
cookies in the answer.

Knows which routes ask for that and what a browser may have; must not know how a request reaches an
application. A logout never fails because of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog
from starlette.requests import Request

from doorward.accounts.session import FULL, Session
from doorward.gate.accept import Client
from doorward.gate.authority import BadAuthority, parse_authority
from doorward.gate.cookies import Header, list_domains
from doorward.gate.rules import host_matches
from doorward.settings import AppLogout, Route, Settings
from doorward.web.endpoint import get_client

_log = structlog.get_logger("doorward.web")

# Time for all applications together, after which the answer is sent without them.
CALL_S = 3.0

# Ask a route's application to end its session of this browser. Raises LogoutFailed.
CallLogout = Callable[[Route, AppLogout, Request, Session], Awaitable[None]]


class LogoutFailed(Exception):
    """An application did not end its session; the text says why."""


class ApplicationLogouts:
    """`call` reaches applications; without one, cookies expire and nothing more."""

    def __init__(self, settings: Settings) -> None:
        self._routes = [
            (route, logout) for route in settings.routes if (logout := route.logout) is not None
        ]
        self._cookie_domain = settings.sessions.cookie.domain
        self.call: CallLogout | None = None

    async def end(self, request: Request, *sessions: Session) -> list[Header]:
        """The lines that expire the applications' cookies, after each was asked to end its session
        for each of these. One that still needed its second factor never reached an application."""
        client = get_client(request)
        here = [each for each in self._routes if _serves(each[0], client)]
        await self._call_all(here, request, [one for one in sessions if one.level is FULL])
        lines: dict[bytes, None] = {}
        for route, logout in here:
            lines |= dict.fromkeys(self._expire(route, logout, client))
        return [(b"set-cookie", line) for line in lines]

    async def _call_all(
        self,
        here: Iterable[tuple[Route, AppLogout]],
        request: Request,
        sessions: Sequence[Session],
    ) -> None:
        call = self.call
        if call is None:
            return
        calls = [
            self._call_one(call, route, logout, request, session)
            for route, logout in here
            if logout.url is not None
            for session in sessions
        ]
        await asyncio.gather(*calls)

    async def _call_one(
        self, call: CallLogout, route: Route, logout: AppLogout, request: Request, session: Session
    ) -> None:
        try:
            async with asyncio.timeout(CALL_S):
                await call(route, logout, request, session)
        except (LogoutFailed, TimeoutError) as failure:
            reason = str(failure) or "it took too long"
        except Exception:  # whatever fails there, the session is over here
            _log.exception("application_logout_failed", route=route.path)
            return
        else:
            return
        _log.warning("application_logout_failed", route=route.path, reason=reason)

    def _expire(self, route: Route, logout: AppLogout, client: Client) -> Iterable[bytes]:
        """One line for each variant of a cookie that a browser may have (RFC 6265 5.3): they differ
        in domain and path."""
        above = list_domains(client.host)
        domains = [None, *above[:1]]
        if self._cookie_domain in above[1:]:
            domains.append(self._cookie_domain)
        paths = ["/"]
        if route.path != "/":
            paths += [route.path, route.path + "/"]
        for name in logout.cookies:
            prefix = name.lower()
            secure = client.scheme == "https" or prefix.startswith(("__host-", "__secure-"))
            end = b"; Secure" if secure else b""
            is_host_only = prefix.startswith("__host-")  # which has no other variant
            for domain in domains[:1] if is_host_only else domains:
                within = "" if domain is None else f"; Domain={domain}"
                for path in paths[:1] if is_host_only else paths:
                    yield f"{name}=; Max-Age=0; Path={path}{within}".encode() + end


def _serves(route: Route, client: Client) -> bool:
    if route.host is None:
        return True
    try:
        return host_matches(route.host, parse_authority(client.host.encode()).host)
    except BadAuthority:  # of a request without a host
        return False
