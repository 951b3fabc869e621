"""What a route demands of a request that the rules let through, before it is sent on: that it comes
from a page of this site, and that what is left of its path means one thing.

Knows routes and origins; must not know who asks. See docs/decisions/005-rewriting.md.
"""

from dataclasses import dataclass

from doorward.gate.accept import Accepted
from doorward.gate.decision import Refuse, bad_request, cross_origin, moved
from doorward.gate.same_origin import Sender, detect_sender
from doorward.http1.second_targets import read_second_targets
from doorward.settings import Route

# RFC 9110 9.2.1: they change nothing.
_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_PAGES = frozenset((b"GET", b"HEAD"))


@dataclass(frozen=True, slots=True)
class Demands:
    """`prefix` will be removed from the target. `public_origin` is set where a request that changes
    something must come from a page of ours; `route_host` is such a page's, too."""

    prefix: bytes = b""
    public_origin: str | None = None
    route_host: str | None = None

    def refusal(self, request: Accepted) -> Refuse | None:
        """Why a request that may pass is not sent on all the same, or None."""
        if self.public_origin is not None and not self._is_own(request, self.public_origin):
            return cross_origin()
        if not self.prefix:
            return None
        if request.path == self.prefix and _is_page(request):
            # Links of a page that is shown at `/wiki` and not at `/wiki/` lead beside it.
            rest = request.target[len(self.prefix) :]
            return moved(b"%b%b/%b" % (request.hop.prefix.encode(), self.prefix, rest))
        if self._reads_as_host(request.path) or (
            request.headers.targets
            and any(
                self._reads_as_host(one.path)
                for one in read_second_targets(request.headers.targets)
            )
        ):
            return bad_request("what is left of its path can be read as a host")
        return None

    def _reads_as_host(self, path: bytes) -> bool:
        """What is left would be `//host/…`, which some read as another host's root."""
        return path[len(self.prefix) :][:2] in (b"//", b"/\\")

    def _is_own(self, request: Accepted, public_origin: str) -> bool:
        """False when a browser says that another site's page makes it change something.

        Programs send neither header and pass: they hold no cookie that somebody could ride on.
        """
        headers = request.headers
        if request.method in _SAFE and not headers.overrides:
            return True
        asked = (request.scheme, request.authority)
        found = detect_sender(headers.passing, *asked, public_origin, self.route_host)
        return found is not Sender.OTHER


def _is_page(request: Accepted) -> bool:
    """Programs do not all follow a redirect, and resolve no links."""
    return request.method in _PAGES and not request.upgrade


def compile_demands(route: Route, public_origin: str) -> Demands | None:
    """What this route demands, or None."""
    found = Demands(
        route.path.encode() if route.rewrite.strip_path else b"",
        public_origin if route.same_origin else None,
        route.host if route.same_origin else None,
    )
    return None if found == Demands() else found
