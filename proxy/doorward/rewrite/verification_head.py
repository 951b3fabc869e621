"""The answer that lets a front proxy send a request on: who asks, in the headers of its route.

Knows the names of identity headers; must not decide anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from doorward.gate.decision import Forward
from doorward.http1.response_head import ResponseHead
from doorward.rewrite.identity_headers import ASSERTION
from doorward.settings import Route

ALLOWED = 200
_END = b"content-length: 0\r\ncache-control: no-store\r\n"


@dataclass(frozen=True, slots=True)
class _Kept:
    identity: bytes
    head: ResponseHead


class VerificationHeads:
    """Makes these answers, once for each session and what its routes say of it.

    Every identity header of any route is there, empty where there is nothing to say: a front proxy
    copies what is there over what a client sent, and leaves the client's where nothing is
    (CVE-2026-30851).
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        routes = tuple(routes)
        told = [header.header for route in routes for header in route.identity_headers]
        if any(route.assertion is not None for route in routes):
            told.append(ASSERTION)
        self._names = tuple(dict.fromkeys(name.encode() for name in told))
        self._nobody = self._make(b"")

    def make(self, decision: Forward) -> ResponseHead:
        identity, session = decision.identity, decision.session
        if session is None or not identity:
            return self._nobody
        key = self, decision.route  # one for each: an assertion changes what is said every minute
        kept = session.derived.get(key)
        if isinstance(kept, _Kept) and kept.identity == identity:
            return kept.head
        head = self._make(identity)
        session.derived[key] = _Kept(identity, head)
        return head

    def _make(self, identity: bytes) -> ResponseHead:
        said = {line.partition(b":")[0].lower() for line in identity.split(b"\r\n")}
        rest = b"".join(b"%b: \r\n" % name for name in self._names if name.lower() not in said)
        return ResponseHead.of_lines(ALLOWED, identity + rest + _END, 0, is_dated=False)
