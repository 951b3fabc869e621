"""The metrics for Prometheus: those of all processes, whichever one answers.

Knows names, labels and help texts; must not know where counts come from. Clients cannot choose the
value of a label: they are routes of the configuration, statuses and Doorward's own words.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from doorward import __version__
from doorward.observe.counters import (
    BOUNDS_S,
    FAILURES,
    LOCKOUTS,
    LOGINS,
    LOST,
    REQUESTS,
    RETRIES,
    SECONDS,
    Counters,
    Values,
)
from doorward.observe.exposition import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INFINITY,
    Family,
    choose_format,
    render,
)
from doorward.observe.loop_lag import LAG, LAG_BOUNDS_S, LAG_MAX, LAG_SECONDS
from doorward.observe.observer import SWITCHED
from doorward.observe.shared_counters import LOCK_WAIT_S, Numbers, Shared

_log = structlog.get_logger("doorward.metrics")

CONNECTIONS, TUNNELS, SESSIONS = "connections", "tunnels", "sessions"

# Other processes write their numbers four times a second; do not wait longer for a stuck one.
PATIENCE_S = 1.0
LOOK_S = 0.02

# internal name → name, help text and labels of the metric
COUNTERS = {
    RETRIES: (
        "doorward_upstream_retries",
        "Requests that were retried, over another connection or on another upstream.",
        ("route",),
    ),
    FAILURES: (
        "doorward_upstream_failures",
        "Exchanges with an upstream that failed, retried ones included.",
        ("route", "reason"),
    ),
    LOGINS: (
        "doorward_logins",
        "Logins by dialect (or page) and outcome: done, pending, or the refusal's code.",
        ("dialect", "outcome"),
    ),
    LOCKOUTS: (
        "doorward_lockouts",
        "Lock-outs after too many wrong passwords (user, network) or codes (second_factor).",
        ("scope",),
    ),
    LOST: (
        "doorward_unwritten",
        "Failed writes in the background: lines of the log and of audit.file (audit), and a"
        " worker's share of the metrics.",
        ("channel",),
    ),
}
GAUGES = {
    CONNECTIONS: (
        "doorward_upstream_connections",
        "Open connections to upstreams, by state: idle or busy.",
        ("upstream", "state"),
    ),
    TUNNELS: ("doorward_open_tunnels", "WebSockets and other tunnels that are open.", ()),
    SESSIONS: (
        "doorward_cached_sessions",
        "Sessions in memory, summed over all processes.",
        (),
    ),
}
PEAKS = {
    LAG_MAX: (
        "doorward_event_loop_lag_max_seconds",
        "The longest lag of an event loop in the last one to two minutes, of all processes.",
    ),
}
BY_ROUTE = (RETRIES, FAILURES)


class Metrics:
    """The metrics of one process, and with `folder` of all that write there. `routes` are the names
    of routes, by number."""

    def __init__(
        self, routes: Sequence[str], folder: Path | None = None, counters: Counters | None = None
    ) -> None:
        self.counters = counters or Counters()
        self._routes = tuple(routes)
        self._folder = folder
        self._shared: Shared | None = None
        self._failed = False
        self.fold()

    def close(self) -> None:
        self.fold()
        if self._shared is not None:
            self._shared.close()

    def fold(self, now: float = 0.0) -> None:
        """Called four times a second, so that others can read this process's numbers. If they
        cannot be written, they are still counted here, and written later."""
        if self._folder is None:
            return
        try:
            if self._shared is None:
                # Without a wait after a failure: the event loop would wait four times a second.
                self._shared = Shared(self._folder, 0.0 if self._failed else LOCK_WAIT_S)
            counted = self.counters
            self._shared.write(counted.totals(), counted.moment(), counted.peaks())
        except OSError as fault:
            if not self._failed:
                _log.error("metrics_not_written", reason=str(fault))
            self._failed = True
            self.counters.note(LOST, "metrics")
        else:
            if self._failed:
                _log.info("metrics_written_again")
            self._failed = False

    async def answer(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its media type, in a format that the client accepts. Raises OSError
        if the workers' numbers cannot be combined: a total must never fall."""
        numbers = await self._numbers()
        media_type = choose_format(accept)
        return render(list_families(numbers, self._routes), media_type), media_type

    async def _numbers(self) -> Numbers:
        if self._folder is None:
            counted = self.counters
            return Numbers(counted.totals(), counted.moment(), counted.peaks(), 1)
        asked_at = time.monotonic()
        self.fold()  # first, so that no later answer of another process has smaller totals
        if self._shared is None or self._failed:
            raise OSError("the workers' numbers cannot be combined")
        while not self._shared.all_looked_since(asked_at):
            if time.monotonic() - asked_at > PATIENCE_S:
                break
            await asyncio.sleep(LOOK_S)
        return self._shared.read()


def list_families(numbers: Numbers, routes: Sequence[str]) -> Iterator[Family]:
    """The numbers as families of samples."""
    yield _requests(numbers.totals, routes)
    yield _durations(numbers.totals, routes)
    for name, (title, text, labels) in COUNTERS.items():
        counter = Family(title, COUNTER, text, labels)
        for key, value in _label_values(name, numbers.totals):
            counter.add(_labels(key, routes if name in BY_ROUTE else None), value)
        yield counter
    for name, (title, text, labels) in GAUGES.items():
        gauge = Family(title, GAUGE, text, labels)
        for key, value in _label_values(name, numbers.moment):
            gauge.add(_labels(key, None), value)
        yield gauge
    yield _lags(numbers.totals)
    for name, (title, text) in PEAKS.items():
        peak = Family(title, GAUGE, text)
        for _, value in _label_values(name, numbers.peaks):
            peak.add((), value)
        yield peak
    processes = Family("doorward_processes", GAUGE, "Worker processes.")
    processes.add((), numbers.processes)
    yield processes
    build = Family("doorward_build_info", GAUGE, "Always 1.", ("version",))
    build.add((__version__,), 1)
    yield build


def _label_values(name: str, values: Values) -> Iterator[tuple[tuple[str | int, ...], float]]:
    return iter(sorted((key[1:], value) for key, value in values.items() if key[0] == name))


def _labels(key: Sequence[str | int], routes: Sequence[str] | None) -> list[str]:
    if routes is None:
        return [str(part) for part in key]
    return [_route(key[0], routes), *map(str, key[1:])]


def _route(number: str | int, routes: Sequence[str]) -> str:
    """The name of a route; empty if a request has none."""
    return routes[int(number)] if int(number) >= 0 else ""


def _requests(totals: Values, routes: Sequence[str]) -> Family:
    found: dict[tuple[str | int, ...], float] = {}
    for (word, reason, route, status, _), count in _label_values(REQUESTS, totals):
        key: tuple[str | int, ...] = (route, status, word, reason)
        found[key] = found.get(key, 0) + count
    family = Family(
        "doorward_requests",
        COUNTER,
        "Completed requests, by route, status, decision (forwarded, verified, refused, ours)"
        " and reason.",
        ("route", "status", "decision", "reason"),
    )
    for key, count in found.items():
        family.add(_labels(key, routes), count)
    return family


def _durations(totals: Values, routes: Sequence[str]) -> Family:
    classes: dict[tuple[str | int, str | int], list[float]] = {}
    for (word, _, route, status, bucket), count in _label_values(REQUESTS, totals):
        if status != SWITCHED:
            counts = classes.setdefault((word, route), [0.0] * (len(BOUNDS_S) + 1))
            counts[int(bucket)] += count
    family = Family(
        "doorward_request_duration_seconds",
        HISTOGRAM,
        "Time from a request's head to the end of its answer, without tunnels.",
        ("route", "decision"),
    )
    for (word, route), counts in classes.items():
        seconds = totals.get((SECONDS, word, route), 0.0)
        buckets = _cumulative(BOUNDS_S, counts)
        family.add_histogram([_route(route, routes), str(word)], buckets, seconds)
    return family


def _lags(totals: Values) -> Family:
    family = Family(
        "doorward_event_loop_lag_seconds",
        HISTOGRAM,
        "Delay with which event loops run their callbacks, measured ten to fifty times a second.",
    )
    counts = [count for _, count in _label_values(LAG, totals)]
    if counts:
        family.add_histogram((), _cumulative(LAG_BOUNDS_S, counts), totals[LAG_SECONDS,])
    return family


def _cumulative(bounds: Sequence[float], counts: Sequence[float]) -> Iterator[tuple[float, float]]:
    return zip((*bounds, INFINITY), itertools.accumulate(counts), strict=True)
