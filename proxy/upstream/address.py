"""Where an upstream listens, and how to open a connection to it.

Must not know what is said over the connection.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from proxy.settings import Upstream
from proxy.upstream.failures import ConnectFailed, ConnectTimeout

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Address:
    """A place to connect to: `host` and `port`, or the `path` of a unix socket."""

    host: str | None = None
    port: int | None = None
    path: str | None = None

    @classmethod
    def of(cls, upstream: Upstream) -> "Address":
        """The address of a configured upstream."""
        if upstream.scheme == "unix":
            return cls(path=str(upstream.path))
        return cls(host=upstream.host, port=upstream.port)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return (
            f"http://[{self.host}]:{self.port}"
            if ":" in str(self.host)
            else (f"http://{self.host}:{self.port}")
        )

    async def open(self, make: Callable[[], P], timeout_s: float) -> P:
        """A connected protocol. Raises ConnectFailed or ConnectTimeout; nothing was sent then."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                if self.path is not None:
                    _, protocol = await loop.create_unix_connection(make, self.path)
                else:
                    assert self.host is not None and self.port is not None
                    transport, protocol = await loop.create_connection(make, self.host, self.port)
                    _send_at_once(transport)
        except TimeoutError:
            raise ConnectTimeout(f"no connection to {self} within {timeout_s:g} s") from None
        except OSError as fault:
            raise ConnectFailed(f"no connection to {self}: {fault.strerror or fault}") from None
        return protocol


def _send_at_once(transport: asyncio.BaseTransport) -> None:
    """A small write must not wait for the acknowledgement of the one before it."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
