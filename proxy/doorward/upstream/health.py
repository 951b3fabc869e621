"""Health checks of upstreams. Uses httpx, because this is not in the data path.

Must not know what follows from a result; a `Member` of a group does.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from doorward.settings import HealthCheck
from doorward.upstream.address import Address

if TYPE_CHECKING:
    import httpx


class HealthListener(Protocol):
    """Learns whether an upstream is unhealthy."""

    def judge(self, is_unhealthy: bool) -> None: ...


async def watch(
    listener: HealthListener, address: Address, check: HealthCheck, host: str | None
) -> None:
    """Check forever. `host` is the name to ask for; None: the upstream's own."""
    bad = 0
    async with build_client(address, check.timeout.total_seconds()) as client:
        while True:
            bad = 0 if await _is_well(client, address, check, host) else bad + 1
            if not bad or bad >= check.failures:
                listener.judge(bool(bad))
            await asyncio.sleep(check.interval.total_seconds())


def build_client(address: Address, timeout_s: float) -> "httpx.AsyncClient":
    """A client for requests outside the data path, with a new connection for each."""
    import httpx  # importing takes a tenth of a second, and most runs do not need it

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
    transport = httpx.AsyncHTTPTransport(
        verify=address.context or False,  # False without TLS: nothing to load
        uds=address.path,
        limits=httpx.Limits(max_keepalive_connections=0),
    )
    return httpx.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False)


async def _is_well(
    client: "httpx.AsyncClient", address: Address, check: HealthCheck, host: str | None
) -> bool:
    import httpx

    url = ("http://localhost" if address.path is not None else str(address)) + check.path
    headers = {"user-agent": "doorward-health", "connection": "close"}
    named = {} if host is None else {"host": host}
    server = None if address.tls is None else address.tls.server_name
    extensions = {} if server is None else {"sni_hostname": server}
    try:
        async with asyncio.timeout(check.timeout.total_seconds()):
            request = client.stream("GET", url, headers=headers | named, extensions=extensions)
            async with request as answer:
                return answer.status_code < httpx.codes.BAD_REQUEST
    except Exception:  # whatever it is: a check that ends would never let the upstream back in
        return False
