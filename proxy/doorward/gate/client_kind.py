"""Whether a browser or a program sent a request, and so whether it gets a page or JSON.

Knows request headers and what real clients send in them; must not know sessions, rules or pages.
"""

from collections.abc import Iterable, Iterator
from enum import Enum, auto

from starlette.requests import Request

Headers = Iterable[tuple[bytes, bytes]]


class ClientKind(Enum):
    """The kind of client that sent a request, and so the kind of answer it can use."""

    PROGRAM = auto()  # gets a status and JSON: scripts of pages, command-line programs, devices
    NAVIGATION = auto()  # a browser window that opens a page: can be redirected to the login page
    FORM = auto()  # a browser window that sent a form, which a redirect would lose: gets a page
    FRAME = auto()  # a frame in a page: gets a page; the login page does not open in frames

    @property
    def is_person(self) -> bool:
        """Whether a person sees the answer."""
        return self is not ClientKind.PROGRAM


# Fetch, "request destination": values for documents that are not loaded into a window.
_FRAMES = frozenset((b"iframe", b"frame", b"embed", b"object", b"fencedframe"))
# Without Fetch Metadata, these are the methods of links and of forms (HTML, "form submission").
_OF_WINDOWS = frozenset(("GET", "HEAD", "POST"))
_SAFE = frozenset(("GET", "HEAD"))

_HTML = b"text/html"
_XHTML = b"application/xhtml+xml"


# The headers to examine. Those that decide on their own come first.
FETCH_METADATA = (b"sec-fetch-mode", b"sec-fetch-dest")
OTHER_HINTS = (b"x-requested-with", b"accept")
_READ = frozenset((*FETCH_METADATA, *OTHER_HINTS))


def detect_client_kind(method: str, headers: Headers) -> ClientKind:
    """The kind of client that sent a request with this method and these headers.

    Fetch Metadata decides if the browser sends it, which browsers do only over https and on
    loopback. Otherwise a script can be recognized by `X-Requested-With`, and other clients by
    `Accept`.
    """
    hints = _collect(headers)
    if not _navigates(method, hints):
        return ClientKind.PROGRAM
    if any(value in _FRAMES for value in hints.get(b"sec-fetch-dest", ())):
        return ClientKind.FRAME
    return ClientKind.NAVIGATION if method in _SAFE else ClientKind.FORM


def detect_request_kind(request: Request) -> ClientKind:
    """The same for a request to one of Doorward's own paths."""
    return detect_client_kind(request.method, request.headers.raw)


def sends_fetch_metadata(headers: Headers) -> bool:
    """Whether a browser sent these headers, from a window or a script. Over plain http, most
    browsers do not send them."""
    return any(name == b"sec-fetch-mode" for name, _ in headers)


def is_browser(request: Request) -> bool:
    """Whether a browser sent a request to a path of ours, in a window or from a script."""
    return sends_fetch_metadata(request.headers.raw) or detect_request_kind(request).is_person


def _collect(headers: Headers) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if (name := name.lower()) in _READ:
            found.setdefault(name, []).append(value.strip().lower())
    return found


def _navigates(method: str, hints: dict[bytes, list[bytes]]) -> bool:
    if modes := hints.get(b"sec-fetch-mode"):
        return set(modes) == {b"navigate"}
    if destinations := hints.get(b"sec-fetch-dest"):
        return set(destinations) <= {b"document", *_FRAMES}
    # jQuery and similar libraries. The browser inside an Android app sends the app's name here.
    if b"xmlhttprequest" in hints.get(b"x-requested-with", ()):
        return False
    return method in _OF_WINDOWS and _opens_pages(b",".join(hints.get(b"accept", ())))


def _opens_pages(accept: bytes) -> bool:
    """Whether this is the Accept of a browser that opens a page (RFC 9110 12.5.1).

    Only browsers ask for XHTML. Otherwise HTML must be the preferred type; a list in which HTML
    comes after a feed's type, or among images (as from Java's own client), does not count.
    """
    if b"html" not in accept:
        return False
    wanted = [one for one in _media_ranges(accept) if one[1] > 0]
    if any(kind == _XHTML for kind, _ in wanted):
        return True
    if not wanted or max(wanted, key=lambda one: one[1])[0] != _HTML:
        return False
    return not any(kind.startswith(b"image/") and kind != b"image/*" for kind, _ in wanted)


def _media_ranges(accept: bytes) -> Iterator[tuple[bytes, float]]:
    """The media ranges and their weights, 0 to 1; 0 for a weight that cannot be parsed."""
    for item in accept.split(b","):
        kind, *parameters = (part.strip() for part in item.split(b";"))
        weight = next((p[2:] for p in parameters if p.startswith(b"q=")), b"1")
        try:
            yield kind, float(weight)
        except ValueError:
            yield kind, 0.0
