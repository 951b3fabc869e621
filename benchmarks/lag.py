"""The longest lag of Doorward's event loops during a round, from its metrics.

It knows the text format of Prometheus and the names of two metrics.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HISTOGRAM, MAXIMUM = "doorward_event_loop_lag_seconds", "doorward_event_loop_lag_max_seconds"
BUCKET = re.compile(rf'^{HISTOGRAM}_bucket\{{le="([^"]+)"\}} (\S+)$', re.M)


def buckets(text: str) -> dict[float, float]:
    """Delays counted up to each bound, in seconds."""
    return {float(bound): float(count) for bound, count in BUCKET.findall(text)}


def longest_s(before: str, after: str) -> float:
    """An upper bound of the longest delay between two scrapes: that of its bucket, or the maximum
    of the last minutes if that is less."""
    maximum = re.search(rf"^{MAXIMUM} (\S+)$", after, re.M)
    old, below, bound = buckets(before), 0.0, 0.0
    for upper, count in buckets(after).items():
        grown = count - old.get(upper, 0.0)
        if grown > below:
            below, bound = grown, upper
    return min(bound, float(maximum[1])) if maximum else bound


class Lag:
    """The lag from its creation on. `scrape` returns the metrics, or an empty text if there are
    none."""

    def __init__(self, scrape: Callable[[], str]) -> None:
        self._scrape = scrape
        self._before = scrape()

    def longest_ms(self) -> float | None:
        after = self._scrape()
        return longest_s(self._before, after) * 1000 if after else None
