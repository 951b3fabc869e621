"""The changes to a route's requests: its path is removed, its upstream's path is added, and Host is
replaced. Only if the route's settings ask for it.

Knows the decision; must not make it. See docs/decisions/005-rewriting.md.
"""

from dataclasses import dataclass

from doorward.gate.accept import Accepted
from doorward.http1.headers import Header
from doorward.http1.second_targets import move, rewrite_target
from doorward.settings import Route, Upstream
from doorward.settings.addresses import add_brackets


@dataclass(frozen=True, slots=True)
class RouteRewriting:
    """`prefix` is removed from the target and `base` put in front of the rest; `host` is sent
    instead of the requested one.

    `scheme` is the upstream's, if something is rewritten.
    """

    prefix: bytes = b""
    base: bytes = b""
    host: bytes | None = None
    scheme: bytes = b""

    def head(self, head: bytes, request: Accepted) -> bytes:
        """Rewrite a request's head. The removed prefix is the one by which the route was chosen;
        `X-Forwarded-Prefix` contains it."""
        targets = request.headers.targets if self.scheme else ()
        if not (self.prefix or self.base or self.host is not None or targets):
            return head
        line, host, rest = head.split(b"\r\n", 2)
        if self.prefix or self.base:
            method, target, version = line.split(b" ")
            line = b" ".join((method, move(target, self.prefix, self.base), version))
        if self.prefix:
            before = request.hop.prefix.encode()
            if before:
                # The whole line, because another value, from the client, may end in the same way.
                rest = rest.replace(b"\r\nx-forwarded-prefix: %b\r\n" % before, b"\r\n", 1)
            rest = b"x-forwarded-prefix: %b%b\r\n%b" % (before, self.prefix, rest)
        if self.host is not None:
            host = b"host: " + self.host
        for each in targets:
            rest = self._retargeted(rest, each, host.partition(b": ")[2])
        return b"\r\n".join((line, host, rest))

    def _retargeted(self, rest: bytes, line: Header, host: bytes) -> bytes:
        """The headers, with rewritten second targets: WebDAV servers compare scheme and host with
        their own."""
        value = rewrite_target(line, b"%b://%b" % (self.scheme, host), self.prefix, self.base)
        old, new = (b"\r\n%b: %b\r\n" % (line[0], each) for each in (line[1], value))
        return (b"\r\n" + rest).replace(old, new, 1)[2:]


def build_rewriting(route: Route) -> RouteRewriting | None:
    """The rewriting of this route, or None."""
    found = RouteRewriting(
        route.path.encode() if route.rewrite.strip_path else b"",
        route.base.encode(),
        choose_host(route),
        _scheme(route),
    )
    return None if found == RouteRewriting() else found


def _scheme(route: Route) -> bytes:
    rewrite = route.rewrite
    if not (rewrite.strip_path or route.base or rewrite.answers or rewrite.host != "keep"):
        return b""
    return b"https" if route.upstream[0].scheme == "https" else b"http"


def choose_host(route: Route) -> bytes | None:
    """The Host for this route's upstream; None for the requested one."""
    if route.rewrite.host == "keep":
        return None
    if route.rewrite.host == "upstream":
        return format_authority(route.upstream[0]).encode()
    return route.rewrite.host.encode()


def format_authority(upstream: Upstream) -> str:
    """Host and port, without the scheme's default port."""
    own = 443 if upstream.scheme == "https" else 80
    host = add_brackets(upstream.host or "")
    return host if upstream.port == own else f"{host}:{upstream.port}"
