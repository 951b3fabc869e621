"""Serving an application until a signal says stop: sockets, uvicorn, graceful end.

Must not know what the application does.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import structlog
import uvicorn

from proxy.server.admin import admin_app
from proxy.server.listeners import bind, shown
from proxy.server.protocol import protocol_with
from proxy.settings import Limits, Settings

_log = structlog.get_logger("doorward.server")

# How long a request under way may take after a signal to stop; Kubernetes gives 30 s in all.
GRACE_S = 20

Ready = Callable[[], Awaitable[str | None]]


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling, on sockets that are bound already."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            make: Any = self.config.http_protocol_class
            made: asyncio.Protocol = make(
                config=self.config, server_state=self.server_state, app_state={}, _loop=loop
            )
            return made

        self.servers = []
        for sock in sockets or []:
            create: Any = (
                loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            )
            self.servers.append(await create(protocol, sock=sock))
        self.started = True


def _server(app: Any, limits: Limits) -> _Server:
    config = uvicorn.Config(
        app,
        http=protocol_with(limits),
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
    return _Server(config)


@contextlib.contextmanager
def _stopping(servers: list[_Server]) -> Iterator[None]:
    """SIGTERM and SIGINT end the servers gracefully; a second one at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _sockets(settings: Settings) -> AsyncIterator[tuple[socket.socket, socket.socket | None]]:
    main = bind(settings.listen, "listen")
    try:
        admin = bind(settings.admin_listen, "admin_listen") if settings.admin_listen else None
        try:
            yield main, admin
        finally:
            if admin is not None:
                admin.close()
    finally:
        main.close()
        if settings.listen.path is not None:
            settings.listen.path.unlink(missing_ok=True)


async def run(
    settings: Settings,
    app: Any,
    ready: Ready,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve `app` until a signal says stop. Raises ListenFault before anything is served.

    `ready` gives the reason why not, or None; the admin listener's `/readyz` asks it.
    """
    async with _sockets(settings) as (main, admin):
        servers = [_server(app, settings.limits)]
        serving = [servers[0].serve([main])]
        if admin is not None:
            servers.append(_server(admin_app(ready), settings.limits))
            serving.append(servers[1].serve([admin]))
            _log.info("admin_listening", address=shown(admin))
        _log.info("listening", address=shown(main), public_url=settings.public_url)
        with _stopping(servers):
            if on_listening is not None:
                asyncio.get_running_loop().call_soon(on_listening, shown(main))
            await asyncio.gather(*serving)
    _log.info("stopped")
