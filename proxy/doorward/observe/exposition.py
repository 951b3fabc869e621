"""Metrics as text, in the two formats that Prometheus reads: its own (0.0.4) and OpenMetrics 1.0.

It knows the formats; it must not know which metrics there are. prometheus_client, which writes the
same, loads HTTP clients and servers with it: 3 MiB in every worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

INFINITY = float("inf")
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its samples. The name of a counter has no `_total`, and that of a
    histogram no `_bucket`: they belong to samples."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    samples: list[str] = field(default_factory=list)

    def add(self, values: Iterable[str], value: float) -> None:
        """A sample of a counter or gauge; `values` are those of `labels`."""
        suffix = "_total" if self.kind == COUNTER else ""
        self._add(suffix, zip(self.labels, values, strict=True), value)

    def add_histogram(
        self, values: Iterable[str], buckets: Iterable[tuple[float, float]], total: float
    ) -> None:
        """`buckets`: upper bounds and cumulative counts, the last of which is infinite; `total`:
        the sum of what was observed."""
        labels = tuple(zip(self.labels, values, strict=True))
        count = 0.0
        for bound, count in buckets:
            self._add("_bucket", (*labels, ("le", _number(bound))), count)
        self._add("_count", labels, count)
        self._add("_sum", labels, total)

    def _add(self, suffix: str, labels: Iterable[tuple[str, str]], value: float) -> None:
        pairs = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in sorted(labels))
        braces = f"{{{pairs}}}" if pairs else ""
        self.samples.append(f"{self.name}{suffix}{braces} {_number(value)}\n")


def choose_format(accept: str) -> str:
    """The media type for a client that sends this Accept."""
    types = (item.partition(";")[0].strip().lower() for item in accept.split(","))
    return OPENMETRICS if "application/openmetrics-text" in types else PLAIN


def render(families: Iterable[Family], media_type: str) -> bytes:
    """The exposition in the format of this media type."""
    return "".join(_render(families, media_type == OPENMETRICS)).encode()


def _render(families: Iterable[Family], as_openmetrics: bool) -> Iterator[str]:
    for family in families:
        suffix = "_total" if family.kind == COUNTER and not as_openmetrics else ""
        name = family.name + suffix
        yield f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"
        yield from family.samples
    if as_openmetrics:
        yield "# EOF\n"


def _number(value: float) -> str:
    return "+Inf" if value == INFINITY else repr(float(value))
