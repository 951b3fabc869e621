"""The longest lag of one round, from two scrapes of a process that has lived for longer."""

from __future__ import annotations

from doorward.observe.counters import Counters
from doorward.observe.exposition import PLAIN, render
from doorward.observe.loop_lag import LoopLag
from doorward.observe.metrics import list_families
from doorward.observe.shared_counters import Numbers

from benchmarks.lag import Lag


class Scraped:
    def __init__(self) -> None:
        self.lag = LoopLag(lambda: 0.0)

    def text(self) -> str:
        counters = Counters()
        counters.sources.append(self.lag.totals)
        numbers = Numbers(counters.totals(), {}, self.lag.peaks(), 1)
        return render(list_families(numbers, ()), PLAIN).decode()


def test_a_longest_lag_of_the_last_minutes_is_exact() -> None:
    scraped = Scraped()
    scraped.lag.record(0.004, 1.0)
    lag = Lag(scraped.text)
    scraped.lag.record(0.013, 2.0)
    scraped.lag.record(0.002, 3.0)
    assert lag.longest_ms() == 13.0


def test_after_a_longer_lag_of_an_earlier_round_the_lag_is_a_bucket_bound() -> None:
    scraped = Scraped()
    scraped.lag.record(0.8, 1.0)
    lag = Lag(scraped.text)
    scraped.lag.record(0.013, 2.0)
    assert lag.longest_ms() == 20.0


def test_a_lag_above_every_bound_is_the_maximum() -> None:
    scraped = Scraped()
    lag = Lag(scraped.text)
    scraped.lag.record(9.5, 1.0)
    assert lag.longest_ms() == 9500.0


def test_there_is_no_lag_without_metrics() -> None:
    assert Lag(lambda: "").longest_ms() is None
