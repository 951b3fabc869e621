"""Serving an application until a signal says stop: sockets, uvicorn, graceful end.

Must not know what the application does.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import structlog
import uvicorn

from proxy.server.admin import admin_app
from proxy.server.listeners import Sockets, shown
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


async def run(
    settings: Settings,
    sockets: Sockets,
    app: Any,
    ready: Ready,
    *,
    lifeline: int | None = None,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve `app` until a signal says stop, or `lifeline` (a file descriptor) ends.

    `ready` gives the reason why not, or None; the admin listener's `/readyz` asks it.
    """
    servers = [_server(app, settings.limits)]
    serving = [servers[0].serve([sockets.main])]
    if sockets.admin is not None:
        servers.append(_server(admin_app(ready), settings.limits))
        serving.append(servers[1].serve([sockets.admin]))
    with _stopping(servers, lifeline):
        _log.info("listening", address=shown(sockets.main), public_url=settings.public_url)
        if on_listening is not None:
            asyncio.get_running_loop().call_soon(on_listening, shown(sockets.main))
        await asyncio.gather(*serving)
    _log.info("stopped")
