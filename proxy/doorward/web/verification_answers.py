"""The answers with which a front proxy refuses a request, and the link to the login.

Knows refusals, kinds of clients and what front proxies can pass on; must not know how one asks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import quote

from doorward import paths
from doorward.gate.accept import Accepted
from doorward.gate.client_kind import ClientKind
from doorward.gate.decision import MOVED, Refuse
from doorward.gate.front_proxies import FrontProxy
from doorward.gate.same_origin import build_origin
from doorward.http1.arrival import Received
from doorward.http1.headers import Header
from doorward.http1.response_head import write_lines
from doorward.web.answers import Answer, Answers, get_client_kind, link_with_age
from doorward.web.return_address import LOST, referring_page

UNAUTHENTICATED, FORBIDDEN, UNAVAILABLE = 401, 403, 503
_LOGIN_HEADERS = (b"x-doorward-location", b"location")
_EMPTY: Header = (b"content-length", b"0")
_NO_STORE: Header = (b"cache-control", b"no-store")


class VerificationAnswers:
    """`portal` is the origin of the site where people log in."""

    def __init__(
        self,
        answers: Answers,
        portal: str,
        page_bytes: int,
        begins_there: Callable[[str], bool] = lambda host: False,
    ) -> None:
        """`page_bytes` is the maximum length of a portal page's target; `begins_there` returns
        whether a host's login begins there, because sessions are handed over to it."""
        self._begins_there = begins_there
        self._answers = answers
        self._portal = portal
        self._page_bytes = page_bytes

    def to(
        self, refusal: Refuse, arrival: Received, request: Accepted, front: FrontProxy
    ) -> Answer:
        """The answer that refuses `request`, which came with the headers of `arrival`."""
        refusal = replace(refusal, status=_status(refusal.status, front))
        kind = get_client_kind(request.method, arrival)
        if refusal.status == MOVED:
            return self._move(refusal, request, front)
        if refusal.status != UNAUTHENTICATED:
            switch = refusal.switch and self._link(refusal.switch, request)
            refusal = replace(refusal, switch=switch)
            return self._answers.render(refusal, arrival, request, kind)
        login = self._login(refusal, arrival, request, kind)
        lines: list[Header] = [
            (name, login.encode()) for name in (*_LOGIN_HEADERS, front.login_header) if name
        ]
        if front.reason_header:
            lines.append((front.reason_header, refusal.code.encode()))
        is_led = kind is ClientKind.NAVIGATION or front.redirects_programs
        if is_led and front.redirects:
            kept = [line for line in refusal.headers if line[0] != b"www-authenticate"]
            return Answer.of(front.redirect, (*lines, _EMPTY, *kept, _NO_STORE))
        refusal = replace(refusal, login=login)
        answer = self._answers.render(refusal, arrival, request, kind)
        answer.head.text += write_lines(lines)
        return answer

    def unread(self, refusal: Refuse) -> Answer:
        """To a question that names no request, for the operator of the front proxy."""
        text = f"{refusal.message}\n".encode()
        lines: Sequence[Header] = (
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            *refusal.headers,
            _NO_STORE,
        )
        return Answer.of(refusal.status, lines, text)

    def _move(self, refusal: Refuse, request: Accepted, front: FrontProxy) -> Answer:
        """Another address on the same host. A front proxy that passes on no redirect gets a refusal
        that names the address."""
        path = dict(refusal.headers)[b"location"]
        address = f"{build_origin(request.scheme, request.authority)}".encode() + path
        lines: Sequence[Header] = (
            (b"x-doorward-location", address),
            (b"location", address),
            _EMPTY,
            _NO_STORE,
        )
        return Answer.of(MOVED if front.redirects else UNAUTHENTICATED, lines)

    def _login(
        self, refusal: Refuse, arrival: Received, request: Accepted, kind: ClientKind
    ) -> str:
        """Where the user can log in. A form or a frame is led back to the page that contained it,
        as for a refused request."""
        login = refusal.login or paths.LOGIN + "?rd=/"
        page = login.partition("?")[0]
        if kind.is_person and kind is not ClientKind.NAVIGATION:
            onward = referring_page(arrival.headers, request.authority)
            login = link_with_age(f"{page}?rd={quote(onward, safe='/')}", refusal)
        found = self._link(login, request)
        if len(found) - len(self._portal) > self._page_bytes:
            return link_with_age(f"{self._portal}{page}?{LOST}=1", refusal)
        return found

    def _link(self, login: str, request: Accepted) -> str:
        """A link to one of Doorward's pages that leads back to a path (`rd`), as a link to the
        portal."""
        site = build_origin(request.scheme, request.authority)
        if site == self._portal:
            return self._portal + login
        if login.startswith(paths.LOGIN) and self._begins_there(request.host):
            return site + login
        return self._portal + login.replace("rd=/", f"rd={quote(site, safe='')}/", 1)


def _status(status: int, front: FrontProxy) -> int:
    """The nearest status that a front proxy passes on as a refusal: its own error would not say
    why, and of Doorward's errors only 503 tells clients to retry."""
    if status == MOVED:
        return status
    if status >= 500:
        return UNAVAILABLE if status in (500, UNAVAILABLE) else FORBIDDEN
    if not front.any_status and status not in (UNAUTHENTICATED, FORBIDDEN):
        return FORBIDDEN
    return FORBIDDEN if status < 400 else status
