"""How late an event loop is, as a histogram and as the maximum of the last minutes."""

from __future__ import annotations

import asyncio

import pytest
from doorward.observe.counters import Counters
from doorward.observe.loop_lag import (
    INTERVAL_S,
    LAG_MAX,
    QUIET,
    QUIET_INTERVAL_S,
    WINDOW_S,
    LoopLag,
)
from doorward.observe.metrics import Metrics

from tests.observe.test_metrics import samples
from tests.support.clock import FixedClock

MAX = "doorward_event_loop_lag_max_seconds"
BUCKET = "doorward_event_loop_lag_seconds_bucket le={}".format


def longest(lag: LoopLag) -> float:
    return lag.peaks()[LAG_MAX,]


async def test_delays_are_a_histogram() -> None:
    metrics, lag = Metrics(()), LoopLag(lambda: 0.0)
    with lag.measuring(metrics.counters):
        for lag_s in (0.0005, 0.015, 0.015, 30.0):
            lag.record(lag_s, 1.0)
        found = await samples(metrics)
    assert found[BUCKET("0.001")] == found[BUCKET("0.01")] == 1
    assert found[BUCKET("0.02")] == found[BUCKET("5.0")] == 3
    assert found[BUCKET("+Inf")] == found["doorward_event_loop_lag_seconds_count"] == 4
    assert found["doorward_event_loop_lag_seconds_sum"] == pytest.approx(30.0305)
    assert found[MAX] == 30.0


async def test_a_loop_that_is_not_measured_has_no_figures() -> None:
    assert not [name for name in await samples(Metrics(())) if "event_loop" in name]


def test_the_maximum_lasts_for_one_to_two_minutes_however_often_it_is_read() -> None:
    lag = LoopLag(lambda: 0.0)
    lag.record(0.5, WINDOW_S - 1)
    assert longest(lag) == longest(lag) == 0.5
    lag.record(0.1, WINDOW_S + 1)
    lag.record(0.2, 2 * WINDOW_S)
    assert longest(lag) == 0.5
    lag.record(0.05, 2 * WINDOW_S + 2)
    assert longest(lag) == 0.2
    lag.record(0.01, 3 * WINDOW_S + 4)
    assert longest(lag) == 0.05


def test_the_maximum_from_before_a_long_block_is_forgotten() -> None:
    lag = LoopLag(lambda: 0.0)
    lag.record(5.0, 1.0)
    lag.record(0.3, 3 * WINDOW_S)
    assert longest(lag) == 0.3


def test_a_timer_that_fires_too_early_is_not_late() -> None:
    lag = LoopLag(lambda: 0.0)
    lag.record(-0.001, 1.0)
    assert longest(lag) == 0.0
    assert sum(lag.totals().values()) == 1


async def test_the_timer_measures_by_the_given_clock() -> None:
    clock, counters = FixedClock(), Counters()
    lag = LoopLag(clock)
    with lag.measuring(counters):
        while not any(lag.totals().values()):
            clock.now += 3 * INTERVAL_S
            await asyncio.sleep(INTERVAL_S)  # the loop measures itself as often
        assert counters.peaks()[LAG_MAX,] > 1.9 * INTERVAL_S
    ticks = lag.totals()
    await asyncio.sleep(2 * QUIET_INTERVAL_S)  # as long as two ticks would take
    assert lag.totals() == ticks  # it has stopped


@pytest.mark.parametrize(
    ("share", "interval_s"),
    [(0.0, QUIET_INTERVAL_S), (0.9 * QUIET, QUIET_INTERVAL_S), (1.1 * QUIET, INTERVAL_S)],
)
async def test_a_loop_that_does_little_is_measured_less_often(
    share: float, interval_s: float
) -> None:
    clock, cpu_clock = FixedClock(), FixedClock()
    lag = LoopLag(clock, cpu_clock)
    with lag.measuring(Counters()):
        for expected in (INTERVAL_S, interval_s, interval_s):
            waited = lag.due_s - clock.now
            assert waited == pytest.approx(expected)
            clock.now = lag.due_s
            cpu_clock.now += share * waited
            while lag.due_s == clock.now:
                await asyncio.sleep(INTERVAL_S)  # the loop measures itself as often
