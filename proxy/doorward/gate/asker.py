"""Whether a person's browser sent a request, or a program: who gets a page, and who gets JSON.

Knows request headers and what real clients send in them; must not know sessions, rules or pages.
"""

from collections.abc import Iterable, Iterator
from enum import Enum, auto

from starlette.requests import Request

Headers = Iterable[tuple[bytes, bytes]]


class Asker(Enum):
    """What kind of client sent a request, and so what it can use for an answer."""

    PROGRAM = auto()  # reads a status and JSON: scripts of pages, command lines, devices
    VISITOR = auto()  # a browser window that opens a page: can be redirected to the login page
    SENDER = auto()  # a browser window that sent a form, which a redirect would lose: gets a page
    FRAME = auto()  # a frame within a page: gets a page; the login page does not open in frames

    @property
    def is_person(self) -> bool:
        """Whether the answer is shown to somebody as it comes."""
        return self is not Asker.PROGRAM


# Fetch, "request destination": what loads a document into something other than a window.
_FRAMES = frozenset((b"iframe", b"frame", b"embed", b"object", b"fencedframe"))
# Without Fetch Metadata, these are the methods of links and of forms (HTML, "form submission").
_OF_WINDOWS = frozenset(("GET", "HEAD", "POST"))
_SAFE = frozenset(("GET", "HEAD"))

_HTML = b"text/html"
_XHTML = b"application/xhtml+xml"


def asker(method: str, headers: Headers) -> Asker:
    """Who sent a request of this method with these headers.

    Fetch Metadata decides where a browser sends it, which it does over https and on loopback alone.
    Elsewhere a script shows by `X-Requested-With`, and any client by its `Accept`.
    """
    said = _said(headers)
    if not _navigates(method, said):
        return Asker.PROGRAM
    if any(value in _FRAMES for value in said.get(b"sec-fetch-dest", ())):
        return Asker.FRAME
    return Asker.VISITOR if method in _SAFE else Asker.SENDER


def asker_of(request: Request) -> Asker:
    """The same for a request to a path of ours."""
    return asker(request.method, request.headers.raw)


_READ = frozenset((b"sec-fetch-mode", b"sec-fetch-dest", b"x-requested-with", b"accept"))


def _said(headers: Headers) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if (name := name.lower()) in _READ:
            found.setdefault(name, []).append(value.strip().lower())
    return found


def _navigates(method: str, said: dict[bytes, list[bytes]]) -> bool:
    if modes := said.get(b"sec-fetch-mode"):
        return set(modes) == {b"navigate"}
    if destinations := said.get(b"sec-fetch-dest"):
        return set(destinations) <= {b"document", *_FRAMES}
    # jQuery and its like. An Android app's own browser puts the name of the app here.
    if b"xmlhttprequest" in said.get(b"x-requested-with", ()):
        return False
    return method in _OF_WINDOWS and _opens_pages(b",".join(said.get(b"accept", ())))


def _opens_pages(accept: bytes) -> bool:
    """Whether this is the Accept of a browser that opens a page (RFC 9110 12.5.1).

    XHTML is what browsers alone ask for. Without it, a page has to be what is wanted most; a list
    of kinds in which pages stand behind a feed's, or among images (Java's own client), is not.
    """
    wanted = [one for one in _kinds(accept) if one[1] > 0]
    if any(kind == _XHTML for kind, _ in wanted):
        return True
    if not wanted or max(wanted, key=lambda one: one[1])[0] != _HTML:
        return False
    return not any(kind.startswith(b"image/") and kind != b"image/*" for kind, _ in wanted)


def _kinds(accept: bytes) -> Iterator[tuple[bytes, float]]:
    """The media ranges and how much each is wanted, 0 to 1; 0 for a weight that cannot be read."""
    for item in accept.split(b","):
        kind, *parameters = (part.strip() for part in item.split(b";"))
        weight = next((p[2:] for p in parameters if p.startswith(b"q=")), b"1")
        try:
            yield kind, float(weight)
        except ValueError:
            yield kind, 0.0
