"""How a time is worded in the languages that Doorward ships, as in Unicode's CLDR.

Babel would read 5 MiB for the two, which every worker keeps; it words the operator's languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# A unit is used from 85 % of it on, as Babel does it: 51 minutes are "1 hour".
THRESHOLD = 0.85
UNITS_S = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)


@dataclass(frozen=True, slots=True)
class TimePhrases:
    """`units` from the year to the second: for one, for several, and for several after "in" and
    "ago". The other fields have a place for number and unit."""

    units: tuple[tuple[str, str, str], ...]
    within: str
    ago: str

    def span(self, seconds: float) -> str:
        """`3 hours`: one unit, rounded."""
        return self._word(seconds, "{}", 1)

    def in_future(self, seconds: float) -> str:
        """`in 3 hours`."""
        return self._word(seconds, self.within, 2)

    def in_past(self, seconds: float) -> str:
        """`3 hours ago`."""
        return self._word(seconds, self.ago, 2)

    def _word(self, seconds: float, phrase: str, several: int) -> str:
        """`seconds` are at least 1."""
        units = zip(UNITS_S, self.units, strict=True)
        unit_s, names = next(unit for unit in units if seconds / unit[0] >= THRESHOLD)
        number = max(1, round(seconds / unit_s))
        return phrase.format(f"{number} {names[0 if number == 1 else several]}")


SHIPPED: Mapping[str, TimePhrases] = {
    "en": TimePhrases(
        (
            ("year", "years", "years"),
            ("month", "months", "months"),
            ("week", "weeks", "weeks"),
            ("day", "days", "days"),
            ("hour", "hours", "hours"),
            ("minute", "minutes", "minutes"),
            ("second", "seconds", "seconds"),
        ),
        "in {}",
        "{} ago",
    ),
    "de": TimePhrases(
        (
            ("Jahr", "Jahre", "Jahren"),
            ("Monat", "Monate", "Monaten"),
            ("Woche", "Wochen", "Wochen"),
            ("Tag", "Tage", "Tagen"),
            ("Stunde", "Stunden", "Stunden"),
            ("Minute", "Minuten", "Minuten"),
            ("Sekunde", "Sekunden", "Sekunden"),
        ),
        "in {}",
        "vor {}",
    ),
}
