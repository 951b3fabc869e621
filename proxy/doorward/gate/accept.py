"""Who really connected, and whether the request is fit to decide on.

Knows trusted peers, hosts and request ids; must not know users, rules or routes' upstreams.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from doorward.accounts.chance import request_id
from doorward.gate.addresses import Address as Address
from doorward.gate.addresses import parse_address as parse_address
from doorward.gate.forwarded import BadForwarded, by_trusted, first_told, read_forwarded
from doorward.gate.headers import Block, Header, Scan, scan, scan_block
from doorward.gate.paths import BadPath, check_target, readings
from doorward.gate.targets import ASTERISK, Unfit, count_hop, origin_form

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: `address` is an IP in text form, empty behind a unix socket without a chain.

    `host` is the authority as asked, lower-case, with its port if it had one.
    """

    address: str
    scheme: str
    host: str
    request_id: str
    user_agent: str


# Values that are made for every request are not frozen: that would cost a microsecond each.


@dataclass(slots=True)
class Arrival:
    """A request as the server took it: bytes only, nothing believed yet.

    `target` is the request target as received (RFC 9112 3.2); `peer` the connection's other end.
    """

    method: bytes
    target: bytes
    headers: list[Header]
    peer: str
    scheme: str
    upgrade: bytes = b""  # the protocols asked for, where our server can make a tunnel
    block: Block | None = None  # the headers, where they may come again


@dataclass(slots=True)
class Accepted:
    """A request that means one thing: what every later step decides on and what is forwarded."""

    method: bytes
    target: bytes
    path: bytes
    other_readings: frozenset[bytes]
    host: str  # lower-case, without port or final dot: what routes and rules are matched with
    authority: str  # as asked, lower-case
    address: Address | None
    address_text: str
    scheme: str
    request_id: str
    trusted: bool  # the peer is one of `trusted_proxies`
    scan: Scan
    peer: str
    upgrade: bytes = b""

    @property
    def client(self) -> Client:
        """Who asks, for those who draw an answer of ours."""
        return Client(
            self.address_text, self.scheme, self.authority, self.request_id, _user_agent(self.scan)
        )


@dataclass(slots=True)
class Hop:
    """The last hop of a request: what its headers and its connection say, whatever it asks for."""

    peer: str
    came_by: str  # the scheme of the connection
    host: str
    is_served: bool
    authority: str
    address: Address | None
    address_text: str
    scheme: str
    trusted: bool


# RFC 3986 3.2.2: a registered name or an IP literal, and a port.
_AUTHORITY = re.compile(
    rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::(\d{1,5}))?"
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
USUAL_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")


# Longer targets are read each time, so that what is remembered stays small.
REMEMBERED_BYTES = 256


class Accept:
    """Turns an Arrival into an Accepted, or raises Unfit.

    `serves` tells whether any route answers for a host (lower-case, without port).
    """

    def __init__(
        self, trusted: tuple[Network | Literal["unix"], ...], serves: Callable[[str], bool]
    ) -> None:
        self._trusted = tuple(network for network in trusted if network != "unix")
        self._trusts_unix = "unix" in trusted
        self._serves = lru_cache(maxsize=4096)(serves)
        self._hop = lru_cache(maxsize=8192)(self._known_hop)
        self._authority = lru_cache(maxsize=4096)(_split_authority)
        self._read = lru_cache(maxsize=4096)(_read_target)

    def __call__(self, arrival: Arrival) -> Accepted:
        headers = scan(arrival.headers) if arrival.block is None else scan_block(arrival.block)
        target = arrival.target
        if not target.startswith(b"/"):
            target = origin_form(target, headers, arrival.method)
        hop = headers.hop
        if hop is None or hop.peer != arrival.peer or hop.came_by != arrival.scheme:
            hop = self._read_hop(arrival, headers)
        if arrival.method not in USUAL_METHODS and not _METHOD.fullmatch(arrival.method):
            raise Unfit(400, "the method is not a token")
        if headers.max_forwards is not None:
            count_hop(headers, arrival.method)
        read = self._read if len(target) <= REMEMBERED_BYTES else _read_target
        path, others = read(target)
        if not hop.is_served:
            raise Unfit(421, "no route answers for this host")
        return Accepted(
            arrival.method,
            target,
            path,
            others,
            hop.host,
            hop.authority,
            hop.address,
            hop.address_text,
            hop.scheme,
            _told_id(headers) if hop.trusted else request_id(),
            hop.trusted,
            headers,
            hop.peer,
            arrival.upgrade,
        )

    def _read_hop(self, arrival: Arrival, headers: Scan) -> Hop:
        """What the headers and the connection say of who asks, and for whom."""
        if len(headers.hosts) != 1:
            raise Unfit(400, "a request has exactly one Host header")
        address, text, trusted = self._hop(arrival.peer)
        if trusted and headers.forwarded:
            self._take_forwarded(arrival, headers)
        host, asked = self._authority(self._asked_authority(headers, trusted))
        if trusted and headers.forwarded_for:
            address = self._walk(arrival.peer, headers.forwarded_for)
            text = str(address or "")
        scheme = _scheme(arrival.scheme, headers) if trusted else arrival.scheme
        serves = self._serves(host)
        hop = Hop(arrival.peer, arrival.scheme, host, serves, asked, address, text, scheme, trusted)
        if headers.may_come_again:
            headers.hop = hop
        return hop

    def _known_hop(self, peer: str) -> tuple[Address | None, str, bool]:
        """A connection's other end: its address, the same as text, and whether it is trusted."""
        address = parse_address(peer)
        trusted = self._in_trusted(address) if peer else self._trusts_unix
        return address, str(address or ""), trusted

    def _take_forwarded(self, arrival: Arrival, headers: Scan) -> None:
        """Put what Forwarded tells where X-Forwarded-* would have.

        Most proxies set one of the two and pass the other on as the client wrote it. Where both
        came, nobody knows which to believe: they must agree, or the request is refused.
        """
        try:
            hops = by_trusted(read_forwarded(headers.forwarded), self._is_trusted_text)
        except BadForwarded as fault:
            raise Unfit(400, f"the Forwarded header is malformed ({fault})") from None
        chain = b", ".join(_told_address(hop.source) for hop in hops if hop.source is not None)
        told = Scan(
            hosts=headers.hosts,
            forwarded_for=[chain] if chain else [],
            forwarded_proto=first_told([hop.proto for hop in hops]),
            forwarded_host=first_told([hop.host for hop in hops]),
        )
        if not (headers.forwarded_for or headers.forwarded_proto or headers.forwarded_host):
            headers.forwarded_for = told.forwarded_for
            headers.forwarded_proto = told.forwarded_proto
            headers.forwarded_host = told.forwarded_host
        elif not self._agree(arrival, headers, told):
            raise Unfit(400, "Forwarded and X-Forwarded-* tell different ways")

    def _agree(self, arrival: Arrival, headers: Scan, told: Scan) -> bool:
        """Whether everything that Forwarded tells is what is believed without it."""
        if told.forwarded_for and self._walk(arrival.peer, told.forwarded_for) != self._walk(
            arrival.peer, headers.forwarded_for
        ):
            return False
        if told.forwarded_proto and _scheme(arrival.scheme, told) != _scheme(
            arrival.scheme, headers
        ):
            return False
        asked = self._asked_authority(headers, True)
        return not told.forwarded_host or told.forwarded_host.lower() == asked.lower()

    def _is_trusted_text(self, text: bytes) -> bool:
        return self._in_trusted(parse_address(text.decode("latin-1")))

    def _in_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

    def _asked_authority(self, headers: Scan, trusted: bool) -> bytes:
        if trusted and headers.forwarded_host is not None:
            return headers.forwarded_host.rpartition(b",")[2].strip()
        return headers.hosts[0]

    def _walk(self, peer: str, lines: list[bytes]) -> Address | None:
        """The first address from the right that is not a trusted proxy (RFC 7239 5.2).

        A link that is no address ends the walk at the hop that passed it on.
        """
        address = parse_address(peer)
        for entry in reversed(b",".join(lines).split(b",")):
            previous = parse_address(entry.decode("latin-1")) if entry.strip() else None
            if previous is None:
                return address
            address = previous
            if not self._in_trusted(address):
                return address
        return address


def _told_address(source: bytes) -> bytes:
    """An address as X-Forwarded-For has it; a quoted one could hold a comma, or anything."""
    return str(parse_address(source.decode("latin-1")) or "unknown").encode()


def _read_target(target: bytes) -> tuple[bytes, frozenset[bytes]]:
    """The path, and every other way to read it."""
    if target == ASTERISK:
        return b"/", frozenset()
    path = target.partition(b"?")[0]
    try:
        check_target(target)
        return path, readings(path)
    except BadPath as fault:
        raise Unfit(400, str(fault)) from None


def _split_authority(value: bytes) -> tuple[str, str]:
    match = _AUTHORITY.fullmatch(value)
    if match is None or (match[2] is not None and int(match[2]) > 65535):
        raise Unfit(400, "the Host header is malformed")
    return match[1].decode().lower().rstrip("."), value.decode().lower()


def _scheme(scheme: str, headers: Scan) -> str:
    if headers.forwarded_proto is not None:
        said = headers.forwarded_proto.rpartition(b",")[2].strip().lower()
        if said in (b"http", b"https"):
            return said.decode()
    return scheme


def _told_id(headers: Scan) -> str:
    said = headers.request_id
    if said is not None and _REQUEST_ID.fullmatch(said):
        return said.decode()
    return request_id()


def _user_agent(headers: Scan) -> str:
    for name, value in headers.passing:
        if name == b"user-agent":
            return value.decode("utf-8", "replace")[:1024]
    return ""
