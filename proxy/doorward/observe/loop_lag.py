"""How late the event loop runs its callbacks, measured with one timer.

Knows a clock and a loop; must not know what blocks the loop.
"""

import asyncio
import contextlib
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

from doorward.observe.counters import Counters, Values

LAG, LAG_SECONDS, LAG_MAX = "loop_lag", "loop_lag_seconds", "loop_lag_max"

# Upper bounds of the histogram's buckets in seconds; the last one has none.
LAG_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
# A block is seen only from the moment the timer is due, so up to this much of it is missed. Node's
# `monitorEventLoopDelay` measures every 10 ms. Under load, a measurement takes 2 µs.
INTERVAL_S = 0.02
# Fifty measurements a second took 0.5 % of a core in a virtual machine without traffic. While the
# loop uses less than this share of a core, there are ten.
QUIET, QUIET_INTERVAL_S = 0.1, 0.1
# The maximum covers the current window and the one before it. Scraping resets nothing, so several
# scrapers do not disturb each other.
WINDOW_S = 60.0


class LoopLag:
    """A histogram of delays, and the longest one of the last one to two minutes."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """`cpu_clock` has the CPU time of the loop's thread."""
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._used_s = 0.0  # of that time, at the last measurement
        self._counts = [0] * (len(LAG_BOUNDS_S) + 1)
        self._sum_s = 0.0
        self._window_ends = clock() + WINDOW_S
        self._max_s = self._max_before_s = 0.0
        self._begun_s = 0.0
        self.due_s = 0.0  # when the next measurement is due, by the clock
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def measuring(self, counters: Counters) -> Iterator[None]:
        """Measure the running loop, and have `counters` include the figures."""
        counters.sources.append(self.totals)
        counters.peak_sources.append(self.peaks)
        self._used_s = self._cpu_clock()
        self._schedule(INTERVAL_S)
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _schedule(self, interval_s: float) -> None:
        self._begun_s = self._clock()
        self.due_s = self._begun_s + interval_s
        self._timer = asyncio.get_running_loop().call_later(interval_s, self._tick)

    def _tick(self) -> None:
        now, before = self._clock(), self._used_s
        self.record(now - self.due_s, now)
        self._used_s = self._cpu_clock()
        is_quiet = self._used_s - before < QUIET * (now - self._begun_s)
        self._schedule(QUIET_INTERVAL_S if is_quiet else INTERVAL_S)

    def record(self, lag_s: float, now: float) -> None:
        """Count one delay. Loops with coarse timers may call back too early."""
        lag_s = max(lag_s, 0.0)
        self._counts[bisect_left(LAG_BOUNDS_S, lag_s)] += 1
        self._sum_s += lag_s
        if now >= self._window_ends:
            is_next = now < self._window_ends + WINDOW_S
            self._max_before_s = self._max_s if is_next else 0.0
            self._max_s = 0.0
            self._window_ends = now + WINDOW_S
        self._max_s = max(self._max_s, lag_s)

    def totals(self) -> Values:
        found: Values = {(LAG, bucket): count for bucket, count in enumerate(self._counts)}
        found[LAG_SECONDS,] = self._sum_s
        return found

    def peaks(self) -> Values:
        return {(LAG_MAX,): max(self._max_s, self._max_before_s)}
