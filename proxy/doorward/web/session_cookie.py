"""The session cookie, and smaller ones, in the answers of pages and dialects.

Knows tokens, attributes and what a browser may have; must not know the session.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward import paths
from doorward.accounts.sessions.sessions import FULL, Opened
from doorward.accounts.sessions.tokens import Tokens
from doorward.gate.cookies import MAX_AGE_LIMIT_S, Cookies, Header, NamedValues, has_our_form
from doorward.web.endpoint import get_client


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """`clock` gives Unix seconds."""

    cookies: Cookies
    tokens: Tokens
    clock: Callable[[], float]

    def set(self, response: Response, request: Request, opened: Opened) -> None:
        response.raw_headers.extend(self.set_lines(request, opened))

    def expire(self, response: Response, request: Request) -> None:
        response.raw_headers.extend(self.expire_lines(request))

    def set_lines(self, request: Request, opened: Opened) -> list[Header]:
        """The lines that set the cookie; with a Max-Age only for a remembered session that does not
        need its second factor any more."""
        session = opened.session
        remembered = session.remember and session.level is FULL
        age = session.expires_at - self.clock() if remembered else None
        signed = self.tokens.sign(opened.token)
        held = self.cookies.held(_cookie_lines(request))
        to_own = bool(held.own) or self._is_anothers(held)
        line = self.cookies.set_line(signed, age, to_own=to_own)
        return [*self.clearing_lines(request), line]

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
    name: str, value: str, *, same_site: str, secure: bool, max_age_s: float | None = None
) -> Header:
    """The Set-Cookie line of a cookie that is sent only to the pages, so that no application sees
    it. Without an age it lasts until the browser closes."""
    age = "" if max_age_s is None else f"; Max-Age={min(int(max_age_s), MAX_AGE_LIMIT_S)}"
    line = f"{name}={value}{age}; Path={paths.PREFIX}; HttpOnly; SameSite={same_site}"
    return b"set-cookie", (line + ("; Secure" if secure else "")).encode()


def _cookie_lines(request: Request) -> list[bytes]:
    return [value for name, value in request.headers.raw if name == b"cookie"]
