"""How every part is built and joined, at start and at stop. It knows no part's inside."""

import asyncio
import contextlib
import gc
import itertools
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.routing import Router
from uvloop import new_event_loop

from doorward.accounts import audit, regulation
from doorward.accounts.core import Accounts
from doorward.accounts.live import Live
from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions import PURGED_AT_ONCE
from doorward.dialects import enabled, openapi
from doorward.dialects.wire import Wire
from doorward.gate.accept import Accept
from doorward.gate.access import AccessCarrier
from doorward.gate.answers import Answers
from doorward.gate.asgi import Carrier
from doorward.gate.authorize import Authorize
from doorward.gate.cookies import cookies_of
from doorward.gate.counted import count, names_of, observer_of
from doorward.gate.forward import Forwarder, Receive, Scope, Send
from doorward.gate.gate import Gate
from doorward.gate.identify import Identify
from doorward.gate.lane import Lane
from doorward.gate.maintenance import maintenance_pages
from doorward.gate.ours import ours_of
from doorward.gate.relocation import relocation_of
from doorward.gate.returns import page_bytes
from doorward.gate.upgrade import Upgrades
from doorward.gate.watch import Watch
from doorward.observe.audit import Tell, both, open_channel, telling
from doorward.observe.logs import output
from doorward.observe.metrics import Metrics
from doorward.observe.observer import Observer
from doorward.observe.shared import cleared
from doorward.observe.tally import LOST, Tally
from doorward.pages import Pages
from doorward.server import Sockets, run
from doorward.settings import Settings, load_settings
from doorward.storage.core import Clock, renew_secrets
from doorward.storage.core import build_accounts as build_accounts
from doorward.storage.fault import StorageFault
from doorward.storage.rates import Rates
from doorward.upstream.balance import upstreams_of
from doorward.upstream.pool import Pools

_log = structlog.get_logger("doorward")

POLL_S = 1.0
PURGE_EVERY = 600  # polls: ten minutes
PURGE_BATCHES = 20
CLOSE_S = 1.0  # for the last words to storage
OTHER_LINES_BYTES = 8 * 1024  # of a request's head beside its target, cookies above all
FLUSH_EVERY = 3  # polls: at most this much of `last_used` is lost by kill -9


class Doorward:
    """The ASGI application. `start` it (or let a server's lifespan do so) before requests come."""

    def __init__(
        self, settings: Settings, clock: Clock = time.time, numbers: Path | None = None
    ) -> None:
        """`numbers` is the folder where several processes keep what they count."""
        self._settings = settings
        self._numbers = numbers
        self._clock = clock
        self._stack = contextlib.AsyncExitStack()
        self._carrier: Carrier | None = None
        self.prepare: Callable[[], None] = lambda: None
        self.lane: Lane | None = None  # for our own server, which asks it first
        self.observer: Observer | None = None  # and tells of what never was a request
        self.metrics: Metrics | None = None
        self._live: Live | None = None
        self._accounts: Accounts | None = None

    async def __aenter__(self) -> "Doorward":
        tally = Tally()
        tell = both(tally.tell, self._audit(tally))
        accounts = await self._stack.enter_async_context(
            build_accounts(self._settings, self._clock, tell)
        )
        accounts.logins.when_refused = tally.refused_login
        await renew_secrets(accounts)
        with contextlib.suppress(Refusal):  # tried again with each purge
            await accounts.sessions.correct(self._clock())
        pools = Pools()
        rates = Rates(self._settings.data_dir, accounts.keys)
        self._stack.callback(rates.close)
        joined = join(self._settings, accounts, pools, rates, self._clock, tally)
        self._carrier, self.observer = joined.carrier, joined.observer
        self.prepare = joined.prepare
        self.lane = joined.lane if self._settings.fast_lane else None
        self.metrics = Metrics(joined.routes, self._numbers, tally)
        pools.swept.append(self.metrics.fold)
        self._stack.callback(self.metrics.close)
        self._live = accounts.live
        self._accounts = accounts
        for warning in accounts.users.warnings():
            _log.warning("directory", reason=warning)
        pools.start()
        self._stack.callback(pools.close)
        await self._poll()
        checks = (check() for check in pools.checks)
        for task in (self._housekeeping(), self._listening(), *checks):
            self._stack.push_async_callback(_end, asyncio.ensure_future(task))
        return self

    def _audit(self, tally: Tally) -> Tell | None:
        """Where records go beside the database; what is not written there or to the log counts."""
        tally.counters.append(lambda: {(LOST, "log"): output().channel.lost})
        channel = open_channel(self._settings.audit.file)
        if channel is None:
            return None
        tally.counters.append(lambda: {(LOST, "audit"): channel.lost})
        self._stack.enter_context(channel.running())
        return telling(channel)

    async def __aexit__(self, *failure: object) -> None:
        self._carrier = None
        with contextlib.suppress(TimeoutError):  # storage that hangs does not hold up a stop
            async with asyncio.timeout(CLOSE_S):
                with contextlib.suppress(Refusal):
                    if self._live is not None:
                        await self._live.flush()
                with contextlib.suppress(Refusal):
                    if self._accounts is not None:
                        await self._accounts.regulation.flush(self._clock())
                await self._stack.aclose()

    async def ready(self) -> str | None:
        """Why requests cannot be served, or None."""
        if self._live is None:
            return "it has not started"
        return self._live.fault(self._clock())

    async def _housekeeping(self) -> None:
        for turn in itertools.count(1):
            await asyncio.sleep(POLL_S)
            await self._poll()
            await self._refresh()
            if turn % FLUSH_EVERY == 0:
                await self._flush()
            if turn % PURGE_EVERY == 0:
                await self._purge()

    async def _listening(self) -> None:
        assert self._live is not None
        while True:
            with contextlib.suppress(Refusal):  # the poll says so
                await self._live.listen(self._clock)
            await asyncio.sleep(POLL_S)

    async def _poll(self) -> None:
        assert self._live is not None
        with contextlib.suppress(Refusal):  # storage has logged it
            await self._live.poll(self._clock())

    async def _refresh(self) -> None:
        assert self._accounts is not None
        with contextlib.suppress(Refusal):  # storage is silent: tried again in a second
            for sentence in await self._accounts.users.refresh(self._clock()):
                _log.warning("directory", reason=sentence)

    async def _purge(self) -> None:
        assert self._accounts is not None
        accounts, keep = self._accounts, self._settings.audit.keep
        with contextlib.suppress(Refusal):
            await accounts.sessions.correct(self._clock())
            await _in_batches(
                lambda: accounts.regulation.purge(self._clock()), regulation.PURGED_AT_ONCE
            )
            await _in_batches(lambda: accounts.sessions.purge(self._clock()), PURGED_AT_ONCE)
            if keep is not None:
                await _in_batches(
                    lambda: accounts.trail.purge(
                        self._clock() - keep.total_seconds(), audit.PURGED_AT_ONCE
                    ),
                    audit.PURGED_AT_ONCE,
                )

    async def _flush(self) -> None:
        assert self._live is not None
        with contextlib.suppress(Refusal):  # kept, and written with the next batch
            await self._live.flush()
        assert self._accounts is not None
        with contextlib.suppress(Refusal):  # the same
            await self._accounts.regulation.flush(self._clock())

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            assert self._carrier is not None, "the application was not started"
            return self._carrier(scope, receive, send)
        if scope["type"] == "lifespan":
            return self._lifespan(receive, send)
        return send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.__aenter__()
        except Exception as fault:
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.__aexit__()
        await send({"type": "lifespan.shutdown.complete"})


async def _in_batches(purge: Callable[[], Awaitable[int]], batch: int) -> None:
    """A few batches, requests in between; whatever is left waits for the next time."""
    for _ in range(PURGE_BATCHES):
        if await purge() < batch:
            break


async def _end(task: "asyncio.Future[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@dataclass(frozen=True, slots=True)
class Joined:
    """All that answers requests. `routes` are what routes are called, by their numbers."""

    carrier: Carrier
    lane: Lane
    observer: Observer
    routes: tuple[str, ...]
    prepare: Callable[[], None]  # what the first requests would wait for; for a thread


def join(
    settings: Settings, accounts: Accounts, pools: Pools, rates: Rates, clock: Clock, tally: Tally
) -> Joined:
    """The gate, the pages and the dialects over one core, and the short way past them."""
    cookies = cookies_of(settings)
    datepoll = settings.dialects.datepoll
    access = None if datepoll is None else AccessCarrier(accounts.live, accounts.access)
    identify = Identify(
        accounts.live,
        accounts.tokens,
        cookies,
        bare_tokens=settings.dialects.alekeagle is not None,
        takes_pair=settings.dialects.rocketchat is not None,
        access=access,
        takes_linked=datepoll is not None and datepoll.token_on_upstream,
    )
    pages = Pages(settings, accounts, identify, cookies, clock)
    wire = Wire(settings, accounts, identify, cookies, clock, rates)
    tables = enabled.tables(wire)
    dialects = [route for found in tables.values() for route in found]
    if paths := enabled.shadows(dialects, [route.path for route in settings.routes]):
        _log.info("paths_of_dialects", paths=paths, reason="no upstream gets requests for these")
    routes = [*dialects, openapi.route(settings, tables), *pages.routes()]
    is_ours = ours_of(routes)
    authorize = Authorize(settings.routes, settings.access)
    gate = Gate(
        authorize,
        identify,
        cookies,
        is_ours,
        accounts.second_factors.may_be_led,
        settings.public_origin,
    )
    watch = Watch(accounts.live, gate.ask, clock)
    upgrades = Upgrades(
        settings.public_origin,
        authorize.routes,
        settings.limits.tunnels,
        settings.limits.tunnel_idle_timeout.total_seconds(),
    )
    accept = Accept(
        settings.trusted_proxies,
        authorize.serves,
        settings.public_origin,
        settings.trusted_headers,
    )
    answers = Answers(pages.message, most_page_bytes(settings))
    maintenance = maintenance_pages(settings)
    forwarders = tuple(
        Forwarder(
            upstreams_of(route, pools),
            route.timeouts.response.total_seconds(),
            route.timeouts.idle.total_seconds(),
            cookies,
            watch,
            upgrades,
            settings.body_bytes(route),
            maintenance.get(route.maintenance),
            relocation_of(route),
        )
        for route in authorize.routes
    )
    count(tally, forwarders, pools, upgrades, accounts.live)
    names = names_of(authorize.routes)
    observer = observer_of(settings.log, tally, names, access)
    carrier = Carrier(
        accept=accept,
        gate=gate,
        forwarders=forwarders,
        upgrades=upgrades,
        ours=Router(routes=routes, redirect_slashes=False),
        is_ours=is_ours,
        answers=answers,
        clock=clock,
        observer=observer,
        keep=pages.interrupted,
    )
    lane = Lane(accept, gate, forwarders, is_ours, answers, clock, observer)
    return Joined(carrier, lane, observer, names, pages.prepare)


def most_page_bytes(settings: Settings) -> int:
    """Of the target of a page of ours: there has to be room for the other lines of its head."""
    limits = settings.limits
    room = max(limits.header_bytes - OTHER_LINES_BYTES, limits.header_bytes // 2)
    return min(page_bytes(limits.target_bytes), room)


def folder_for_numbers(settings: Settings) -> Path:
    """Where processes that are about to start keep what they count. Raises StorageFault."""
    try:
        return cleared(settings.data_dir)
    except OSError as error:
        raise StorageFault(f"data_dir: cannot write there: {error.strerror}") from error


def create_app(settings: Settings | None = None) -> Doorward:
    """The application for any ASGI server with lifespan. Raises InvalidSettings."""
    return Doorward(settings or load_settings(None, os.environ))


def _settle_memory() -> None:
    """Keep the collector away from what lives as long as the process.

    Requests leave next to no cycles behind; full collections over every imported module showed
    as 40 ms in the 99th percentile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 1000)


def serve_app(
    settings: Settings,
    sockets: Sockets,
    *,
    lifeline: int | None = None,
    numbers: Path | None = None,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve in this process until told to stop; `on_listening` gets the address once it does.
    `numbers` is the folder where one of several keeps what it counts.

    Raises InvalidSettings, StorageFault and refusals before anything is served.
    """

    async def main() -> None:
        async with Doorward(settings, numbers=numbers) as app:
            _settle_memory()
            preparing = asyncio.ensure_future(asyncio.to_thread(app.prepare))
            await run(
                settings,
                sockets,
                app,
                app.ready,
                metrics=app.metrics,
                lane=app.lane,
                observer=app.observer,
                lifeline=lifeline,
                on_listening=on_listening,
            )
            await preparing

    with output().channel.running(), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
