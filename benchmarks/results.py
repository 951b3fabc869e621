"""Results of rounds: spread, ratios to a peer, a saved file, and the change against another run.

Pure but for reading and writing that file; it must not know how anything is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

FORM = 2  # of the file
PEER = "go"


@dataclass(frozen=True, slots=True)
class Round:
    requests: int
    requests_per_s: float
    cpu_us: float  # of all of the proxy's processes, per request
    rss_mib: float
    p50_ms: float | None = None  # messages and events have none
    p99_ms: float | None = None
    lag_ms: float | None = None  # the longest of Doorward's event loops; others have none


Rounds = Mapping[str, list[Round]]  # of one case, by contestant


@dataclass(frozen=True, slots=True)
class Spread:
    minimum: float
    median: float
    maximum: float


def summary(rounds: list[Round]) -> dict[str, Spread]:
    """The spread of each figure that any round has."""
    found = {}
    for name in (field.name for field in fields(Round)):
        values = [value for value in (getattr(r, name) for r in rounds) if value is not None]
        if values:
            found[name] = Spread(min(values), median(values), max(values))
    return found


def ratios(rounds: Rounds, peer: str = PEER) -> dict[str, float]:
    """Each contestant's median CPU as a multiple of the peer's in the same case and run."""
    cpu = {name: summary(those)["cpu_us"].median for name, those in rounds.items() if those}
    if not cpu.get(peer):
        return {}
    return {name: own / cpu[peer] for name, own in cpu.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one contestant in one case, before and now."""

    case: str
    contestant: str
    figure: str
    before: float
    now: float

    @property
    def percent(self) -> float | None:
        return (self.now / self.before - 1) * 100 if self.before else None


def report(cases: Mapping[str, Rounds], about: Mapping[str, object]) -> dict[str, Any]:
    """The saved report: every round, and the figures that another run is compared with."""
    return {
        "form": FORM,
        **about,
        "cases": {
            case: {
                name: {
                    "figures": {k: asdict(spread) for k, spread in summary(those).items()},
                    "ratio": ratios(rounds).get(name),
                    "rounds": [asdict(one) for one in those],
                }
                for name, those in rounds.items()
                if those
            }
            for case, rounds in cases.items()
        },
    }


def save(path: Path, saved: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(saved, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def load(path: Path) -> dict[str, Any]:
    """Read a saved run. Raises OSError, or ValueError for a file of another form."""
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("form") != FORM:
        raise ValueError(f"{path} was not saved by these benchmarks; make a new one with --save")
    return found


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Every figure that both runs have, in the order of the current one."""
    found: list[Change] = []
    for case, contestants in now["cases"].items():
        for name, entry in contestants.items():
            old = before["cases"].get(case, {}).get(name)
            if old is not None:
                found += _changes(case, name, dict(_compared(old)), dict(_compared(entry)))
    return found


def _compared(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The ratio first: it alone can be compared when the runs' machines were not equally busy."""
    if entry["ratio"] is not None:
        yield "ratio", entry["ratio"]
    for figure in ("cpu_us", "p50_ms", "p99_ms", "lag_ms", "rss_mib"):
        if figure in entry["figures"]:
            yield figure, entry["figures"][figure]["median"]


def _changes(
    case: str, contestant: str, old: Mapping[str, float], new: Mapping[str, float]
) -> Iterator[Change]:
    for figure, value in new.items():
        if figure in old:
            yield Change(case, contestant, figure, old[figure], value)
