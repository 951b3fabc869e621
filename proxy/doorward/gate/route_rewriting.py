"""What a route changes of its requests: its path taken off, another Host, pages of other sites
refused. Nothing of it happens on a route that does not ask for it.

Knows what was decided; must not decide who may pass. See docs/decisions/005-rewriting.md.
"""

from dataclasses import dataclass

from doorward.gate.accept import Accepted
from doorward.gate.decision import Refuse, bad_request, cross_origin, moved
from doorward.gate.same_origin import Sender, sender
from doorward.http1.headers import Header
from doorward.http1.second_targets import rewritten, second_targets
from doorward.settings import Route, Upstream

# RFC 9110 9.2.1: they change nothing.
_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_PAGES = frozenset((b"GET", b"HEAD"))


@dataclass(frozen=True, slots=True)
class Comforts:
    """`prefix` is taken off the target, `host` sent in place of the one that was asked for.

    `scheme`, where something is rewritten, is that of the upstream.
    `public_origin` is set where a request that changes something must come from a page of ours.
    """

    prefix: bytes = b""
    host: bytes | None = None
    public_origin: str | None = None
    route_host: str | None = None
    scheme: bytes = b""

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
            request.scan.targets
            and any(self._reads_as_host(one.path) for one in second_targets(request.scan.targets))
        ):
            return bad_request("what is left of its path can be read as a host")
        return None

    def _reads_as_host(self, path: bytes) -> bool:
        """What is left would be `//host/…`, which some read as another host's root."""
        return path[len(self.prefix) :][:2] in (b"//", b"/\\")

    def head(self, head: bytes, request: Accepted) -> bytes:
        """A request's head as this route wants it. The route was chosen by the very bytes that are
        taken off; `X-Forwarded-Prefix` tells what they were."""
        targets = request.scan.targets if self.scheme else ()
        if not (self.prefix or self.host is not None or targets):
            return head
        line, host, rest = head.split(b"\r\n", 2)
        if self.prefix:
            method, target, version = line.split(b" ")
            target = target[len(self.prefix) :]
            line = b" ".join(
                (method, target if target.startswith(b"/") else b"/" + target, version)
            )
            before = request.hop.prefix.encode()
            if before:
                # As a whole line: a value of the client's may end like it.
                rest = rest.replace(b"\r\nx-forwarded-prefix: %b\r\n" % before, b"\r\n", 1)
            rest = b"x-forwarded-prefix: %b%b\r\n%b" % (before, self.prefix, rest)
        if self.host is not None:
            host = b"host: " + self.host
        for each in targets:
            rest = self._retargeted(rest, each, host.partition(b": ")[2])
        return b"\r\n".join((line, host, rest))

    def _retargeted(self, rest: bytes, line: Header, host: bytes) -> bytes:
        """The headers, with one that names another target as the application knows it: WebDAV
        servers compare scheme and host with their own."""
        value = rewritten(line, b"%b://%b" % (self.scheme, host), self.prefix)
        old, new = (b"\r\n%b: %b\r\n" % (line[0], each) for each in (line[1], value))
        return (b"\r\n" + rest).replace(old, new, 1)[2:]

    def _is_own(self, request: Accepted, public_origin: str) -> bool:
        """False when a browser says that another site's page makes it change something.

        Programs send neither header and pass: they hold no cookie that somebody could ride on.
        """
        headers = request.scan
        if request.method in _SAFE and not headers.overrides:
            return True
        asked = (request.scheme, request.authority)
        found = sender(headers.passing, *asked, public_origin, self.route_host)
        return found is not Sender.OTHER


def _is_page(request: Accepted) -> bool:
    """Programs do not all follow a redirect, and resolve no links."""
    return request.method in _PAGES and not request.upgrade


def comforts_of(route: Route, public_origin: str) -> Comforts | None:
    """What this route asks for, or None."""
    found = Comforts(
        route.path.encode() if route.rewrite.strip_path else b"",
        sent_host(route),
        public_origin if route.same_origin else None,
        route.host if route.same_origin else None,
        _scheme_of(route),
    )
    return None if found == Comforts() else found


def _scheme_of(route: Route) -> bytes:
    rewrite = route.rewrite
    if not (rewrite.strip_path or rewrite.answers or rewrite.host != "keep"):
        return b""
    return b"https" if route.upstream[0].scheme == "https" else b"http"


def sent_host(route: Route) -> bytes | None:
    """The Host that is sent to this route's upstream; None for the one that was asked for."""
    if route.rewrite.host == "keep":
        return None
    if route.rewrite.host == "upstream":
        return authority_of(route.upstream[0]).encode()
    return route.rewrite.host.encode()


def authority_of(upstream: Upstream) -> str:
    """Host and port, the scheme's own port left out."""
    return (
        str(upstream)
        .partition("://")[2]
        .removesuffix(":443" if upstream.scheme == "https" else ":80")
    )
