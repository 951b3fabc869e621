"""A request as a server took it off its connection: bytes only, nothing believed yet."""

from dataclasses import dataclass

from doorward.http1.headers import Block, Header


@dataclass(slots=True)  # made for every request: not frozen, which would cost a microsecond
class Arrival:
    """`target` is the request target as received (RFC 9112 3.2), `peer` the connection's other end,
    names in `headers` are in lower case."""

    method: bytes
    target: bytes
    headers: list[Header]
    peer: str
    scheme: str
    upgrade: bytes = b""  # the protocols asked for, where the server can make a tunnel
    block: Block | None = None  # the headers, where they may come again
    is_http_1_0: bool = False
