"""The counters of one process: exchanges by outcome and duration, and events.

Knows numbers in memory; must not know how they are shown, or other processes.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from time import perf_counter

from doorward.accounts.audit.audit_log import DONE, Kind, Record
from doorward.observe.observer import SWITCHED, ExchangeRecord, Outcome

# Upper bounds of the duration buckets in seconds; the last one has none.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS, SECONDS = "requests", "seconds"
LOGINS, LOCKOUTS = "logins", "lockouts"
RETRIES, FAILURES = "retries", "failures"
LOST = "lost"  # an unknown value

# The name of a value and its labels, all of which are Doorward's own words and numbers.
Key = tuple[str | int, ...]
Values = dict[Key, float]


class Counters:
    """An observer that counts. Takes half a microsecond per exchange."""

    writes = False

    def __init__(self) -> None:
        self._rows: dict[tuple[Outcome, int, int, int], list[float]] = {}
        self._events: Values = {}
        self.sources: list[Callable[[], Values]] = []  # totals that other parts count
        self.gauges: list[Callable[[], Values]] = []  # current values
        self.peak_sources: list[Callable[[], Values]] = []  # the maximum of all processes counts

    def ended(
        self, outcome: Outcome, route: int, status: int, started: float, record: ExchangeRecord
    ) -> None:
        took = perf_counter() - started
        key = (outcome, route, status, bisect_left(BOUNDS_S, took))
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = [0, 0.0]
        row[0] += 1
        row[1] += took

    def note(self, *key: str | int) -> None:
        """Count one event."""
        self._events[key] = self._events.get(key, 0) + 1

    def tell(self, record: Record) -> None:
        """Count an audit record that was just written."""
        event = record.event
        if event.kind is Kind.LOGIN:
            self.note(LOGINS, event.detail, "done")
        elif event.kind is Kind.LOGIN_PENDING and event.outcome == DONE:
            self.note(LOGINS, event.detail, "pending")
        elif event.kind is Kind.LOCKED_OUT:
            self.note(LOCKOUTS, event.detail)
        elif event.kind is Kind.FACTOR_LOCKED:
            self.note(LOCKOUTS, "second_factor")

    def refused_login(self, dialect: str, code: str) -> None:
        """Count a login that was refused for this reason."""
        self.note(LOGINS, dialect, "pending" if code == "second_factor_required" else code)

    def totals(self) -> Values:
        """All totals that only increase."""
        found = dict(self._events)
        for (outcome, route, status, bucket), (count, seconds) in self._rows.items():
            found[REQUESTS, outcome.word, outcome.reason, route, status, bucket] = count
            if status != SWITCHED:  # the hours of a tunnel say nothing about the speed of answers
                took = (SECONDS, outcome.word, route)
                found[took] = found.get(took, 0.0) + seconds
        return sum_values((found, *(read() for read in self.sources)))

    def moment(self) -> Values:
        """All current values."""
        return sum_values(read() for read in self.gauges)

    def peaks(self) -> Values:
        """All values of which the maximum of all processes counts."""
        return largest_values(read() for read in self.peak_sources)


def sum_values(parts: Iterable[Values]) -> Values:
    whole: Values = {}
    for part in parts:
        for key, value in part.items():
            whole[key] = whole.get(key, 0) + value
    return whole


def largest_values(parts: Iterable[Values]) -> Values:
    whole: Values = {}
    for part in parts:
        for key, value in part.items():
            whole[key] = max(whole.get(key, value), value)
    return whole
