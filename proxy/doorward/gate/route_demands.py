"""What a route requires of a request that the rules allow: that it comes from a page of this site,
and that the rest of its path has one meaning.

Knows routes and origins; must not know users. See docs/decisions/005-rewriting.md.
"""

from dataclasses import dataclass

from doorward.gate.accept import Accepted
from doorward.gate.decision import Refuse, bad_request, cross_origin, moved
from doorward.gate.same_origin import Sender, detect_sender
from doorward.http1.second_targets import read_second_targets
from doorward.settings import Route

# RFC 9110 9.2.1: safe methods.
_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_PAGES = frozenset((b"GET", b"HEAD"))


@dataclass(frozen=True, slots=True)
class Demands:
    """`prefix` will be removed from the target. `public_origin` is set if a request that changes
    something must come from a page of this site; pages of `route_host` count too."""

    prefix: bytes = b""
    public_origin: str | None = None
    route_host: str | None = None

    def refusal(self, request: Accepted) -> Refuse | None:
        """The reason not to forward a request that the rules allow, or None."""
        if self.public_origin is not None and not self._is_own(request, self.public_origin):
            return cross_origin()
        if not self.prefix:
            return None
        if len(request.path) == len(self.prefix) and _is_page(request):  # escapes may differ
            # Relative links of a page shown at `/wiki` instead of `/wiki/` would lead out of it.
            rest = request.target[len(self.prefix) :]
            return moved(b"%b%b/%b" % (request.hop.prefix.encode(), self.prefix, rest))
        if self._reads_as_host(request.path) or (
            request.headers.targets
            and any(
                self._reads_as_host(one.path)
                for one in read_second_targets(request.headers.targets)
            )
        ):
            return bad_request("without the route's prefix, its path can be read as a host")
        return None

    def _reads_as_host(self, path: bytes) -> bool:
        """The rest would be `//host/…`, which some servers read as another host's root."""
        return path[len(self.prefix) :][:2] in (b"//", b"/\\")

    def _is_own(self, request: Accepted, public_origin: str) -> bool:
        """False if the browser says that another site's page sent a request that changes something.

        Programs send neither header and pass: no other site can use their cookies.
        """
        headers = request.headers
        if request.method in _SAFE and not headers.overrides:
            return True
        asked = (request.scheme, request.authority)
        found = detect_sender(headers.passing, *asked, public_origin, self.route_host)
        return found is not Sender.OTHER


def _is_page(request: Accepted) -> bool:
    """Not all programs follow a redirect, and they do not resolve relative links."""
    return request.method in _PAGES and not request.upgrade


def compile_demands(route: Route, public_origin: str) -> Demands | None:
    """What this route requires, or None."""
    found = Demands(
        route.path.encode() if route.rewrite.strip_path else b"",
        public_origin if route.same_origin else None,
        route.host if route.same_origin else None,
    )
    return None if found == Demands() else found
