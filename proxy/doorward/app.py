"""The application's life: start, housekeeping, stop. How its parts are joined, `wiring/` knows."""

import asyncio
import contextlib
import ctypes
import gc
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import structlog
from starlette.types import ASGIApp
from uvloop import new_event_loop

from doorward.accounts.audit import audit_log
from doorward.accounts.passwords import regulation
from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import PURGED_AT_ONCE
from doorward.observe.audit import Tell, open_channel, tell_both, write_to
from doorward.observe.chores import repeat
from doorward.observe.counters import LOST, Counters
from doorward.observe.logs import configure_logs, output
from doorward.observe.loop_lag import LoopLag
from doorward.observe.metrics import Metrics
from doorward.observe.observer import Observer
from doorward.observe.refusals import Refusals
from doorward.observe.shared_counters import clear_counters
from doorward.relay.asgi import LateListening, answer
from doorward.relay.gateway import Gateway, Receive, Scope, Send
from doorward.server import Sockets, run
from doorward.settings import Fault, InvalidSettings, Settings, load_settings
from doorward.settings.application_secrets import ApplicationSecrets
from doorward.storage.fault import StorageFault
from doorward.storage.rates import Rates
from doorward.upstream.pool import Pools
from doorward.web.explanation import Explainer
from doorward.wiring.accounts import Accounts, Clock, renew_secrets
from doorward.wiring.accounts import build_accounts as build_accounts
from doorward.wiring.gateway import join
from doorward.wiring.keys import LOOK_S

_log = structlog.get_logger("doorward")

POLL_S = 1.0
PURGE_S = 600.0
PURGE_BATCHES = 20
CLOSE_S = 1.0  # for the last words to storage
FLUSH_S = 3.0  # at most this much of `last_used` is lost by kill -9


class Application:
    """Doorward as an ASGI application. Start it, or let a server do so, before requests come."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock = time.time,
        numbers: Path | None = None,
        inner: ASGIApp | None = None,
    ) -> None:
        """`numbers` is the folder where several processes keep what they count; `inner` the
        application that is protected, where that is none at an upstream. Raises InvalidSettings."""
        if settings.in_process and inner is None:
            wrong = "wraps no application here"
            hint = "use doorward.middleware.Doorward, or name upstreams and remove it"
            raise InvalidSettings([Fault("in_process", None, wrong, hint)])
        self._inner = inner
        self._settings = settings
        self._numbers = numbers
        self._clock = clock
        self._stack = contextlib.AsyncExitStack()
        self.gateway: Gateway | None = None  # which our own server asks itself
        self.prepare: Callable[[], None] = lambda: None
        self.explainer: Explainer | None = None
        self.observer: Observer | None = None  # and tells of what never was a request
        self.metrics: Metrics | None = None
        self._secrets: ApplicationSecrets | None = None
        self._live: Live | None = None
        self._accounts: Accounts | None = None
        self._is_renewal_due = False  # another key signs, and secrets are under an older one
        self._unrenewed = ""  # why secrets could not be encrypted with the first key, as logged

    async def __aenter__(self) -> "Application":
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        counters = Counters()
        tell = tell_both(counters.tell, self._audit(counters))
        accounts = await self._stack.enter_async_context(
            build_accounts(self._settings, self._clock, tell)
        )
        accounts.logins.when_refused = counters.refused_login
        await renew_secrets(accounts)
        with contextlib.suppress(Refusal):  # tried again with each purge
            await accounts.sessions.correct(self._clock())
        pools = Pools()
        rates = Rates(self._settings.data_dir, accounts.keys)
        self._stack.callback(rates.close)
        refusals = Refusals(self._settings.data_dir)
        self._stack.enter_context(refusals.channel.running())
        parts = pools, rates, self._clock, counters, self._inner, refusals
        joined = join(self._settings, accounts, *parts)
        self.gateway, self.observer = joined.gateway, joined.observer
        self._late = LateListening()
        self.prepare, self.explainer = joined.prepare, joined.explainer
        self._secrets = joined.secrets
        self.metrics = Metrics(joined.routes, self._numbers, counters)
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
        for task in (*self._chores(), *checks):
            self._stack.push_async_callback(_end, asyncio.ensure_future(task))

    def _audit(self, counters: Counters) -> Tell | None:
        """Where records go besides the database; what is not written there or to the log counts."""
        counters.sources.append(lambda: {(LOST, "log"): output().channel.lost})
        channel = open_channel(self._settings.audit.file)
        if channel is None:
            return None
        counters.sources.append(lambda: {(LOST, "audit"): channel.lost})
        self._stack.enter_context(channel.running())
        return write_to(channel)

    async def __aexit__(self, *failure: object) -> None:
        self.gateway = None
        with contextlib.suppress(TimeoutError):  # storage that hangs does not hold up a stop
            async with asyncio.timeout(CLOSE_S):
                with contextlib.suppress(Refusal):
                    if self._live is not None:
                        await self._live.flush()
                with contextlib.suppress(Refusal):
                    if self._accounts is not None:
                        await self._accounts.token_uses.flush()
                with contextlib.suppress(Refusal):
                    if self._accounts is not None:
                        await self._accounts.regulation.flush(self._clock())
                await self._stack.aclose()

    async def ready(self) -> str | None:
        """Why requests cannot be served, or None."""
        if self._live is None:
            return "it has not started"
        return self._live.fault(self._clock())

    def _chores(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What is done all along, each in a task of its own: none waits for another, such as for
        storage, or for a file on a network file system."""
        yield repeat(self._poll, POLL_S)
        yield repeat(self._listen, POLL_S, at_once=True)
        yield repeat(self._look_at_keys, LOOK_S)
        yield repeat(self._renew_secrets, POLL_S)
        yield repeat(self._refresh, POLL_S)
        yield repeat(self._flush, FLUSH_S)
        yield repeat(self._purge, PURGE_S)

    async def _listen(self) -> None:
        """Poll whenever another host changed something, until listening fails."""
        assert self._live is not None
        with contextlib.suppress(Refusal):  # the poll says so
            await self._live.listen(self._clock)

    async def _look_at_keys(self) -> None:
        """Take up keys as their files change."""
        assert self._accounts is not None and self._live is not None
        before = self._accounts.key_files.look(self._clock())
        if before is None:
            return
        another_signs = not self._accounts.keys.signs_as(before)
        if another_signs or self._accounts.keys.lacks_any(before):
            self._live.forget()
        self._is_renewal_due |= another_signs

    async def _renew_secrets(self) -> None:
        """Re-encrypt with the key that now signs; tried again until it works."""
        assert self._accounts is not None
        if not self._is_renewal_due:
            return
        try:
            self._is_renewal_due = False
            await renew_secrets(self._accounts)
        except StorageFault as fault:
            self._is_renewal_due = True
            if str(fault) != self._unrenewed:
                _log.error("secrets_not_renewed", reason=str(fault))
            self._unrenewed = str(fault)
        except BaseException:
            self._is_renewal_due = True
            raise
        else:
            _log.info("secrets_renewed")

    async def _poll(self) -> None:
        assert self._live is not None
        with contextlib.suppress(Refusal):  # storage has logged it
            await self._live.poll(self._clock())

    async def _refresh(self) -> None:
        assert self._accounts is not None and self._secrets is not None
        for sentence in self._secrets.refresh():
            _log.warning("secret_unusable", reason=sentence)
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
            await _in_batches(lambda: accounts.api_tokens.purge(self._clock()), PURGED_AT_ONCE)
            await accounts.handovers.purge(self._clock())
            if keep is not None:
                await _in_batches(
                    lambda: accounts.audit_log.purge(
                        self._clock() - keep.total_seconds(), audit_log.PURGED_AT_ONCE
                    ),
                    audit_log.PURGED_AT_ONCE,
                )

    async def _flush(self) -> None:
        assert self._live is not None
        with contextlib.suppress(Refusal):  # kept, and written with the next batch
            await self._live.flush()
        assert self._accounts is not None
        with contextlib.suppress(Refusal):  # the same
            await self._accounts.token_uses.flush()
        with contextlib.suppress(Refusal):  # the same
            await self._accounts.regulation.flush(self._clock())

    # A coroutine function, by which servers tell that it speaks ASGI 3.
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert self.gateway is not None, "the application was not started"
            await answer(self.gateway, self._late, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            assert self.gateway is not None, "the application was not started"
            # our own server carries WebSockets without wsproto, which takes 1 MiB
            from doorward.relay.websocket import answer_websocket

            await answer_websocket(self.gateway, scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.__aenter__()
        except Exception as fault:
            _log.error("start_failed", reason=str(fault))
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
            return
        _settle_memory()  # nothing else is served here; within `middleware` something is
        preparing = asyncio.ensure_future(_prepare(self))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await preparing
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


def folder_for_numbers(settings: Settings) -> Path:
    """Where processes that are about to start keep what they count. Raises StorageFault."""
    try:
        return clear_counters(settings.data_dir)
    except OSError as error:
        raise StorageFault(f"data_dir: cannot write there: {error.strerror}") from error


def create_app(settings: Settings | None = None) -> Application:
    """The application for any ASGI server with lifespan; without `settings`, as the environment
    and the file that it names say. Logs as `doorward serve` does. Raises InvalidSettings."""
    settings = settings or load_settings(None, os.environ)
    configure_logs(level=settings.log.level, format=settings.log.format)
    return Application(settings)


def _settle_memory() -> None:
    """Keep the collector away from what lives as long as the process.

    Requests leave next to no cycles behind; full collections over every imported module showed
    as 40 ms in the 99th percentile. Of what comes later, a collection of the middle generation
    takes 3 ms for the 20,000 objects that it sees at most, and a full one 4 ms with 20,000 sessions
    and 2,000 connections, after about 300,000 requests. Without full ones, a connection that
    uvloop was making when the client left would stay in memory: it refers to itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 3, 10)


async def _prepare(app: Application) -> None:
    """Do what the first requests would wait for. If that fails, such as without a descriptor, they
    do it; the server continues, and ends as if this had worked."""
    try:
        await asyncio.to_thread(app.prepare)
    except Exception as fault:
        _log.warning("not_prepared", reason=str(fault))
    _return_memory()


def _return_memory() -> None:
    """Give pages that only the start needed back to the kernel, where the C library can."""
    with contextlib.suppress(AttributeError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)


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
        async with Application(settings, numbers=numbers) as app:
            _settle_memory()
            preparing = asyncio.ensure_future(_prepare(app))
            assert app.metrics is not None
            with LoopLag().measuring(app.metrics.counters):
                await run(
                    settings,
                    sockets,
                    app,
                    app.ready,
                    metrics=app.metrics,
                    gateway=app.gateway,
                    observer=app.observer,
                    lifeline=lifeline,
                    on_listening=on_listening,
                )
            await preparing

    with output().channel.running(), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
