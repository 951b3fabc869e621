"""Serves an application until a signal: listeners, signals, graceful stop.

Must not know what the application does.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import structlog

from doorward.http1 import heads
from doorward.observe.chores import repeat
from doorward.observe.observer import Observer
from doorward.server.acceptor import EntryRequirements
from doorward.server.admin import MetricsEndpoint, admin_app
from doorward.server.certificate import LOOK_S, Certificate
from doorward.server.exchange import RequestHandler
from doorward.server.listeners import Sockets, format_address
from doorward.server.serving import Serving
from doorward.server.workers import HANG_UP, ignored, reap
from doorward.settings import Settings

_log = structlog.get_logger("doorward.server")

Ready = Callable[[], Awaitable[str | None]]

# How long a client may take for the TLS close; the loop's default is 30 s.
TLS_GOODBYE_S = 3.0


@contextlib.asynccontextmanager
async def _watching(certificate: Certificate | None) -> AsyncIterator[None]:
    """Lets the certificate check its files while connections are accepted."""
    task = asyncio.ensure_future(repeat(certificate.look, LOOK_S)) if certificate else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


class _Stop:
    """`asked` is set by the first signal, `forced` by a second one."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()

    def ask(self) -> None:
        if self.asked.is_set():
            self.forced.set()
        self.asked.set()


@contextlib.contextmanager
def _signals(stop: _Stop, sockets: Sockets, lifeline: int | None) -> Iterator[None]:
    """SIGTERM and SIGINT ask to stop, or the end of `lifeline`; SIGHUP is ignored and logged.

    A worker leaves SIGINT to its parent: a terminal sends it to both, and a second one means to
    hurry.
    """
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(lifeline)  # type: ignore[arg-type]
        sockets.refuse()  # as the parent would have
        stop.ask()

    handlers: dict[int, Callable[[], None]] = {signal.SIGTERM: stop.ask, signal.SIGHUP: ignored}
    if lifeline is None:
        handlers[signal.SIGINT] = stop.ask
    else:
        loop.add_reader(lifeline, orphaned)
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    # The first process of a container inherits other children. If this signal is ignored, the
    # kernel reaps them; the loop keeps it from having a handler.
    children = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    reap()
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, children)
        if lifeline is not None:
            loop.remove_reader(lifeline)
        for number in handlers:
            loop.remove_signal_handler(number)
        signal.signal(HANG_UP, signal.SIG_IGN)


def _admin_hosts(settings: Settings) -> list[str]:
    """The names and addresses of the admin listener in the configuration."""
    listen = settings.admin_listen
    own = [] if listen is None or listen.host is None or listen.is_everywhere else [listen.host]
    return [*settings.admin_hosts, *own]


async def run(
    settings: Settings,
    sockets: Sockets,
    app: Any,
    ready: Ready,
    *,
    metrics: MetricsEndpoint | None = None,
    gateway: RequestHandler | None = None,
    observer: Observer | None = None,
    lifeline: int | None = None,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve `app` until a signal says stop, or `lifeline` (a file descriptor) ends.

    `ready` returns the reason why not, or None, for the admin listener's `/readyz`; `metrics` is
    for `/metrics`. Raises InvalidSettings for files of `tls` that cannot be used.
    """
    certificate = Certificate(settings.tls) if settings.tls else None
    stop = _Stop()
    with _signals(stop, sockets, lifeline):
        trusted = settings.trusted_proxies
        entry = _entry(settings, certificate)
        servers = [
            Serving(
                sockets.main,
                app,
                settings.limits,
                entry,
                trusted,
                gateway,
                observer,
                at_once=settings.fast_lane,
            )
        ]
        if sockets.admin is not None:
            plain = EntryRequirements(entry.timeout_s)
            application = admin_app(ready, metrics, _admin_hosts(settings))
            servers.append(Serving(sockets.admin, application, settings.limits, plain))
        address = format_address(sockets.main, tls=certificate is not None)
        _log.info("listening", address=address, public_url=settings.public_url, heads=heads.RUNS)
        if on_listening is not None:
            asyncio.get_running_loop().call_soon(on_listening, address)
        async with _watching(certificate):
            await stop.asked.wait()
        grace_s = settings.shutdown.grace.total_seconds()
        await asyncio.gather(*(server.end(grace_s, stop.forced) for server in servers))
    _log.info("stopped")


def _entry(settings: Settings, certificate: Certificate | None) -> EntryRequirements:
    """What connections of `listen` go through before their first request."""
    return EntryRequirements(
        settings.limits.header_timeout.total_seconds(),
        None
        if certificate is None
        else {"ssl": certificate.context, "ssl_shutdown_timeout": TLS_GOODBYE_S},
        settings.trusted_proxies if settings.proxy_protocol else (),
        settings.public_url,
    )
