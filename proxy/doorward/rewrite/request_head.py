"""The request head for an upstream, built only from decided values.

Knows forwarding headers and framing; must not decide anything.
"""

from collections.abc import Iterable, Mapping

from doorward.gate.accept import Accepted
from doorward.gate.credentials import Credentials
from doorward.gate.decision import Forward, Keeps
from doorward.gate.gate import RequestFacts
from doorward.http1.headers import RequestHeaders
from doorward.rewrite.forwarding import write_forwarding
from doorward.rewrite.route_credentials import RouteCredentials
from doorward.rewrite.route_rewriting import build_rewriting
from doorward.settings import Route

_NOTHING = Keeps(bearer=False, pair=False, overrides=False)


class RequestHeads:
    """Builds the heads of requests to the upstreams of these routes. Routes, and the `credentials`
    of those that have any, are given by number."""

    def __init__(
        self, routes: Iterable[Route], credentials: Mapping[int, RouteCredentials] | None = None
    ) -> None:
        self._rewritings = tuple(build_rewriting(route) for route in routes)
        self._credentials = credentials or {}

    def make(self, facts: RequestFacts, decision: Forward, request_id: str) -> bytes:
        """Request line and headers up to the empty line. Identity headers are those of the
        decision; the client's headers of those names have been removed."""
        before = facts.before_id
        if decision.keeps is not None:
            before = _before_id(facts.request, facts.credentials, decision.keeps)
        elif before is None:
            before = facts.before_id = _before_id(facts.request, facts.credentials, _NOTHING)
        number, identity = request_id.encode(), decision.identity
        head = b"".join((before, b"x-request-id: ", number, b"\r\n", identity, b"\r\n"))
        rewriting = self._rewritings[decision.route]
        if rewriting is not None:
            head = rewriting.head(head, facts.request)
        if decision.credentials:
            head = self._credentials[decision.route].add(head, decision.session)
        return head


def _before_id(request: Accepted, carried: Credentials, keeps: Keeps) -> bytes:
    """The request line and the client's own headers. The target is unchanged, except that
    Doorward's tokens are removed from its query."""
    headers, hop = request.headers, request.hop
    parts = [
        request.method,
        b" ",
        carried.target or request.target,
        b" HTTP/1.1\r\n",
        hop.lines or write_forwarding(hop),
        headers.passing_text if carried.passing is None else carried.passing,
    ]
    for line in carried.cookies:
        parts += b"cookie: ", line, b"\r\n"
    for line in carried.authorizations:
        parts += b"authorization: ", line, b"\r\n"
    if headers.has_body or headers.content_length is not None:
        parts.append(_framing(headers))
    if headers.trailers:
        parts.append(b"te: trailers\r\n")
    if request.upgrade:
        parts.append(b"connection: Upgrade\r\nupgrade: %b\r\n" % request.upgrade)
    if carried.pairs and (carried.pair is None or keeps.pair):
        parts += [b"%b: %b\r\n" % line for line in carried.pairs]
    if keeps.bearer and carried.bearer_line is not None:
        parts.append(b"authorization: %b\r\n" % carried.bearer_line)
    if keeps.overrides:
        parts += [b"%b: %b\r\n" % line for line in headers.overrides]
    return b"".join(parts)


def _framing(headers: RequestHeaders) -> bytes:
    if headers.content_length is not None:
        text = b"content-length: %b\r\n" % headers.content_length
    else:
        text = b"transfer-encoding: chunked\r\n"
        if headers.announced:
            text += b"trailer: %b\r\n" % b", ".join(headers.announced)
    if headers.expects and headers.has_body:
        text += b"expect: 100-continue\r\n"
    return text
