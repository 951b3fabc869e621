"""The syntax of an authority: the host and port that a request is for (RFC 3986 3.2).

Must not know which header it came from, or which peer is trusted.
"""

import re
from dataclasses import dataclass

# RFC 3986 3.2.2: a registered name or an IP literal, and a port.
_AUTHORITY = re.compile(
    rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::(\d{1,5}))?"
)
_PORT = re.compile(rb"\d{1,5}")
HIGHEST_PORT = 65535


class BadAuthority(Exception):
    """The value is not a host with an optional port."""


@dataclass(frozen=True, slots=True)
class Authority:
    """`text` is the requested authority in lower case; `host` is the same without port and final
    dot, and `port` its digits without leading zeros, empty if there is no port."""

    text: str
    host: str
    port: str


def parse_authority(value: bytes) -> Authority:
    """Raises BadAuthority."""
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        raise BadAuthority
    port = "" if match[2] is None else parse_port(match[2])
    return Authority(value.decode().lower(), match[1].decode().lower().rstrip("."), port)


def parse_port(value: bytes) -> str:
    """A port from 1 to 65535. Raises BadAuthority."""
    if _PORT.fullmatch(value) is None or not 1 <= int(value) <= HIGHEST_PORT:
        raise BadAuthority
    return str(int(value))
