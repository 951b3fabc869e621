"""Serving an application until a signal says stop: sockets, uvicorn, graceful end.

Must not know what the application does.
"""

import asyncio
import contextlib
import functools
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

import structlog
import uvicorn

from doorward.observe.observer import Observer
from doorward.server.admin import Metrics, admin_app
from doorward.server.certificate import LOOK_S, Certificate
from doorward.server.limits import Peers, raise_descriptors
from doorward.server.listeners import Sockets, shown
from doorward.server.protocol import Lane, protocol_with
from doorward.server.proxy_protocol import Entrance, Source, speaking_for
from doorward.settings import Limits, Settings

_log = structlog.get_logger("doorward.server")

# How long a request under way may take after a signal to stop; Kubernetes gives 30 s in all.
GRACE_S = 20

Ready = Callable[[], Awaitable[str | None]]


# How long a client may take to say goodbye in TLS; the default of 30 s would hold up a stop.
TLS_GOODBYE_S = 3.0


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling, on sockets that are bound already."""

    tls: dict[str, Any]  # what the loop is told of it; nothing for plain http
    entrance: Callable[..., Entrance] | None = None  # in place of the loop's own servers

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()

        def protocol(source: Source | None = None) -> asyncio.Protocol:
            make: Any = self.config.http_protocol_class
            made: Any = make(
                config=self.config, server_state=self.server_state, app_state={}, _loop=loop
            )
            if source is not None:
                made.source = source
            return cast(asyncio.Protocol, made)

        self.servers = []
        for sock in sockets or []:
            if self.entrance is not None:
                self.servers.append(cast(asyncio.Server, self.entrance(sock, protocol)))
                continue
            create: Any = (
                loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            )
            self.servers.append(await create(protocol, sock=sock, **self.tls))
        self.started = True


def _server(
    app: Any,
    limits: Limits,
    certificate: Certificate | None = None,
    lane: Lane | None = None,
    trusted: Peers = (),
    observer: Observer | None = None,
) -> _Server:
    config = uvicorn.Config(
        app,
        http=protocol_with(limits, lane, trusted, observer),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    server.tls = _tls(certificate, limits) if certificate else {}
    return server


def _tls(certificate: Certificate, limits: Limits) -> dict[str, Any]:
    return {
        "ssl": certificate.context,
        "ssl_handshake_timeout": limits.header_timeout.total_seconds(),
        "ssl_shutdown_timeout": TLS_GOODBYE_S,
    }


def _let_in_by_proxies(server: _Server, settings: Settings) -> None:
    """Have trusted peers say in a PROXY header for whom each connection is."""
    server.config.http = speaking_for(cast(type[asyncio.Protocol], server.config.http))
    server.entrance = functools.partial(
        Entrance,
        trusted=settings.trusted_proxies,
        timeout_s=settings.limits.header_timeout.total_seconds(),
        tls=server.tls,
    )


@contextlib.asynccontextmanager
async def _watching(certificate: Certificate | None) -> AsyncIterator[None]:
    """Has the certificate look at its files as long as connections are taken."""

    async def watch(certificate: Certificate) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            certificate.look()

    task = asyncio.ensure_future(watch(certificate)) if certificate else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


@contextlib.contextmanager
def _stopping(servers: list[_Server], lifeline: int | None) -> Iterator[None]:
    """SIGTERM and SIGINT end the servers gracefully; a second one at once."""
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(cast(int, lifeline))
        stop()

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop)
    if lifeline is not None:
        loop.add_reader(lifeline, orphaned)
    try:
        yield
    finally:
        if lifeline is not None:
            loop.remove_reader(lifeline)
        for number in signals:
            loop.remove_signal_handler(number)


def _admin_hosts(settings: Settings) -> list[str]:
    """The names and addresses under which the configuration has the admin listener asked."""
    listen = settings.admin_listen
    own = [] if listen is None or listen.host is None or listen.is_everywhere else [listen.host]
    return [*settings.admin_hosts, *own]


async def run(
    settings: Settings,
    sockets: Sockets,
    app: Any,
    ready: Ready,
    *,
    metrics: Metrics | None = None,
    lane: Lane | None = None,
    observer: Observer | None = None,
    lifeline: int | None = None,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve `app` until a signal says stop, or `lifeline` (a file descriptor) ends.

    `ready` gives the reason why not, or None; the admin listener's `/readyz` asks it, and `metrics`
    for `/metrics`. Raises
    InvalidSettings for files of `tls` that cannot be used.
    """
    raise_descriptors()
    certificate = Certificate(settings.tls) if settings.tls else None
    trusted = settings.trusted_proxies
    servers = [_server(app, settings.limits, certificate, lane, trusted, observer)]
    serving = [servers[0].serve([sockets.main])]
    if settings.proxy_protocol:
        _let_in_by_proxies(servers[0], settings)
    if sockets.admin is not None:
        hosts = _admin_hosts(settings)
        servers.append(_server(admin_app(ready, metrics, hosts), settings.limits))
        serving.append(servers[1].serve([sockets.admin]))
    with _stopping(servers, lifeline):
        address = shown(sockets.main, tls=certificate is not None)
        _log.info("listening", address=address, public_url=settings.public_url)
        if on_listening is not None:
            asyncio.get_running_loop().call_soon(on_listening, address)
        async with _watching(certificate):
            await asyncio.gather(*serving)
    _log.info("stopped")
