"""A request as the server read it from the connection: only bytes, and nothing is trusted yet."""

from dataclasses import dataclass
from typing import Protocol

from doorward.http1.headers import Header
from doorward.http1.heads import RequestHead


class Received(Protocol):
    """`target` is the request target as received (RFC 9112 3.2), `peer` is the address of the
    connection's other end, and names in `headers` are in lower case. `parsed` are the parsed
    headers, if the server has parsed them; `upgrade` are the requested protocols, if the server can
    make a tunnel."""

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
    def parsed(self) -> RequestHead | None: ...


@dataclass(slots=True)
class Arrival:
    """Implements `Received` for servers that provide headers as a list."""

    method: bytes
    target: bytes
    headers: list[Header]
    peer: str
    scheme: str
    upgrade: bytes = b""
    is_http_1_0: bool = False
    parsed: RequestHead | None = None
