"""Metrics in Prometheus's formats, compared with its own client library."""

from __future__ import annotations

import math
from typing import Any

import pytest
from doorward.observe.exposition import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INFINITY,
    OPENMETRICS,
    PLAIN,
    Family,
    choose_format,
    render,
)
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

# Some of the library's functions have no types.
write_plain: Any = generate_latest
write_openmetrics: Any = openmetrics.generate_latest
read_plain: Any = text_string_to_metric_families
read_openmetrics: Any = openmetrics_parser.text_string_to_metric_families

BOUNDS = (0.005, 1.0, 60.0, INFINITY)

values = st.floats(min_value=0, allow_infinity=False) | st.integers(0, 2**53).map(float)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=8)


class Both:
    """The same families, as Doorward's objects and as the library's."""

    def __init__(self) -> None:
        self.ours: list[Family] = []
        self.theirs: list[Metric] = []

    def collect(self) -> list[Metric]:
        return self.theirs

    def add(self, text: str, value: float) -> None:
        counter = Family("a_requests", COUNTER, "Requests, by route.", ("route", "by"))
        counter.add((text, "x"), value)
        gauge = Family("b_open", GAUGE, "Open ones.")
        gauge.add((), value)
        histogram = Family("c_seconds", HISTOGRAM, "Durations.", ("route", "decision"))
        counts = [(bound, float(number)) for number, bound in enumerate(BOUNDS)]
        histogram.add_histogram((text, "y"), counts, value)
        self.ours += [counter, gauge, histogram]
        theirs = CounterMetricFamily("a_requests", "Requests, by route.", labels=("route", "by"))
        theirs.add_metric((text, "x"), value)
        durations = HistogramMetricFamily("c_seconds", "Durations.", labels=("route", "decision"))
        named = ["+Inf" if math.isinf(bound) else repr(bound) for bound, _ in counts]
        buckets = [(name, count) for name, (_, count) in zip(named, counts, strict=True)]
        durations.add_metric((text, "y"), buckets, value)
        self.theirs += [theirs, GaugeMetricFamily("b_open", "Open ones.", value=value), durations]


@given(texts, values)
def test_both_formats_match_the_prometheus_library(text: str, value: float) -> None:
    both, registry = Both(), CollectorRegistry(auto_describe=False)
    both.add(text, value)
    registry.register(both)
    plain = render(both.ours, PLAIN).decode()
    assert list(read_plain(plain)) == list(read_plain(write_plain(registry).decode()))
    strict = render(both.ours, OPENMETRICS).decode()
    theirs = write_openmetrics(registry).decode()
    assert list(read_openmetrics(strict)) == list(read_openmetrics(theirs))


def test_the_text_has_the_documented_format() -> None:
    requests = Family("doorward_requests", COUNTER, "Requests.", ("route", "by"))
    requests.add(('a"\\\n', "x"), 3)
    plain = render([requests], PLAIN).decode()
    assert plain == (
        "# HELP doorward_requests_total Requests.\n"
        "# TYPE doorward_requests_total counter\n"
        'doorward_requests_total{by="x",route="a\\"\\\\\\n"} 3.0\n'
    )
    assert render([requests], OPENMETRICS).decode().splitlines()[0] == (
        "# HELP doorward_requests Requests."
    )


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/plain;version=0.0.4", PLAIN),
        ("application/openmetrics-text", OPENMETRICS),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            OPENMETRICS,
        ),
    ],
)
def test_a_client_gets_openmetrics_if_it_reads_it(accept: str, chosen: str) -> None:
    assert choose_format(accept) == chosen
