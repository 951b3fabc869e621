"""Request targets that are not paths, and requests that must not be forwarded.

Knows RFC 9112 3.2 and RFC 9110 7.6.2; must not know users.
"""

import re

from doorward.http1.headers import ParsedHeaders

ASTERISK = b"*"  # RFC 9112 3.2.4: not a path; the rules for "/" apply
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class Unfit(Exception):
    """A request that is refused before its session is looked up; `status` is 400 or 421."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class LastHop(Exception):
    """A request that must not be forwarded (RFC 9110 7.6.2)."""


def origin_form(target: bytes, method: bytes) -> tuple[bytes, bytes | None]:
    """The target as a path, or `*` for the whole server, and the authority that an absolute target
    names (RFC 9112 3.2.2)."""
    if method == b"OPTIONS" and target == ASTERISK:
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise Unfit(400, "the request target is neither a path nor a URL of this host")
    rest = match[2]
    if method == b"OPTIONS" and not rest:
        return ASTERISK, match[1]
    return rest if rest.startswith(b"/") else b"/" + rest, match[1]


def count_hop(headers: ParsedHeaders, method: bytes) -> None:
    """Max-Forwards minus one, for methods that use it (RFC 9110 7.6.2). Raises LastHop at zero."""
    assert headers.max_forwards is not None
    said = headers.max_forwards
    if method in (b"OPTIONS", b"TRACE"):
        if not said.isdigit() or len(said) > 9:
            raise Unfit(400, "the Max-Forwards header is malformed")
        if int(said) == 0:
            raise LastHop
        said = b"%d" % (int(said) - 1)
    headers.passing.append((b"max-forwards", said))
