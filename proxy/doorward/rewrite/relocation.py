"""Corrects the application's URLs in headers: Location, Refresh, cookies.

Knows where the application is and which URL it uses for itself; must not know why a request was
allowed. Ambiguous values are passed on unchanged.
"""

import re
from collections.abc import Callable

from doorward import paths
from doorward.gate.accept import Accepted
from doorward.gate.same_origin import build_origin
from doorward.http1.headers import Header
from doorward.rewrite.route_rewriting import choose_host, format_authority
from doorward.settings import Route

Relocate = Callable[[list[Header], Accepted], list[Header]]

_ABSOLUTE = re.compile(rb"(?:(https?):)?//([^/?#\\\s@]+)([/?#].*)?", re.IGNORECASE | re.DOTALL)
# A path that browsers do not read as another host.
_PATH = re.compile(rb"/(?![/\\])[\x21-\x7e\x80-\xff]*")
_PATH_END = re.compile(rb"[?#]")
# The part of a Refresh before its URL.
_REFRESH = re.compile(rb"[\s\d.]+[;,]\s*url\s*=\s*", re.IGNORECASE)

_URLS = frozenset((b"location", b"content-location"))
_OURS = paths.PREFIX.encode()


def build_relocation(route: Route) -> Relocate | None:
    """The changes to a route's answers, or None."""
    if not route.rewrite.answers and not _added(route):
        return None
    return Relocation(route)


def _added(route: Route) -> tuple[tuple[bytes, bytes], ...]:
    """The attributes to add to cookies: their names in lower case, and the text."""
    cookies = route.cookies
    found = []
    if cookies.secure:
        found.append((b"secure", b"; Secure"))
    if cookies.http_only:
        found.append((b"httponly", b"; HttpOnly"))
    if cookies.same_site != "keep":
        found.append((b"samesite", b"; SameSite=" + cookies.same_site.capitalize().encode()))
    return tuple(found)


class Relocation:
    """Rewrites the headers of one route's answers."""

    def __init__(self, route: Route) -> None:
        self._rewrites = route.rewrite.answers
        self._prefix = route.path.encode() if route.rewrite.strip_path else b""
        self._base = route.base.encode()
        self._added = _added(route)
        self._origins = _list_origins(route)

    def __call__(self, headers: list[Header], request: Accepted) -> list[Header]:
        return [(name, self._value(name.lower(), value, request)) for name, value in headers]

    def _value(self, name: bytes, value: bytes, request: Accepted) -> bytes:
        if name == b"set-cookie":
            return self._cookie(value, request)
        if not self._rewrites:
            return value
        if name in _URLS:
            return self.locate(value, request)
        return self._refresh(value, request) if name == b"refresh" else value

    def _refresh(self, value: bytes, request: Accepted) -> bytes:
        match = _REFRESH.match(value)
        if match is None:
            return value
        url = value[match.end() :].rstrip()
        quote = url[:1] if len(url) > 1 and url[:1] in (b'"', b"'") and url[:1] == url[-1:] else b""
        if quote:
            url = url[1:-1]
        start = match.end() + len(quote)
        return value[:start] + self.locate(url, request) + value[start + len(url) :]

    def locate(self, value: bytes, request: Accepted) -> bytes:
        """An application's URL as a path on the requested host; any other value unchanged."""
        match = _ABSOLUTE.fullmatch(value)
        if match is None:
            return self._placed(value) if _PATH.fullmatch(value) else value
        if not self._is_own(match, request):
            return value
        rest = match[3] or b"/"
        rest = rest if rest.startswith(b"/") else b"/" + rest
        return self._placed(rest) if _PATH.fullmatch(rest) else value

    def _is_own(self, match: re.Match[bytes], request: Accepted) -> bool:
        scheme = (match[1] or request.scheme.encode()).lower().decode()
        origin = build_origin(scheme, match[2].lower().decode("latin-1"))
        if origin in self._origins:
            return True
        # On the requested host, a redirect from https to http is never intended; the opposite may
        # be.
        is_asked = origin == build_origin(scheme, request.authority)
        return is_asked and (scheme == request.scheme or request.scheme == "https")

    def _placed(self, path: bytes) -> bytes:
        """A path as users see it: below the route's path instead of the upstream's. A path that is
        already there is correct, and one outside the upstream's path cannot be reached."""
        if self._base:
            return self._without_base(path)
        if not self._prefix or path.startswith(_OURS):
            return path
        return path if is_beneath(path, self._prefix) else self._prefix + path

    def _without_base(self, path: bytes) -> bytes:
        if not is_beneath(path, self._base):
            return path
        rest = path[len(self._base) :]
        moved = self._prefix + (rest if rest.startswith(b"/") else b"/" + rest)
        return moved if _PATH.fullmatch(moved) else path

    def _cookie(self, line: bytes, request: Accepted) -> bytes:
        pair, *attributes = line.split(b";")
        kept, names = [pair], set()
        for attribute in attributes:
            name, _, value = attribute.partition(b"=")
            name = name.strip().lower()
            names.add(name)
            if not self._rewrites:
                kept.append(attribute)
            elif name == b"domain":
                if _covers(value.strip().lower(), request.host):
                    kept.append(attribute)
            elif name == b"path" and not pair.lstrip().lower().startswith(b"__host-"):
                kept.append(b" Path=" + self._cookie_path(value.strip()))
            else:
                kept.append(attribute)
        added = [text for name, text in self._added if name not in names]
        return b";".join(kept) + b"".join(added)

    def _cookie_path(self, path: bytes) -> bytes:
        if self._prefix and path in (b"/", self._base or b"/"):
            return self._prefix  # with a final slash, it would not match the path itself
        return self._placed(path) if path.startswith(b"/") else path


def is_beneath(path: bytes, prefix: bytes) -> bool:
    return _PATH_END.split(path, maxsplit=1)[0] == prefix or path.startswith(prefix + b"/")


def _list_origins(route: Route) -> frozenset[str]:
    """The origins that the application may use for itself, for any client."""
    found = set(route.rewrite.elsewhere)
    authorities = [format_authority(one) for one in route.upstream if one.scheme != "unix"]
    if host := choose_host(route):
        authorities.append(host.decode())
    for scheme in ("http", "https"):
        found.update(build_origin(scheme, authority) for authority in authorities)
    return frozenset(found)


def _covers(domain: bytes, host: str) -> bool:
    """Whether browsers accept a cookie for this domain from this host (RFC 6265 5.1.3)."""
    domain = domain.removeprefix(b".")
    return bool(domain) and (host.encode() == domain or host.encode().endswith(b"." + domain))
