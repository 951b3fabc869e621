"""Finds and parses request headers that contain another target than the request line.

An application acts on these targets, too, so the rules have to allow each. Knows the syntax of the
headers; must not know routes, rules or users.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

Span = tuple[int, int]
Header = tuple[bytes, bytes]


class BadTarget(Exception):
    """An ambiguous header: 400."""


class ForeignTarget(Exception):
    """A target that is not on this server: 502 (RFC 4918 9.8.5)."""


@dataclass(frozen=True, slots=True)
class SecondTarget:
    """One URL in a header. `site`: its scheme and authority in lower case, None if the URL is only
    a path; `rest`: its path and query."""

    site: tuple[str, str] | None
    rest: bytes

    @property
    def path(self) -> bytes:
        return self.rest.partition(b"?")[0]

    @property
    def host(self) -> str | None:
        """The host of `site`, in the form that rules use."""
        if self.site is None:
            return None
        host, colon, port = self.site[1].rpartition(":")
        return (host if colon and port.isdigit() else self.site[1]).rstrip(".")


# RFC 4918 8.3: an absolute URI or an absolute path, without a user, which some programs mistake for
# the host.
_ABSOLUTE = re.compile(rb"(https?)://([^/?#@\\\s]+)((?:/[^\s]*)?)", re.IGNORECASE)
_PATH = re.compile(rb"/(?![/\\])[^\s]*")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")

# RFC 4918 10.4.2: tags, which are URLs, come before lists; URLs in a list are lock tokens.
_LIST = rb"\((?:[^()<>\[\]\"]|<[^<>]*>|\[(?:W/)?\"[^\"]*\"\])*\)"
_TAG_OR_LIST = re.compile(rb"[ \t]*(?:<([^<>]*)>|" + _LIST + rb")[ \t]*")


# The rules are evaluated several times for each target. Clients send at most the source, the
# destination and their parents.
TARGETS_LIMIT = 16


def _whole(value: bytes) -> list[Span]:
    start = len(value) - len(value.lstrip(b" \t"))
    return [(start, len(value.rstrip(b" \t")))]


def _tags(value: bytes) -> list[Span]:
    found, at = [], 0
    while at < len(value):
        match = _TAG_OR_LIST.match(value, at)
        if match is None:
            raise BadTarget("its If header is malformed")
        if match[1] is not None:
            found.append(match.span(1))
            if len(found) > TARGETS_LIMIT:
                raise BadTarget("its If header names too many targets")
        at = match.end()
    return found


# Names in lower case, and where the URLs are in the value. To support another header, add a line.
READERS: dict[bytes, Callable[[bytes], list[Span]]] = {
    b"destination": _whole,  # RFC 4918 10.3
    b"if": _tags,  # RFC 4918 10.4
}


def read_second_targets(lines: tuple[Header, ...]) -> list[SecondTarget]:
    """The targets in these headers. Raises BadTarget or ForeignTarget."""
    if len({name for name, _ in lines}) < len(lines):
        raise BadTarget("a header that names another target came twice")
    return [_read(value[slice(*span)]) for name, value in lines for span in READERS[name](value)]


def _read(url: bytes) -> SecondTarget:
    if _PATH.fullmatch(url):
        return SecondTarget(None, url)
    match = _ABSOLUTE.fullmatch(url)
    if match is not None:
        site = match[1].lower().decode(), match[2].lower().decode("latin-1")
        return SecondTarget(site, match[3] or b"/")
    if _SCHEME.match(url):
        raise ForeignTarget
    raise BadTarget("a header names a target that is neither a URL nor a path")


def move(target: bytes, prefix: bytes, base: bytes) -> bytes:
    """Replace the `prefix` of a target with `base`; `*` stays unchanged."""
    rest = target[len(prefix) :]
    if rest.startswith(b"/"):
        return base + rest
    return rest if rest == b"*" and not prefix else b"%b/%b" % (base, rest)


def rewrite_target(line: Header, origin: bytes, prefix: bytes, base: bytes = b"") -> bytes:
    """Rewrite such a header for an application at `origin` and `base` that does not know `prefix`:
    replace the beginning of each URL. A path remains a path."""
    name, value = line
    for start, end in reversed(READERS[name](value)):
        target = _read(value[start:end])
        rest = move(target.rest, prefix, base)
        url = rest if target.site is None else origin + rest
        value = value[:start] + url + value[end:]
    return value
