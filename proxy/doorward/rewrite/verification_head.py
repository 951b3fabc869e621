"""The answer that allows a front proxy to forward a request, with the identity headers of its
route.

Knows the names of identity headers; must not decide anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from doorward.gate.decision import Forward
from doorward.gate.front_proxies import FrontProxy
from doorward.header_names import normalize_name
from doorward.http1.response_head import ResponseHead
from doorward.rewrite.identity_headers import ASSERTION, IdentityHeaders
from doorward.settings import Route
from doorward.settings.identity import PRESETS

_END = b"content-length: 0\r\ncache-control: no-store\r\n"


@dataclass(frozen=True, slots=True)
class _Kept:
    identity: bytes
    head: ResponseHead


class VerificationHeads:
    """Builds these answers, once per session and set of headers.

    They contain every identity header of every route and of `presets`, empty if there is no value:
    a front proxy replaces a client's header only with one that is there (CVE-2026-30851).
    """

    def __init__(self, routes: Iterable[Route], presets: Iterable[str] = ()) -> None:
        routes, presets = tuple(routes), tuple(presets)
        told = [header.header for route in routes for header in route.identity_headers]
        told += [header.header for preset in presets for header in PRESETS[preset]]
        if any(route.assertion is not None for route in routes):
            told.append(ASSERTION)
        self._names = tuple(dict.fromkeys(name.encode() for name in told))
        # Headers in answers at another program's endpoints, in addition to the route's own.
        self._more = {
            preset: tuple(_tell_more(preset, route) for route in routes) for preset in presets
        }
        self._nobody: dict[int, ResponseHead] = {}

    @property
    def managed(self) -> frozenset[bytes]:
        """The names that answers set, in normal form."""
        return frozenset(map(normalize_name, self._names))

    def make(self, decision: Forward, front: FrontProxy, now: float) -> ResponseHead:
        """Raises UnfitIdentity for a value that cannot be sent."""
        identity, session = decision.identity, decision.session
        if session is None or not identity:
            # A route without identity headers must not reveal names in these headers either.
            return self._make_empty(front.allowed)
        # One cache per route: an assertion changes every minute.
        key = self, decision.route, front.allowed, front.preset
        kept = session.derived.get(key)
        if isinstance(kept, _Kept) and kept.identity == identity:
            return kept.head
        said = identity
        if front.preset:
            said += self._more[front.preset][decision.route](session, now)
        head = self._make(said, front.allowed)
        session.derived[key] = _Kept(identity, head)
        return head

    def _make_empty(self, status: int) -> ResponseHead:
        found = self._nobody.get(status)
        if found is None:
            found = self._nobody[status] = self._make(b"", status)
        return found

    def _make(self, identity: bytes, status: int) -> ResponseHead:
        said = {line.partition(b":")[0].lower() for line in identity.split(b"\r\n")}
        rest = b"".join(b"%b: \r\n" % name for name in self._names if name.lower() not in said)
        return ResponseHead.of_lines(status, identity + rest + _END, 0, is_dated=False)


def _tell_more(preset: str, route: Route) -> IdentityHeaders:
    """The headers of a preset that this route itself does not set."""
    own = {normalize_name(header.header.encode()) for header in route.identity_headers}
    more = [one for one in PRESETS[preset] if normalize_name(one.header.encode()) not in own]
    return IdentityHeaders(more, route.encoding)
