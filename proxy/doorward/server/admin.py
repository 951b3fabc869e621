"""The admin listener: health, readiness, metrics. Must not know how they are determined."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

from doorward.gate.addresses import parse_address
from doorward.gate.authority import BadAuthority, parse_authority
from doorward.http1.headers import OWS


class MetricsEndpoint(Protocol):
    async def answer(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its media type, in a format that the client accepts."""


class OwnHostsOnly:
    """Answers requests for this listener's own hosts and refuses others with 421.

    A web page could point its own name to the address of this listener and read it through a
    visitor's browser (DNS rebinding); the browser still sends the page's name as Host. The own
    hosts are loopback names and addresses, the address that the connection came to, and `hosts`. On
    a Unix socket every name counts, because no browser reaches it.
    """

    def __init__(self, app: Any, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(map(_normal, hosts))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        lines = [value for name, value in scope["headers"] if name == b"host"]
        is_own = all(self._is_own(value, scope.get("server")) for value in lines)
        refused = PlainTextResponse("This host is not one of admin_hosts.\n", 421)
        await (self._app if is_own else refused)(scope, receive, send)

    def _is_own(self, value: bytes, server: tuple[str, int | None] | None) -> bool:
        if server is None or server[1] is None:
            return True
        try:
            host = _normal(parse_authority(value.strip(OWS)).host)
        except BadAuthority:
            return False
        return host in self._hosts or host == _normal(server[0]) or _is_loopback(host)


def _normal(host: str) -> str:
    """A name in lower case; an address in the normal form."""
    address = parse_address(host)
    return host.lower() if address is None else str(address)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 6.3
        return True
    address = parse_address(host)
    return address is not None and address.is_loopback


def admin_app(
    ready: Callable[[], Awaitable[str | None]],
    metrics: MetricsEndpoint | None = None,
    hosts: Iterable[str] = (),
) -> OwnHostsOnly:
    """`/healthz`: this process answers. `/readyz`: 200, or 503 with the reason. `/metrics`: for
    Prometheus. `hosts` are further names and addresses of the listener."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        reason = await ready()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": reason}, 503)

    async def scraped(request: Request) -> Response:
        assert metrics is not None
        try:
            body, media_type = await metrics.answer(request.headers.get("accept", ""))
        except OSError as fault:
            return JSONResponse({"status": "not ready", "reason": str(fault)}, 503)
        return Response(body, headers={"content-type": media_type})

    routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
    if metrics is not None:
        routes.append(Route("/metrics", scraped))
    return OwnHostsOnly(Router(routes), hosts)
