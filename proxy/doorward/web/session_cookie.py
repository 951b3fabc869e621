"""The session cookie, and smaller ones, in the answers of pages and dialects.

Knows tokens, attributes and what a browser may have; must not know the session.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward import paths
from doorward.accounts.passwords.known_browsers import KNOWN_S, KnownBrowsers
from doorward.accounts.sessions.sessions import FULL, Opened, Session
from doorward.accounts.sessions.tokens import Tokens
from doorward.gate.client_kind import is_browser
from doorward.gate.cookies import (
    KNOWN,
    MAX_AGE_LIMIT_S,
    Cookies,
    Header,
    NamedValues,
    has_our_form,
    read_cookie,
)
from doorward.web.endpoint import get_client


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """`clock` gives Unix seconds."""

    cookies: Cookies
    tokens: Tokens
    known_browsers: KnownBrowsers
    clock: Callable[[], float]

    def set(
        self, response: Response, request: Request, opened: Opened, login: str | None = None
    ) -> None:
        """`login` is the path of the endpoint at which this client logs in; None where it did not
        just do so, or did so on a page."""
        response.raw_headers.extend(self.set_lines(request, opened, login))

    def expire(self, response: Response, request: Request) -> None:
        response.raw_headers.extend(self.expire_lines(request))

    def set_lines(self, request: Request, opened: Opened, login: str | None = None) -> list[Header]:
        """The lines that set the cookie; with a Max-Age only for a remembered session that does not
        need its second factor any more. A complete login of a browser also makes it known; a
        program gets the one line that the documents of the dialects have."""
        session = opened.session
        remembered = session.remember and session.level is FULL
        age = session.expires_at - self.clock() if remembered else None
        signed = self.tokens.sign(opened.token)
        held = self.cookies.held(_cookie_lines(request))
        to_own = bool(held.own) or self._is_anothers(held)
        line = self.cookies.set_line(signed, age, to_own=to_own)
        if login is None and request.url.path.startswith(paths.PREFIX):
            login = paths.PREFIX
        known = []
        if login is not None and is_browser(request):
            known = self._known_lines(session, login)
        # The session last: simple clients keep the last line alone.
        return [*self.clearing_lines(request), *known, line]

    def _known_lines(self, session: Session, login: str) -> list[Header]:
        """What makes this browser known at the path where it logs in. Sent everywhere, it would
        make every request longer."""
        note = self.known_browsers.note(session, self.clock())
        if note is None:
            return []
        line = page_cookie(
            self.cookies.companion_name(KNOWN),
            note,
            same_site="Strict",
            secure=self.cookies.secure,
            max_age_s=KNOWN_S,
            path=login,
        )
        return [line]

    def read_known(self, request: Request) -> str | None:
        """The note of a browser that is known here."""
        return read_cookie(request.headers.raw, self.cookies.companion_name(KNOWN))

    def clearing_lines(self, request: Request) -> list[Header]:
        """Lines that expire every variant if the request has Doorward's cookie more than once,
        because no login would work with them. Otherwise none, because another tab may just have got
        a new one."""
        return self.expire_lines(request) if self.count(request) > 1 else []

    def expire_lines(self, request: Request) -> list[Header]:
        """Lines that expire every variant of Doorward's cookie that this browser may have."""
        held = self.cookies.held(_cookie_lines(request))
        of_default = not self._is_anothers(held)
        return self.cookies.expire_lines(get_client(request).host, of_default=of_default)

    def count(self, request: Request) -> int:
        """The number of session cookies in the request, valid or not."""
        return len(self._values(request))

    def read_tokens(self, request: Request) -> list[str]:
        """The correctly signed tokens in the request's session cookies, each once."""
        tokens = [self.tokens.unsign(value) for value in self._values(request)]
        return list(dict.fromkeys(token for token in tokens if token is not None))

    def _is_anothers(self, held: NamedValues) -> bool:
        """Whether the default name has a token that another instance on this host signed: this
        instance then uses its own name, and the other cookie is neither replaced nor expired."""
        return any(
            has_our_form(value) and self.tokens.unsign(value) is None for value in held.default
        )

    def _values(self, request: Request) -> tuple[bytes, ...]:
        return self.cookies.take(_cookie_lines(request))[0]


def page_cookie(
    name: str,
    value: str,
    *,
    same_site: str,
    secure: bool,
    max_age_s: float | None = None,
    path: str = paths.PREFIX,
) -> Header:
    """The Set-Cookie line of a cookie that is sent only to the pages, so that no application sees
    it. Without an age it lasts until the browser closes."""
    age = "" if max_age_s is None else f"; Max-Age={min(int(max_age_s), MAX_AGE_LIMIT_S)}"
    line = f"{name}={value}{age}; Path={path}; HttpOnly; SameSite={same_site}"
    return b"set-cookie", (line + ("; Secure" if secure else "")).encode()


def _cookie_lines(request: Request) -> list[bytes]:
    return [value for name, value in request.headers.raw if name == b"cookie"]
