"""The request head as an upstream receives it: built from what was decided on, nothing else.

Knows forwarding headers and framing; must not decide anything.
"""

from collections.abc import Iterable
from functools import lru_cache

from doorward.gate.accept import REMEMBERED_BYTES, Accepted
from doorward.gate.decision import Forward, Keeps
from doorward.gate.gate import RequestFacts
from doorward.gate.hop import Hop
from doorward.gate.identify import Carried
from doorward.rewrite.identity_headers import identity_lines
from doorward.rewrite.route_rewriting import rewriting_of
from doorward.settings import Route

_NOTHING = Keeps(bearer=False, pair=False, overrides=False)


class RequestHeads:
    """Makes the heads of requests to the upstreams of these routes, by their numbers."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._rewritings = tuple(rewriting_of(route) for route in routes)

    def make(self, facts: RequestFacts, decision: Forward, request_id: str) -> bytes:
        """Request line and headers up to the empty line. Identity headers come from the session
        alone; no client header of those names is among the rest."""
        before, session = facts.before_id, decision.session
        if decision.keeps is not None:
            before = _before_id(facts.request, facts.carried, decision.keeps)
        elif before is None:
            before = facts.before_id = _before_id(facts.request, facts.carried, _NOTHING)
        identity = b"" if session is None else identity_lines(session, decision.identity)
        head = b"%bx-request-id: %b\r\n%b\r\n" % (before, request_id.encode(), identity)
        rewriting = self._rewritings[decision.route]
        return head if rewriting is None else rewriting.head(head, facts.request)


def _before_id(request: Accepted, carried: Carried, keeps: Keeps) -> bytes:
    """The request line and the client's own headers. The target goes out as it came in, tokens of
    ours taken out of its query."""
    return b"%b %b HTTP/1.1\r\n%b%b" % (
        request.method,
        carried.target or request.target,
        _forwarding(request.hop),
        _lines(request, carried, keeps),
    )


def _lines(request: Accepted, carried: Carried, keeps: Keeps) -> bytes:
    """What goes on of the client's own headers."""
    headers = request.scan
    lines = [b"%b: %b\r\n" % line for line in headers.passing]
    if keeps.overrides:
        lines += [b"%b: %b\r\n" % line for line in headers.overrides]
    lines += [b"cookie: %b\r\n" % line for line in carried.cookies]
    lines += [b"authorization: %b\r\n" % line for line in carried.authorizations]
    if keeps.bearer and carried.bearer_line is not None:
        lines.append(b"authorization: %b\r\n" % carried.bearer_line)
    if carried.pairs and (carried.pair is None or keeps.pair):
        lines += [b"%b: %b\r\n" % line for line in carried.pairs]
    if headers.content_length is not None:
        lines.append(b"content-length: %b\r\n" % headers.content_length)
    elif headers.chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
        if headers.announced:
            lines.append(b"trailer: %b\r\n" % b", ".join(headers.announced))
    if headers.expects and headers.has_body:
        lines.append(b"expect: 100-continue\r\n")
    if request.upgrade:
        lines.append(b"connection: Upgrade\r\nupgrade: %b\r\n" % request.upgrade)
    if headers.trailers:
        lines.append(b"te: trailers\r\n")
    return b"".join(lines)


def _forwarding(hop: Hop) -> bytes:
    """Host and X-Forwarded-* as they were decided; a trusted peer's chain is carried on."""
    chain = hop.forwarded_for
    lines_of = _forwarding_lines if len(chain) <= REMEMBERED_BYTES else _made_lines
    return lines_of(chain, hop.address_text, hop.scheme, hop.authority, hop.port, hop.prefix)


def _made_lines(
    chain: str, address: str, scheme: str, authority: str, port: str, prefix: str
) -> bytes:
    values = {
        "host": authority,  # first, as RFC 9110 7.2 asks
        "x-forwarded-for": chain,
        "x-real-ip": address,
        "x-forwarded-proto": scheme,
        "x-forwarded-host": authority,
        "x-forwarded-port": port,
        "x-forwarded-prefix": prefix,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in values.items() if value)
    return lines.encode("latin-1")


# A client may begin the chain as long as it likes: memory is not to be filled with that.
_forwarding_lines = lru_cache(maxsize=4096)(_made_lines)
