"""The answer that lets a front proxy send a request on: who asks, in the headers of its route.

Knows the names of identity headers; must not decide anything.
"""

from collections.abc import Iterable

from doorward.gate.decision import Forward
from doorward.http1.response_head import ResponseHead
from doorward.settings import Route

ALLOWED = 200
_END = b"content-length: 0\r\ncache-control: no-store\r\n"


class VerificationHeads:
    """Makes these answers, once for each session and what its routes say of it.

    Every identity header of any route is there, empty where there is nothing to say: a front proxy
    copies what is there over what a client sent, and leaves the client's where nothing is
    (CVE-2026-30851).
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        told = (header.header for route in routes for header in route.identity_headers)
        self._names = tuple(dict.fromkeys(name.encode() for name in told))
        self._nobody = self._make(b"")

    def make(self, decision: Forward) -> ResponseHead:
        identity, session = decision.identity, decision.session
        if session is None or not identity:
            return self._nobody
        heads = session.derived.get(self)
        if not isinstance(heads, dict):
            heads = session.derived[self] = {}
        head = heads.get(identity)
        if not isinstance(head, ResponseHead):
            head = heads[identity] = self._make(identity)
        return head

    def _make(self, identity: bytes) -> ResponseHead:
        said = {line.partition(b":")[0].lower() for line in identity.split(b"\r\n")}
        rest = b"".join(b"%b: \r\n" % name for name in self._names if name.lower() not in said)
        return ResponseHead.of_lines(ALLOWED, identity + rest + _END, 0, is_dated=False)
