"""The last hop of a request: the peer, and the client as described by trusted proxies.

Knows which peers are trusted and how each of their headers is read; must not know routes, rules or
targets. Each fact is decided here once; every later step uses the value of `Hop`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from doorward.gate.addresses import ADDRESS_CHARACTERS, Address, parse_address
from doorward.gate.authority import BadAuthority, parse_authority, parse_port
from doorward.gate.forwarded import BadForwarded, find_first, read_forwarded, select_trusted
from doorward.gate.targets import Unfit
from doorward.http1.headers import OWS, RequestHeaders

Network = IPv4Network | IPv6Network
Trusted = tuple[Network | Literal["unix"], ...]

# Optional headers of trusted proxies, trusted only if the configuration names them: many proxies do
# not set these two and pass on what the client sent.
FORWARDED_PORT, FORWARDED_PREFIX = "x-forwarded-port", "x-forwarded-prefix"

# For a WebSocket, some proxies send the scheme of its URL (RFC 6455 3).
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# RFC 3986 3.3 without percent-encoding, and without `,`, which separates the values of several
# proxies.
_PREFIX = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9\-._~!$&'()*+;=:@]+)+/?")
PREFIX_BYTES = 256
# Longer host names are parsed each time, to keep the cache small.
REMEMBERED_BYTES = 256


@dataclass(slots=True)
class Hop:
    """The facts about a request that do not depend on its target.

    `forwarded_for` is the chain of addresses to pass on, including this peer; `port` the one that
    the client used, in digits; `prefix` the path under which a proxy mounts this server, without a
    final slash. `address_text` is empty if the client is unknown.
    """

    peer: str
    came_by: str  # the scheme of the connection
    authority: str  # the requested authority in lower case, with its port if it had one
    host: str  # the same without port and final dot
    port: str
    scheme: str
    address: Address | None
    address_text: str
    forwarded_for: str
    trusted: bool
    prefix: str
    is_served: bool  # whether any route has this host
    lines: bytes | None = None  # the forwarding headers for the upstream, made when first used


# The contents of one family of headers: the chain of addresses, scheme and host.
_Forwarded = tuple[Sequence[bytes], bytes | None, bytes | None]
# An address (None if unknown), the same as text (then empty), and whether it is trusted.
_Peer = tuple[Address | None, str, bool]
_NOBODY: _Peer = (None, "", False)


@dataclass(frozen=True, slots=True)
class _RequestedAuthority:
    """The requested authority for one scheme; `port` is never empty."""

    text: str
    host: str
    port: str
    is_served: bool


class Hops:
    """Reads the last hop of requests. Any contradiction raises Unfit with status 400.

    `serves` returns whether any route has a host; `public_origin` is the origin of `public_url`;
    `believed` names the optional headers that trusted proxies set.
    """

    def __init__(
        self,
        trusted: Trusted,
        serves: Callable[[str], bool],
        public_origin: str = "",
        believed: Iterable[str] = (),
    ) -> None:
        self._trusted = tuple(network for network in trusted if network != "unix")
        self._trusts_unix = "unix" in trusted
        self._serves = serves
        self._public_scheme, _, public = public_origin.partition("://")
        self._public = public.encode()
        self._public_host = parse_authority(self._public) if public else None
        self._takes_port = FORWARDED_PORT in believed
        self._takes_prefix = FORWARDED_PREFIX in believed
        self._peer = lru_cache(maxsize=8192)(self._known_peer)
        self._asked = lru_cache(maxsize=4096)(self._read_authority)
        self._direct = lru_cache(maxsize=4096)(self._read_direct)

    def read(
        self,
        peer: str,
        came_by: str,
        headers: RequestHeaders,
        named: bytes | None,
        is_http_1_0: bool,
    ) -> Hop:
        """`named`: the authority of an absolute target, which takes precedence over Host (RFC 9112
        3.2.2)."""
        hosts = headers.hosts
        value = hosts[0] if len(hosts) == 1 else self._without_host(hosts, is_http_1_0)
        value = value if named is None else named
        if not self._peer(peer)[2]:
            read = self._direct if len(value) <= REMEMBERED_BYTES else self._read_direct
            return read(peer, came_by, value)
        chain, proto, host = self._read_forwarding(peer, came_by, headers, value)
        scheme = came_by if proto is None else read_scheme(proto)
        asked = self._asked(value if host is None else host, scheme)
        address, text, _ = self._walk(self._peer(peer), chain)
        return Hop(
            peer,
            came_by,
            asked.text,
            asked.host,
            self._read_port(headers.forwarded_port, asked) if self._takes_port else asked.port,
            scheme,
            address,
            text,
            _join_chain(chain, peer),
            True,
            _read_prefix(headers.forwarded_prefix) if self._takes_prefix else "",
            asked.is_served,
        )

    def trusts(self, peer: str) -> bool:
        """Whether this peer is one of the trusted proxies."""
        return self._peer(peer)[2]

    def read_named(
        self, peer: str, came_by: str, chain: Sequence[bytes], authority: bytes, scheme: str
    ) -> Hop:
        """The hop of a request that a trusted proxy asks about. Raises Unfit if the nearest link is
        not an address: the proxy's own address must not stand in for an unknown client's."""
        asked = self._asked(authority, scheme)
        address, text, _ = self._walk(_NOBODY, chain)
        if address is None:
            raise Unfit(400, "X-Forwarded-For contains no address of the client")
        return Hop(
            peer,
            came_by,
            asked.text,
            asked.host,
            asked.port,
            scheme,
            address,
            text,
            "",  # the request is not forwarded
            True,
            "",
            asked.is_served,
        )

    def _read_direct(self, peer: str, came_by: str, value: bytes) -> Hop:
        """For a client that is not a trusted proxy: none of its forwarding headers is trusted."""
        address, text, _ = self._peer(peer)
        asked = self._asked(value, came_by)
        return Hop(
            peer,
            came_by,
            asked.text,
            asked.host,
            asked.port,
            came_by,
            address,
            text,
            text,
            False,
            "",
            asked.is_served,
        )

    # The authority

    def _without_host(self, hosts: Sequence[bytes], is_http_1_0: bool) -> bytes:
        """The authority of a request without Host: that of public_url (RFC 9112 3.3)."""
        if hosts or not is_http_1_0 or not self._public:
            raise Unfit(400, "a request has exactly one Host header")
        return self._public

    def _read_authority(self, value: bytes, scheme: str) -> _RequestedAuthority:
        try:
            found = parse_authority(value)
        except BadAuthority:
            raise Unfit(400, "the Host header is malformed") from None
        port = found.port or self._default_port(scheme, found.host)
        return _RequestedAuthority(found.text, found.host, port, self._serves(found.host))

    def _default_port(self, scheme: str, host: str) -> str:
        """The port of an authority without one. A proxy may omit that of `public_url`."""
        public = self._public_host
        if public is not None and (scheme, host) == (self._public_scheme, public.host):
            return public.port or _DEFAULT_PORTS[scheme]
        return _DEFAULT_PORTS[scheme]

    def _read_port(self, lines: tuple[bytes, ...], asked: _RequestedAuthority) -> str:
        value = read_last(lines, "X-Forwarded-Port")
        if value is None:
            return asked.port
        try:
            port = parse_port(value)
        except BadAuthority:
            raise Unfit(400, "the X-Forwarded-Port header is malformed") from None
        if parse_authority(asked.text.encode()).port not in ("", port):
            raise Unfit(400, "X-Forwarded-Port and the host's port differ")
        return port

    # Headers of proxies

    def _read_forwarding(
        self, peer: str, came_by: str, headers: RequestHeaders, asked: bytes
    ) -> _Forwarded:
        """The trusted parts of X-Forwarded-* and Forwarded.

        Most proxies set one of the two and pass the other on as the client sent it. If both are
        there, Doorward cannot tell which one to trust, so they must agree.
        """
        chain = headers.forwarded_for
        proto = read_last(headers.forwarded_proto, "X-Forwarded-Proto")
        host = read_last(headers.forwarded_host, "X-Forwarded-Host")
        if not headers.forwarded:
            return chain, proto, host
        found = self._read_forwarded(headers.forwarded)
        if not chain and proto is None and host is None:
            return found
        found_chain, found_proto, found_host = found
        link = self._peer(peer)
        if (
            (found_chain and self._walk(link, found_chain)[0] != self._walk(link, chain)[0])
            or (
                found_proto
                and read_scheme(found_proto) != (read_scheme(proto) if proto else came_by)
            )
            or (found_host is not None and found_host.lower() != (host or asked).lower())
        ):
            raise Unfit(400, "Forwarded and X-Forwarded-* differ")
        return chain, proto, host

    def _read_forwarded(self, lines: Sequence[bytes]) -> _Forwarded:
        try:
            hops = select_trusted(read_forwarded(lines), self._is_trusted_text)
        except BadForwarded as fault:
            raise Unfit(400, f"the Forwarded header is malformed ({fault})") from None
        chain = b", ".join(_format_address(hop.source) for hop in hops if hop.source is not None)
        proto, host = [hop.proto for hop in hops], [hop.host for hop in hops]
        return [chain] if chain else [], find_first(proto), find_first(host)

    # Addresses

    def _known_peer(self, peer: str) -> _Peer:
        """One link of the chain: its address, the same as text, and whether it is trusted."""
        address = parse_address(peer)
        trusted = self._in_trusted(address) if peer else self._trusts_unix
        return address, str(address or ""), trusted

    def _is_trusted_text(self, text: bytes) -> bool:
        return self._in_trusted(parse_address(text.decode("latin-1")))

    def _in_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

    def _walk(self, found: _Peer, lines: Sequence[bytes]) -> _Peer:
        """The first address from the right that is not a trusted proxy (RFC 7239 5.2); `found` is
        the hop that passed on these lines.

        At a link that is not an address, the walk ends with the hop that passed it on.
        """
        for entry in reversed(b",".join(lines).split(b",")):
            entry = entry.strip()
            if not entry or len(entry) > ADDRESS_CHARACTERS:
                return found
            previous = self._peer(entry.decode("latin-1"))
            if previous[0] is None:
                return found
            found = previous
            if not found[2]:
                return found
        return found


def read_last(lines: tuple[bytes, ...], name: str) -> bytes | None:
    """The value from the nearest proxy: the last member of a header's list. If the header came in
    several lines, one of which may be the client's, all must be equal."""
    if not lines:
        return None
    if len(lines) == 1 and b"," not in lines[0]:
        return lines[0]
    said = {line.rpartition(b",")[2].strip(OWS) for line in lines}
    if len(said) > 1:
        raise Unfit(400, f"there are {len(lines)} {name} headers, and they differ")
    return said.pop()


def read_scheme(proto: bytes) -> str:
    """The scheme that a proxy sent. An unknown word is refused, because it could stand for
    https."""
    found = _SCHEMES.get(proto) or _SCHEMES.get(proto.lower())
    if found is None:
        raise Unfit(400, "the forwarded scheme is neither http nor https")
    return found


def _read_prefix(lines: tuple[bytes, ...]) -> str:
    value = read_last(lines, "X-Forwarded-Prefix")
    if value is None or value == b"/":
        return ""
    if len(value) > PREFIX_BYTES or _PREFIX.fullmatch(value) is None:
        raise Unfit(400, "the X-Forwarded-Prefix header is malformed")
    return value.decode().rstrip("/")


def _join_chain(chain: Sequence[bytes], peer: str) -> str:
    """The chain to pass on. The peer of a Unix socket has no address to add."""
    links = (*chain, peer.encode()) if peer else chain
    return b", ".join(links).decode("latin-1")


def _format_address(source: bytes) -> bytes:
    """An address in the form of X-Forwarded-For. A quoted one is refused: it could contain a comma,
    or anything else."""
    return str(parse_address(source.decode("latin-1")) or "unknown").encode()
