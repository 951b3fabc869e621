"""The last hop of a request: who connected, and what a trusted proxy tells about the client.

Knows which peers are trusted and how each of their headers is read; must not know routes, rules
or targets. Each fact is decided here once; every later step uses the value of `Hop`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from doorward.gate.addresses import Address, parse_address
from doorward.gate.authority import Authority, BadAuthority, parse_authority, parse_port
from doorward.gate.forwarded import BadForwarded, by_trusted, first_told, read_forwarded
from doorward.gate.headers import OWS, Scan
from doorward.gate.targets import Unfit

Network = IPv4Network | IPv6Network
Trusted = tuple[Network | Literal["unix"], ...]

# Optional headers of trusted proxies, believed only when the configuration names them: many proxies
# do not set these two and pass on what the client sent.
FORWARDED_PORT, FORWARDED_PREFIX = "x-forwarded-port", "x-forwarded-prefix"

# A proxy that tells of a WebSocket names the scheme of its URL (RFC 6455 3).
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# RFC 3986 3.3 without percent-encoding, and without `,`, which separates what several proxies say.
_PREFIX = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9\-._~!$&'()*+;=:@]+)+/?")
PREFIX_BYTES = 256


@dataclass(slots=True)
class Hop:
    """What holds for a request whatever it asks for.

    `forwarded_for` is the chain of addresses to pass on, this peer included; `port` the one that
    the client used, in digits; `prefix` the path under which a proxy mounts this server, without a
    final slash. `address_text` is empty when the client is unknown.
    """

    peer: str
    came_by: str  # the scheme of the connection
    authority: str  # as asked, lower-case, with its port if it had one
    host: str  # the same without port and final dot
    port: str
    scheme: str
    address: Address | None
    address_text: str
    forwarded_for: str
    trusted: bool
    prefix: str = ""
    is_served: bool = False  # whether any route answers for this host


@dataclass(slots=True)
class _Said:
    """What proxies wrote in one family of headers; empty where they wrote nothing."""

    chain: list[bytes]
    proto: bytes | None
    host: bytes | None

    def __bool__(self) -> bool:
        return bool(self.chain) or self.proto is not None or self.host is not None


class Hops:
    """Reads the last hop of requests. Any contradiction raises Unfit with status 400.

    `public_origin` is the origin of `public_url`; `believed` names the optional headers that
    trusted proxies set.
    """

    def __init__(
        self, trusted: Trusted, public_origin: str = "", believed: Iterable[str] = ()
    ) -> None:
        self._trusted = tuple(network for network in trusted if network != "unix")
        self._trusts_unix = "unix" in trusted
        self._public_scheme, _, public = public_origin.partition("://")
        self._public = parse_authority(public.encode()) if public else None
        self._takes_port = FORWARDED_PORT in believed
        self._takes_prefix = FORWARDED_PREFIX in believed
        self._peer = lru_cache(maxsize=8192)(self._known_peer)
        self._parse = lru_cache(maxsize=4096)(_authority)

    def read(
        self, peer: str, came_by: str, headers: Scan, named: bytes | None, *, needs_host: bool
    ) -> Hop:
        """`named`: the authority of an absolute target, which goes before Host (RFC 9112 3.2.2);
        `needs_host`: whether a request without Host is malformed (HTTP/1.1)."""
        asked = self._asked(headers, named, needs_host)
        address, text, trusted = self._peer(peer)
        if not trusted:
            port = asked.port or self._port_of(came_by, asked)
            return Hop(
                peer, came_by, asked.text, asked.host, port, came_by, address, text, text, False
            )
        said = self._said(peer, came_by, headers, asked)
        if said.host is not None:
            asked = self._parse(said.host)
        if said.chain:
            address = self._walk(peer, said.chain)
            text = str(address or "")
        scheme = _scheme(said.proto, came_by)
        return Hop(
            peer,
            came_by,
            asked.text,
            asked.host,
            self._told_port(headers, scheme, asked),
            scheme,
            address,
            text,
            _chain(said.chain, peer),
            True,
            self._told_prefix(headers),
        )

    # The authority

    def _asked(self, headers: Scan, named: bytes | None, needs_host: bool) -> Authority:
        """The authority that the request itself names."""
        if len(headers.hosts) > 1 or (needs_host and not headers.hosts):
            raise Unfit(400, "a request has exactly one Host header")
        if named is not None:
            return self._parse(named)
        if headers.hosts:
            return self._parse(headers.hosts[0])
        if self._public is None:
            raise Unfit(400, "a request has exactly one Host header")
        return self._public  # RFC 9112 3.3: the configured name stands in

    def _port_of(self, scheme: str, asked: Authority) -> str:
        """The port of an authority without one. A proxy may leave out that of `public_url`."""
        public = self._public
        if public is not None and (scheme, asked.host) == (self._public_scheme, public.host):
            return public.port or _DEFAULT_PORTS[scheme]
        return _DEFAULT_PORTS[scheme]

    def _told_port(self, headers: Scan, scheme: str, asked: Authority) -> str:
        derived = asked.port or self._port_of(scheme, asked)
        told = _last(headers.forwarded_port, "X-Forwarded-Port") if self._takes_port else None
        if told is None:
            return derived
        try:
            port = parse_port(told)
        except BadAuthority:
            raise Unfit(400, "the X-Forwarded-Port header is malformed") from None
        if asked.port not in ("", port):
            raise Unfit(400, "X-Forwarded-Port and the host's port differ")
        return port

    def _told_prefix(self, headers: Scan) -> str:
        told = _last(headers.forwarded_prefix, "X-Forwarded-Prefix") if self._takes_prefix else None
        if told in (None, b"/"):
            return ""
        assert told is not None
        if len(told) > PREFIX_BYTES or _PREFIX.fullmatch(told) is None:
            raise Unfit(400, "the X-Forwarded-Prefix header is malformed")
        return told.decode().rstrip("/")

    # What proxies tell

    def _said(self, peer: str, came_by: str, headers: Scan, asked: Authority) -> _Said:
        """What is believed of X-Forwarded-* and Forwarded.

        Most proxies set one of the two and pass the other on as the client wrote it. When both
        are there, nobody knows which to believe: they must agree.
        """
        said = _Said(
            headers.forwarded_for,
            _lower(_last(headers.forwarded_proto, "X-Forwarded-Proto")),
            _lower(_last(headers.forwarded_host, "X-Forwarded-Host")),
        )
        if not headers.forwarded:
            return said
        told = self._read_forwarded(headers.forwarded)
        if not said:
            return told
        if not self._agree(peer, came_by, said, told, asked):
            raise Unfit(400, "Forwarded and X-Forwarded-* differ")
        return said

    def _read_forwarded(self, lines: list[bytes]) -> _Said:
        try:
            hops = by_trusted(read_forwarded(lines), self._is_trusted_text)
        except BadForwarded as fault:
            raise Unfit(400, f"the Forwarded header is malformed ({fault})") from None
        chain = b", ".join(_told_address(hop.source) for hop in hops if hop.source is not None)
        return _Said(
            [chain] if chain else [],
            _lower(first_told([hop.proto for hop in hops])),
            _lower(first_told([hop.host for hop in hops])),
        )

    def _agree(self, peer: str, came_by: str, said: _Said, told: _Said, asked: Authority) -> bool:
        """Whether everything that Forwarded tells is what is believed without it."""
        if told.chain and self._walk(peer, told.chain) != self._walk(peer, said.chain):
            return False
        if told.proto is not None and _scheme(told.proto, "") != _scheme(said.proto, came_by):
            return False
        believed = asked.text.encode() if said.host is None else said.host
        return told.host in (None, believed)

    # Addresses

    def _known_peer(self, peer: str) -> tuple[Address | None, str, bool]:
        """A connection's other end: its address, the same as text, and whether it is trusted."""
        address = parse_address(peer)
        trusted = self._in_trusted(address) if peer else self._trusts_unix
        return address, str(address or ""), trusted

    def _is_trusted_text(self, text: bytes) -> bool:
        return self._in_trusted(parse_address(text.decode("latin-1")))

    def _in_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

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


def _last(lines: tuple[bytes, ...], name: str) -> bytes | None:
    """What the nearest proxy says: the last member of a header's list. A header that came in
    several lines, of which one may be the client's, has to say the same in each."""
    if not lines:
        return None
    said = {line.rpartition(b",")[2].strip(OWS) for line in lines}
    if len(said) > 1:
        raise Unfit(400, f"there are {len(lines)} {name} headers, and they differ")
    return said.pop()


def _lower(value: bytes | None) -> bytes | None:
    return None if value is None else value.lower()


def _scheme(proto: bytes | None, came_by: str) -> str:
    """The scheme that a proxy tells. An unknown word could hide that it was the better one."""
    if proto is None:
        return came_by
    found = _SCHEMES.get(proto)
    if found is None:
        raise Unfit(400, "the forwarded scheme is neither http nor https")
    return found


def _chain(told: list[bytes], peer: str) -> str:
    """The chain to pass on. The peer of a unix socket has no address to add."""
    links = (*told, peer.encode()) if peer else told
    return b", ".join(links).decode("latin-1")


def _told_address(source: bytes) -> bytes:
    """An address as X-Forwarded-For has it; a quoted one could hold a comma, or anything."""
    return str(parse_address(source.decode("latin-1")) or "unknown").encode()


def _authority(value: bytes) -> Authority:
    try:
        return parse_authority(value)
    except BadAuthority:
        raise Unfit(400, "the Host header is malformed") from None
