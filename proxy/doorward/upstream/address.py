"""Where an upstream listens, and how to open a connection to it.

Must not know what is sent over the connection.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from doorward.settings import Upstream, UpstreamTls
from doorward.settings.certificates import connecting_context
from doorward.upstream.failures import ConnectFailed, ConnectTimeout, UpstreamOverloaded

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Address:
    """An address to connect to: `host` and `port`, with or without TLS, or the `path` of a Unix
    socket."""

    host: str | None = None
    port: int | None = None
    path: str | None = None
    tls: UpstreamTls | None = None

    @classmethod
    def of(cls, upstream: Upstream, tls: UpstreamTls | None = None) -> "Address":
        """The address of a configured upstream; `tls` is used for https.

        Raises InvalidSettings for files of `tls` that cannot be used.
        """
        if upstream.scheme == "unix":
            return cls(path=str(upstream.path))
        if upstream.scheme == "http":
            return cls(host=upstream.host, port=upstream.port)
        tls = tls or UpstreamTls()
        _context(tls)
        return cls(host=upstream.host, port=upstream.port, tls=tls)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in str(self.host) else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def context(self) -> ssl.SSLContext | None:
        """The TLS context; None without TLS."""
        return None if self.tls is None else _context(self.tls)

    async def open(self, make: Callable[[], P], timeout_s: float) -> P:
        """A connected protocol. Raises ConnectFailed, ConnectTimeout or Overloaded, and then
        nothing was sent."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._open(make)
        except TimeoutError:
            raise ConnectTimeout(f"no connection to {self} within {timeout_s:g} s") from None
        except OSError as fault:  # an untrusted certificate counts as well
            if _without_descriptors():  # which does not depend on the upstream
                raise UpstreamOverloaded(
                    f"no descriptor is left for a connection to {self}"
                ) from None
            raise ConnectFailed(f"no connection to {self}: {fault.strerror or fault}") from None

    async def _open(self, make: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        if self.path is not None:
            return (await loop.create_unix_connection(make, self.path))[1]
        assert self.host is not None and self.port is not None
        if self.tls is None:
            transport, protocol = await loop.create_connection(make, self.host, self.port)
        else:
            transport, protocol = await loop.create_connection(
                make,
                self.host,
                self.port,
                ssl=_context(self.tls),
                server_hostname=self.tls.server_name or self.host,
            )
        _send_at_once(transport)
        return protocol


def _without_descriptors() -> bool:
    """Whether this process has no descriptors left, whatever the failure was called."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return True
    return False


@cache
def _context(tls: UpstreamTls) -> ssl.SSLContext:
    """Read once, because a file of authorities takes some milliseconds."""
    return connecting_context(tls)


def _send_at_once(transport: asyncio.BaseTransport) -> None:
    """Send small writes at once, without waiting for the acknowledgement of the previous one."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
