"""A request as a server took it off its connection: bytes only, nothing trusted yet."""

from dataclasses import dataclass
from typing import Protocol

from doorward.http1.headers import Header, RequestHeaders


class Received(Protocol):
    """`target` is the request target as received (RFC 9112 3.2), `peer` the connection's other end,
    names in `headers` are in lower case. `parsed` is what they say, where that was read already;
    `upgrade` the protocols asked for, where the server can make a tunnel."""

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def headers(self) -> list[Header]: ...
    @property
    def peer(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def upgrade(self) -> bytes: ...
    @property
    def is_http_1_0(self) -> bool: ...
    @property
    def parsed(self) -> RequestHeaders | None: ...


@dataclass(slots=True)
class Arrival:
    """Fills `Received` for servers that give headers as a list."""

    method: bytes
    target: bytes
    headers: list[Header]
    peer: str
    scheme: str
    upgrade: bytes = b""
    is_http_1_0: bool = False
    parsed: RequestHeaders | None = None
