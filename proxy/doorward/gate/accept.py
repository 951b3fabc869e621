"""The client that sent a request, and whether the request is unambiguous.

Knows trusted peers, hosts and request ids; must not know users, rules or routes' upstreams.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from doorward.accounts.randomness import request_id
from doorward.gate.addresses import Address as Address
from doorward.gate.addresses import parse_address as parse_address
from doorward.gate.hop import Hop, Hops, Trusted
from doorward.gate.targets import ASTERISK, Unfit, count_hop, origin_form
from doorward.http1.arrival import Received
from doorward.http1.head_tables import is_usual_target
from doorward.http1.headers import ParsedHeaders, RequestHeaders, parse_headers
from doorward.path_readings import BadPath, check_target, list_readings


@dataclass(frozen=True, slots=True)
class Client:
    """The client. `address` is an IP address as text, empty behind a Unix socket without a chain.

    `host` is the requested authority in lower case, with its port if it had one.
    """

    address: str
    scheme: str
    host: str
    request_id: str
    user_agent: str


# Not a dataclass: it is made for every request, and a dataclass costs a microsecond more.
class Accepted:
    """A request with one meaning: what every later step decides with, and what is forwarded."""

    __slots__ = (
        "headers",
        "hop",
        "method",
        "other_readings",
        "path",
        "request_id",
        "target",
        "upgrade",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        path: bytes,
        other_readings: frozenset[bytes],
        hop: Hop,
        request_id: str,
        headers: RequestHeaders,
        upgrade: bytes = b"",
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.other_readings = other_readings
        self.hop = hop
        self.request_id = request_id
        self.headers = headers
        self.upgrade = upgrade

    def renamed(self, request_id: str) -> "Accepted":
        """The same request with another id."""
        return Accepted(
            self.method,
            self.target,
            self.path,
            self.other_readings,
            self.hop,
            request_id,
            self.headers,
            self.upgrade,
        )

    @property
    def host(self) -> str:
        """The host that routes and rules are matched with: lower case, without port and final
        dot."""
        return self.hop.host

    @property
    def authority(self) -> str:
        """The requested authority, in lower case."""
        return self.hop.authority

    @property
    def address(self) -> Address | None:
        return self.hop.address

    @property
    def address_text(self) -> str:
        return self.hop.address_text

    @property
    def scheme(self) -> str:
        return self.hop.scheme

    @property
    def trusted(self) -> bool:
        """Whether the peer is one of `trusted_proxies`."""
        return self.hop.trusted

    @property
    def peer(self) -> str:
        return self.hop.peer

    @property
    def client(self) -> Client:
        """The client, for the parts that render Doorward's own answers."""
        return Client(
            self.address_text,
            self.scheme,
            self.authority,
            self.request_id,
            _user_agent(self.headers),
        )


_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
USUAL_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")


class Accept:
    """Turns an Arrival into an Accepted, or raises Unfit.

    `serves` returns whether any route has a host (lower case, without port); see `Hops` for the
    rest.
    """

    def __init__(
        self,
        trusted: Trusted,
        serves: Callable[[str], bool],
        public_origin: str = "",
        believed: Iterable[str] = (),
    ) -> None:
        self._hop = Hops(trusted, serves, public_origin, believed).read

    def __call__(self, arrival: Received) -> Accepted:
        parsed = arrival.parsed
        headers: RequestHeaders = parsed or parse_headers(arrival.headers)
        target, named = arrival.target, None
        if not target.startswith(b"/"):
            target, named = origin_form(target, arrival.method)
        hop = self._hop(arrival.peer, arrival.scheme, headers, named, arrival.is_http_1_0)
        if arrival.method not in USUAL_METHODS:
            check_method(arrival.method)
        if headers.max_forwards is not None:
            assert isinstance(headers, ParsedHeaders)  # the head reader leaves these to `scan`
            count_hop(headers, arrival.method)
        if parsed is not None and parsed.has_usual_target and parsed.target == target:
            path, others = parsed.path, _NONE
        else:
            path, others = read_target(target)
        if not hop.is_served:
            raise Unfit(421, "no route answers for this host")
        return Accepted(
            arrival.method,
            target,
            path,
            others,
            hop,
            read_request_id(headers) if hop.trusted else request_id(),
            headers,
            arrival.upgrade,
        )


_NONE: frozenset[bytes] = frozenset()


def check_method(method: bytes) -> None:
    """Raises Unfit if this is not a method (RFC 9110 9.1)."""
    if _METHOD.fullmatch(method) is None:
        raise Unfit(400, "the method is not a token")


def read_target(target: bytes) -> tuple[bytes, frozenset[bytes]]:
    """The path of a target, and every other way to read it. Raises Unfit."""
    if target == ASTERISK:
        return b"/", _NONE
    path = target.partition(b"?")[0]
    if is_usual_target(target):
        return path, _NONE
    try:
        check_target(target)
        return path, list_readings(path)
    except BadPath as fault:
        raise Unfit(400, str(fault)) from None


def read_request_id(headers: RequestHeaders) -> str:
    """The id that a trusted proxy gave the request, or a new one."""
    said = headers.request_id
    if said is not None and _REQUEST_ID.fullmatch(said):
        return said.decode()
    return request_id()


def _user_agent(headers: RequestHeaders) -> str:
    return (headers.user_agent or b"").decode("utf-8", "replace")[:1024]
