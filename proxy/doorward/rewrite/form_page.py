"""The page with the login form of an application: how it is requested, where it redirects, and what
its form adds to the one that is posted.

Knows heads and HTML; must not know how requests are sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from doorward.gate.accept import Accepted
from doorward.http1.headers import Header
from doorward.http1.second_targets import move
from doorward.rewrite.cookie_jar import CookieJar
from doorward.rewrite.login_request import LoginRequests
from doorward.rewrite.relocation import Relocation, is_beneath
from doorward.settings import Route
from doorward.upstream.awaited_answer import OwnAnswer
from doorward.upstream.heads import Head

if TYPE_CHECKING:
    from doorward.rewrite.html_forms import HtmlForm, HtmlPage

# Most pages with a login form have less than 64 KiB, front pages with their scripts some hundred.
# To read one tag with as many attributes as fit in, Python takes 130 MiB for a moment.
PAGE_BYTES = 512 * 1024
# Browsers follow 20. Usual are one or two: to a language, to a path with a slash at its end.
REDIRECTS_LIMIT = 10
REDIRECTS = frozenset((301, 302, 303, 307, 308))
# Some applications show the form with the status of a page that needs a login.
_STATUSES = frozenset((200, 401, 403))
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}", re.ASCII)
_CHARSET = re.compile(r";\s{0,8}charset=\"?([\w.:-]{1,40})", re.ASCII | re.IGNORECASE)
_TARGET = re.compile(rb"/(?![/\\])[\x21-\x7e]*")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_SHOWN = 100  # characters of what an application sent, in the log


class UnfitPage(Exception):
    """No login form can be read from the page; the text says why."""


@dataclass(frozen=True, slots=True)
class OpenedForm:
    """What a browser knows after it opened the page. `hidden` are the form's hidden fields,
    `charset` is what it is to be sent in, `lines` name the page, and `jar` has its cookies."""

    hidden: tuple[tuple[str, str], ...]
    charset: str
    lines: bytes
    jar: CookieJar


class FormPage:
    """That of one route's application. Targets are as clients ask for them."""

    def __init__(self, route: Route, page: str, url: str, passwords: frozenset[str]) -> None:
        """`page` and `url`, to which the form is posted, are paths at the application. `passwords`
        are the names of the fields with the password."""
        self._prefix = (route.path if route.rewrite.strip_path else "").encode()
        self._base = route.base.encode()
        self._relocation = Relocation(route)
        self._requests = LoginRequests(route)
        self._passwords = passwords
        self._action = _cut(self._prefix + url.encode())
        self.target = self._prefix + page.encode()

    # Requests for the page

    def write(self, target: bytes, request: Accepted, jar: CookieJar) -> bytes:
        return self._requests.write(b"GET", target, request, b"accept-encoding: identity\r\n", jar)

    def measure(self, head: Head) -> int:
        """How much of an answer's body is worth reading, in bytes."""
        is_html = _read_type(head.headers)[0] == "text/html"
        return PAGE_BYTES if head.status in _STATUSES and is_html else 0

    def follow(self, target: bytes, head: Head, request: Accepted) -> bytes | None:
        """Where an answer redirects; None if it does not. Raises UnfitPage."""
        location = _find(head.headers, b"location")
        if head.status not in REDIRECTS or location is None:
            return None
        place = self._locate(target, location.decode("latin-1"), request)
        if place is None:
            where = ascii(location.decode("latin-1").partition("?")[0][:_SHOWN])
            raise UnfitPage(f"its page {show(target)} redirects out of the application, to {where}")
        return place

    def _locate(self, target: bytes, url: str, request: Accepted) -> bytes | None:
        """The target of a URL on the page `target`; None if this application has none for it."""
        try:
            absolute = urljoin(self._move_in(target), url)
            path = urlsplit(absolute).path.encode("latin-1", "replace")
        except ValueError:
            return None
        if self._base and not is_beneath(path, self._base):
            return None
        place = self._relocation.locate(absolute.encode("latin-1", "replace"), request)
        place = _NOT_ASCII.sub(lambda found: b"%%%02X" % ord(found[0]), place.partition(b"#")[0])
        return place if _TARGET.fullmatch(place) else None

    def _move_in(self, target: bytes) -> str:
        """A target as the application gets it."""
        return move(target, self._prefix, self._base).decode("latin-1")

    # The page

    def read(
        self, target: bytes, answer: OwnAnswer, jar: CookieJar, request: Accepted
    ) -> OpenedForm:
        """What the page's form says, and `jar`. Raises UnfitPage. Call it in a thread, one at
        a time: a hostile page takes 0.3 s and much memory."""
        # Not at the top: the table of entities is large, and most servers have no such form.
        from doorward.rewrite.html_forms import TooManyTags, find_charset, read_page

        head, name = answer.head, f"its page {show(target)}"
        kind, charset = _read_type(head.headers)
        if head.status not in _STATUSES:
            raise UnfitPage(f"{name} answers {head.status}")
        if kind != "text/html":
            raise UnfitPage(f"{name} is {kind}, not text/html")
        if (_find(head.headers, b"content-encoding") or b"identity").lower() != b"identity":
            raise UnfitPage(f"{name} is compressed, which was not asked for")
        if answer.body is None:
            raise UnfitPage(f"{name} is longer than {PAGE_BYTES // 1024} KiB")
        try:
            page = read_page(answer.body, charset)
        except TooManyTags:
            raise UnfitPage(f"{name} has too many tags") from None
        form = self._choose(page, target, request)
        if form is None:
            fields = " or ".join(sorted(self._passwords))
            wanted = f"that leads to {show(self._action)} or has the field {fields}"
            raise UnfitPage(f"{name} has no form {wanted}")
        chosen = find_charset(form.charset) or page.charset
        return OpenedForm(tuple(form.hidden), chosen, _name_page(target, request), jar)

    def _choose(self, page: HtmlPage, target: bytes, request: Accepted) -> HtmlForm | None:
        """The form to send: one that leads where it is posted, above all with the field for the
        password; else one with that field."""

        def rank(form: HtmlForm) -> int:
            action = self._locate(target, form.action or "", request)
            leads = action is not None and _cut(action) == self._action
            return 2 * leads + (not self._passwords.isdisjoint(form.names))

        best = max(page.forms, key=rank, default=None)
        return best if best is not None and rank(best) else None


def _name_page(target: bytes, request: Accepted) -> bytes:
    """What a browser says of the page that a form is sent from. Frameworks compare it with the Host
    (Django the Referer, others the Origin)."""
    origin = f"{request.scheme}://{request.authority}".encode()
    lines = b"origin: %b\r\nreferer: %b%b\r\nsec-fetch-site: same-origin\r\n"
    return lines % (origin, origin, target)


def _cut(target: bytes) -> bytes:
    """A target without its query."""
    return target.partition(b"?")[0]


def show(target: bytes) -> str:
    """A target for the log: its query may be secret."""
    return _cut(target)[:_SHOWN].decode("latin-1")


def _find(headers: Sequence[Header], wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name.lower() == wanted), None)


def _read_type(headers: Sequence[Header]) -> tuple[str, str | None]:
    """The media type in lower case, as far as it is one, and the charset (RFC 9110 8.3.1)."""
    value = (_find(headers, b"content-type") or b"").decode("latin-1")
    kind, charset = _MEDIA_TYPE.match(value), _CHARSET.search(value)
    named = "of an unknown type" if kind is None else kind[0].lower()
    return named, None if charset is None else charset[1]
