"""The request head as an upstream receives it: built from what was decided on, nothing else.

Knows forwarding headers and framing; must not decide anything.
"""

from functools import lru_cache

from doorward.gate.accept import REMEMBERED_BYTES, Accepted
from doorward.gate.hop import Hop
from doorward.gate.identify import Carried


def upstream_head(before: bytes, request_id: str, identity: bytes) -> bytes:
    """Request line and headers up to the empty line: what `before_id` made, and what is another for
    each request. `identity` is complete; no client header of those names is among the rest."""
    return b"%bx-request-id: %b\r\n%b\r\n" % (before, request_id.encode(), identity)


def before_id(
    request: Accepted,
    carried: Carried,
    *,
    keep_overrides: bool,
    keep_bearer: bool = False,
    keep_pair: bool = False,
) -> bytes:
    """The request line and the client's own headers. The target goes out as it came in, tokens of
    ours taken out of its query."""
    headers = request.scan
    lines = headers.lines
    if lines is None:
        lines = _lines(request, carried, keep_overrides, keep_bearer, keep_pair)
        alike = not (keep_bearer or keep_pair or request.upgrade or headers.overrides)
        if headers.may_come_again and alike:
            headers.lines = lines
    return b"%b %b HTTP/1.1\r\n%b%b" % (
        request.method,
        carried.target or request.target,
        _forwarding(request.hop),
        lines,
    )


def _lines(
    request: Accepted, carried: Carried, keep_overrides: bool, keep_bearer: bool, keep_pair: bool
) -> bytes:
    """What goes on of the client's own headers. Nothing of it depends on the hop, as the same
    headers may come from another peer."""
    headers = request.scan
    lines = [b"%b: %b\r\n" % line for line in headers.passing]
    if keep_overrides:
        lines += [b"%b: %b\r\n" % line for line in headers.overrides]
    lines += [b"cookie: %b\r\n" % line for line in carried.cookies]
    lines += [b"authorization: %b\r\n" % line for line in carried.authorizations]
    if keep_bearer and carried.bearer_line is not None:
        lines.append(b"authorization: %b\r\n" % carried.bearer_line)
    if carried.pairs and (carried.pair is None or keep_pair):
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
