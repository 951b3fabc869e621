"""Whether a person's browser sent a request, or a program: it gets a page, or JSON.

Knows request headers and what real clients send in them; must not know sessions, rules or pages.
"""

from collections.abc import Iterable, Iterator
from enum import Enum, auto

from starlette.requests import Request

Headers = Iterable[tuple[bytes, bytes]]


class ClientKind(Enum):
    """What kind of client sent a request, and so what it can use for an answer."""

    PROGRAM = auto()  # reads a status and JSON: scripts of pages, command lines, devices
    NAVIGATION = auto()  # a browser window that opens a page: can be redirected to the login page
    FORM = auto()  # a browser window that sent a form, which a redirect would lose: gets a page
    FRAME = auto()  # a frame within a page: gets a page; the login page does not open in frames

    @property
    def is_person(self) -> bool:
        """Whether the answer is shown to somebody as it comes."""
        return self is not ClientKind.PROGRAM


# Fetch, "request destination": what loads a document into something other than a window.
_FRAMES = frozenset((b"iframe", b"frame", b"embed", b"object", b"fencedframe"))
# Without Fetch Metadata, these are the methods of links and of forms (HTML, "form submission").
_OF_WINDOWS = frozenset(("GET", "HEAD", "POST"))
_SAFE = frozenset(("GET", "HEAD"))

_HTML = b"text/html"
_XHTML = b"application/xhtml+xml"


# What is looked at, first what decides by itself where it is sent.
FETCH_METADATA = (b"sec-fetch-mode", b"sec-fetch-dest")
OTHER_HINTS = (b"x-requested-with", b"accept")
_READ = frozenset((*FETCH_METADATA, *OTHER_HINTS))


def detect_client_kind(method: str, headers: Headers) -> ClientKind:
    """Who sent a request of this method with these headers.

    Fetch Metadata decides where a browser sends it, which it does over https and on loopback alone.
    Elsewhere a script shows by `X-Requested-With`, and any client by its `Accept`.
    """
    hints = _collect(headers)
    if not _navigates(method, hints):
        return ClientKind.PROGRAM
    if any(value in _FRAMES for value in hints.get(b"sec-fetch-dest", ())):
        return ClientKind.FRAME
    return ClientKind.NAVIGATION if method in _SAFE else ClientKind.FORM


def detect_request_kind(request: Request) -> ClientKind:
    """The same for a request to a path of ours."""
    return detect_client_kind(request.method, request.headers.raw)


def sends_fetch_metadata(headers: Headers) -> bool:
    """Whether a browser sent these headers, in a window or from a script; over plain http most
    send none."""
    return any(name == b"sec-fetch-mode" for name, _ in headers)


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
    # jQuery and its like. An Android app's own browser puts the name of the app here.
    if b"xmlhttprequest" in hints.get(b"x-requested-with", ()):
        return False
    return method in _OF_WINDOWS and _opens_pages(b",".join(hints.get(b"accept", ())))


def _opens_pages(accept: bytes) -> bool:
    """Whether this is the Accept of a browser that opens a page (RFC 9110 12.5.1).

    XHTML is what browsers alone ask for. Without it, a page has to be what is wanted most; a list
    of kinds in which pages stand behind a feed's, or among images (Java's own client), is not.
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
    """The media ranges and how much each is wanted, 0 to 1; 0 for a weight that cannot be read."""
    for item in accept.split(b","):
        kind, *parameters = (part.strip() for part in item.split(b";"))
        weight = next((p[2:] for p in parameters if p.startswith(b"q=")), b"1")
        try:
            yield kind, float(weight)
        except ValueError:
            yield kind, 0.0
