"""Connections that begin by saying for whom they are: the PROXY protocol, versions 1 and 2.

Knows the header (haproxy.org, proxy-protocol.txt) and from which peers it is trusted; must not know
what comes after it. It is read from the socket byte for byte, so TLS or HTTP finds what follows
whole.
"""

import asyncio
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

Source = tuple[str, int]
# Somebody, but nobody knows who: never the connection's own end, which is a trusted one.
UNKNOWN: Source = ("unknown", 0)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LINE_BYTES = 107  # the longest line of version 1
_BODY_BYTES = 4096  # of version 2: addresses have 36, and what balancers add to them some hundred

_LINE = re.compile(rb"PROXY (TCP[46]) (\S+) (\S+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n")
_FAMILIES = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}


class BadHeader(Exception):
    """What came is no header of this protocol, or one that nobody can make sense of."""


def read_line(line: bytes) -> Source:
    """The source in a header of version 1. Raises BadHeader."""
    if line.startswith(b"PROXY UNKNOWN") and line.endswith(b"\r\n") and line[13:14] in b" \r":
        return UNKNOWN
    match = _LINE.fullmatch(line)
    if match is None or max(int(match[4]), int(match[5])) > 65535:
        raise BadHeader("a malformed line")
    try:
        source, _ = (ip_address(part.decode("ascii")) for part in match.group(2, 3))
    except ValueError:
        raise BadHeader("a malformed address") from None
    if not isinstance(source, _FAMILIES[match[1]]) or "%" in str(source):
        raise BadHeader("an address of another family")
    return str(source), int(match[4])


def read_block(head: bytes, body: bytes) -> Source | None:
    """The source in a header of version 2, its 16 bytes and the rest; None for a connection of the
    proxy's own. Raises BadHeader."""
    version, command, family = head[12] >> 4, head[12] & 15, head[13]
    if version != 2 or command > 1:
        raise BadHeader("an unknown version or command")
    if command == 0:
        return None
    if family == 0x11 and len(body) >= 12:
        return str(IPv4Address(body[:4])), int.from_bytes(body[8:10], "big")
    if family == 0x21 and len(body) >= 36:
        return str(IPv6Address(body[:16])), int.from_bytes(body[32:34], "big")
    if family == 0x00 or (family == 0x31 and len(body) >= 216):
        return UNKNOWN
    raise BadHeader("an unknown or malformed family of addresses")


async def read_source(conn: socket.socket) -> Source | None:
    """Take the header off a connection, and nothing after it. Raises BadHeader or OSError."""
    start = await _exactly(conn, 12)
    if start == SIGNATURE:
        head = start + await _exactly(conn, 4)
        size = int.from_bytes(head[14:16], "big")
        if size > _BODY_BYTES:
            raise BadHeader("too much in it")
        return read_block(head, await _exactly(conn, size))
    if start.startswith(b"PROXY "):
        return read_line(await _line(conn, start))
    raise BadHeader("none")


async def _exactly(conn: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        more = await loop.sock_recv(conn, size - len(data))
        if not more:
            raise BadHeader("only a part of it")
        data += more
    return data


async def _line(conn: socket.socket, line: bytes) -> bytes:
    """The rest of a line. What is there already is looked at first, so as not to take too much."""
    while not line.endswith(b"\n"):
        if len(line) >= _LINE_BYTES:
            raise BadHeader("a line that is too long")
        line += await _exactly(conn, 1)
        if line.endswith(b"\n"):
            break
        try:
            seen = conn.recv(_LINE_BYTES - len(line), socket.MSG_PEEK)
        except BlockingIOError:
            continue
        line += conn.recv(seen.find(b"\n") + 1 or len(seen))
    return line


def speaking_for(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """The protocol class of a server whose connections have an attribute `source`: what they said
    is the client, wherever one is asked for."""

    def client(self: Any) -> Source | None:
        found: Source | None = self.source or self._own_end
        return found

    def note(self: Any, own_end: Source | None) -> None:
        self._own_end = own_end

    more = {"source": None, "_own_end": None, "client": property(client, note)}
    return type(f"Proxied{protocol.__name__}", (protocol,), more)
