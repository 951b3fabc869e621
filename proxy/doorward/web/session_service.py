"""What pages and dialects share: finding, opening and ending the session of a request.

Knows cookies and the core; must not know forms, bodies or wire formats.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.logins import LoginRequest, Logins
from doorward.accounts.sessions.handover import Handovers
from doorward.accounts.sessions.sessions import (
    FULL,
    ClientInfo,
    Lifetimes,
    Opened,
    Session,
    Sessions,
)
from doorward.gate.cookies import Header
from doorward.gate.handover import HandoverCarrier
from doorward.gate.identify import Identify
from doorward.gate.same_origin import Sender
from doorward.settings import Settings
from doorward.settings.dialects import Dialect
from doorward.web.application_logout import ApplicationLogouts
from doorward.web.endpoint import get_client, get_host, get_sender
from doorward.web.return_address import LOST, ReturnAddresses, address
from doorward.web.session_cookie import SessionCookie


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def lifetimes(settings: Settings) -> Lifetimes:
    """The lifetimes of sessions from the page or `xhr`."""
    sessions = settings.sessions
    return Lifetimes(
        idle_timeout_s=_seconds(sessions.idle_timeout),
        lifetime_s=sessions.lifetime.total_seconds(),
        remember_lifetime_s=sessions.remember_lifetime.total_seconds(),
        max_lifetime_s=_seconds(sessions.max_lifetime),
    )


def dialect_lifetimes(settings: Settings, dialect: Dialect) -> Lifetimes:
    """The lifetimes of sessions from a dialect that has its own."""
    lifetime, remembered = dialect.session_lifetimes()
    if lifetime is None or remembered is None:
        return lifetimes(settings)
    return Lifetimes(
        idle_timeout_s=_seconds(getattr(dialect, "idle_timeout", None)),
        lifetime_s=lifetime.total_seconds(),
        remember_lifetime_s=remembered.total_seconds(),
        max_lifetime_s=_seconds(settings.sessions.max_lifetime),
    )


@dataclass(frozen=True, slots=True)
class SessionService:
    """`clock` gives Unix seconds."""

    settings: Settings
    logins: Logins
    sessions: Sessions
    second_factors: SecondFactors
    identify: Identify
    cookie: SessionCookie
    clock: Callable[[], float]
    applications: ApplicationLogouts
    returns: ReturnAddresses = field(default_factory=ReturnAddresses)
    handover: HandoverCarrier | None = None
    handovers: Handovers | None = None

    def sender(self, request: Request) -> Sender:
        """The sender of the request, according to the browser."""
        return get_sender(request, self.settings.public_origin)

    def is_from_own_site(self, request: Request) -> bool:
        """False if another site made the browser send this."""
        return self.sender(request) is not Sender.OTHER

    async def session(self, request: Request) -> Session | None:
        """The live session of this request, of any level. Raises StorageUnavailable."""
        return await self.identify.session(request.headers.raw, self.clock())

    async def peek(self, request: Request, now: float) -> Session | None:
        """The complete session of this cookie; does not count as use of it."""
        found = await self._find_presented(request, now)
        count = self.cookie.count(request) + (self._read_handed(request) is not None)
        session = found[0] if len(found) == 1 and count == 1 else None
        return session if session is not None and session.level is FULL else None

    def onward(self, request: Request) -> str:
        """Where this page leads afterwards: the address in its query, if it is on this host or on
        another for which a login here is valid."""
        if self.has_lost(request):
            return "/"
        return self.returns.check(request.query_params.get("rd"))

    def has_lost(self, request: Request) -> bool:
        """Whether the return address was too long, which the page then says."""
        rd = request.query_params.get("rd", "")
        return LOST in request.query_params or len(rd) > self.settings.limits.target_bytes

    def here(self, page: str, request: Request) -> str:
        """The address of a page that leads to the same return address."""
        if self.has_lost(request):
            return f"{page}?{LOST}=1"
        return address(page, self.onward(request))

    async def open(self, request: Request, login: LoginRequest) -> Opened:
        """Logs in and ends the sessions of the request's cookies. Raises as `Logins.login` does."""
        now = self.clock()
        old = await self._find_presented(request, now)
        opened = await self.logins.login(
            replace(login, known=self.cookie.read_known(request)),
            client=get_client_info(request),
            now=now,
            replaces=old[0] if old else None,
        )
        for session in old[1:]:
            await self.sessions.end(session, now)
        return opened

    async def complete(
        self, request: Request, session: Session, code: str, method: str | None
    ) -> Opened:
        """Raises as `SecondFactors.complete` does."""
        return await self.second_factors.complete(
            session, code, method, client=get_client_info(request), now=self.clock()
        )

    async def end(self, session: Session) -> bool:
        """Whether this call ended it."""
        return await self.sessions.end(session, self.clock())

    async def leave(self, request: Request) -> list[Header]:
        """Ends every session of the request, whatever its carrier and whosever it is; returns the
        lines that expire the cookies.

        Storage is asked, not the cache, and StorageUnavailable is raised: a logout that failed must
        not look like one that worked (CVE-2024-21492).
        """
        now = self.clock()
        # Next to another user's cookie, or to two, a token is refused, but still valid.
        uncookied = [line for line in request.headers.raw if line[0] != b"cookie"]
        found = [await self.session(request), await self.identify.session(uncookied, now)]
        found += await self._find_presented(request, now)
        ended: dict[int, Session] = {}
        for session in found:
            if session is not None:
                # Copies in memory go first: only they know the sessions' cookies at applications.
                ended.setdefault(session.number, session)
        for session in ended.values():
            await self.sessions.end(session, now)
        others = await self.applications.end(request, *ended.values())
        lines = [*self.cookie.expire_lines(request), *others]
        if self.handover is not None and self.handover.takes(get_host(request)):
            lines.append(self.handover.expire_line())
        return lines

    async def complete_logout(
        self, request: Request, response: Response, session: Session, *, expire: bool = False
    ) -> Response:
        """The answer to a request that has ended its own session, after applications with sessions
        of their own were told to end them. Every such request of a page or a dialect calls this.
        `expire`: the session came by the cookie, which expires in the answer."""
        if expire:
            self.cookie.expire(response, request)
        response.raw_headers.extend(await self.applications.end(request, session))
        return response

    async def _find_presented(self, request: Request, now: float) -> list[Session]:
        tokens = self.cookie.read_tokens(request)
        found = [await self.sessions.by_token(token, now) for token in tokens]
        handed = self._read_handed(request)
        if handed is not None and self.handovers is not None:
            host, token = handed
            found.append(await self.handovers.by_token(token, host, now))
        return [each.session for each in found if each.session is not None]

    # Sessions that were handed over from another root domain

    def _read_handed(self, request: Request) -> tuple[str, str] | None:
        """The requested host, and the token of a session that was handed over to it."""
        if self.handover is None:
            return None
        lines = [value for name, value in request.headers.raw if name == b"cookie"]
        handed = self.handover.read(lines, get_host(request))
        token = None if handed is None else self.handover.open(handed)
        return None if handed is None or token is None else (handed.host, token)

    async def find_handed(self, request: Request) -> Session | None:
        """The session that was handed over to the requested host. It opens none of Doorward's
        pages, but shows them that no login is needed, and whose session a logout ends."""
        handed = self._read_handed(request)
        if handed is None or self.handovers is None:
            return None
        host, token = handed
        return (await self.handovers.by_token(token, host, self.clock())).session

    async def forget_handed(self, request: Request) -> None:
        """The token in the request is replaced by another one."""
        handed = self._read_handed(request)
        if handed is not None and self.handovers is not None:
            host, token = handed
            await self.handovers.forget(token, host, self.clock())


def get_client_info(request: Request) -> ClientInfo:
    client = get_client(request)
    return ClientInfo(client.address, client.user_agent)
