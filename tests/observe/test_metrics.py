"""Metrics of one and of several processes, and how Prometheus reads them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from doorward.accounts.audit.audit_log import REFUSED, Event, Kind, Record
from doorward.observe import metrics as module
from doorward.observe.counters import FAILURES, LOCKOUTS, LOGINS, LOST, RETRIES, Counters
from doorward.observe.loop_lag import LAG_MAX, LoopLag
from doorward.observe.metrics import CONNECTIONS, SESSIONS, TUNNELS, Metrics
from doorward.observe.observer import (
    FORWARDED,
    NO_ROUTE,
    OURS,
    SWITCHED,
    BriefRecord,
    UnreadRequest,
    failure_outcome,
    now_s,
    refusal_outcome,
)
from doorward.observe.shared_counters import STARTS, Shared, clear_counters
from prometheus_client.parser import text_string_to_metric_families

from tests.support.handbook import read_page
from tests.support.waiting import until

TOLD = BriefRecord(UnreadRequest())
ROUTES = ("wiki.example.com/", "/")


async def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample, written as in the exposition except for the order of its labels."""
    text, _ = await metrics.answer("")
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_requests_are_counted_by_route_status_decision_and_reason() -> None:
    metrics = Metrics(ROUTES)
    for decided, route, status in [
        (FORWARDED, 1, 200),
        (FORWARDED, 1, 200),
        (FORWARDED, 0, 404),
        (failure_outcome("bad_gateway"), 1, 502),
        (refusal_outcome("unauthenticated"), 0, 401),
        (refusal_outcome("misdirected_request"), NO_ROUTE, 421),
        (OURS, NO_ROUTE, 200),
    ]:
        metrics.counters.ended(decided, route, status, now_s(), TOLD)
    found = await samples(metrics)
    name = "doorward_requests_total decision={} reason={} route={} status={}".format
    assert found[name("forwarded", "", "/", 200)] == 2
    assert found[name("forwarded", "", "wiki.example.com/", 404)] == 1
    assert found[name("forwarded", "bad_gateway", "/", 502)] == 1
    assert found[name("refused", "unauthenticated", "wiki.example.com/", 401)] == 1
    assert found[name("refused", "misdirected_request", "", 421)] == 1
    assert found[name("ours", "", "", 200)] == 1
    assert found["doorward_processes"] == 1
    assert len([key for key in found if key.startswith("doorward_build_info version=")]) == 1


async def test_durations_are_a_histogram_without_tunnels() -> None:
    metrics = Metrics(ROUTES)
    metrics.counters.ended(FORWARDED, 1, 200, now_s() - 0.02, TOLD)
    metrics.counters.ended(FORWARDED, 1, 404, now_s() - 3600, TOLD)
    metrics.counters.ended(FORWARDED, 1, SWITCHED, now_s() - 3600, TOLD)
    found = await samples(metrics)
    name = "doorward_request_duration_seconds_{} decision=forwarded{} route=/".format
    assert found[name("bucket", " le=0.01")] == 0
    assert found[name("bucket", " le=0.025")] == found[name("bucket", " le=60.0")] == 1
    assert found[name("bucket", " le=+Inf")] == found[name("count", "")] == 2
    assert found[name("sum", "")] == pytest.approx(3600.02, abs=0.1)


async def test_clients_that_ask_for_openmetrics_get_it() -> None:
    text, media_type = await Metrics(ROUTES).answer("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text") and text.endswith(b"# EOF\n")


def event(kind: Kind, detail: str, outcome: str = "done") -> Record:
    return Record(1, Event(at=0.0, kind=kind, detail=detail, outcome=outcome))


async def test_logins_and_lockouts_are_counted() -> None:
    metrics = Metrics(ROUTES)
    for record in [
        event(Kind.LOGIN, "page"),
        event(Kind.LOGIN_PENDING, "page"),
        event(Kind.LOGIN_PENDING, "second_factor_required", REFUSED),  # counted by its refusal
        event(Kind.LOCKED_OUT, "user", REFUSED),
        event(Kind.FACTOR_LOCKED, "totp", REFUSED),
        event(Kind.USER_ADDED, ""),
    ]:
        metrics.counters.tell(record)
    for code in ("second_factor_required", "invalid_credentials", "invalid_credentials"):
        metrics.counters.refused_login("xhr", code)
    found = await samples(metrics)
    assert {key: value for key, value in found.items() if "logins" in key or "lockouts" in key} == {
        "doorward_logins_total dialect=page outcome=done": 1,
        "doorward_logins_total dialect=page outcome=pending": 1,
        "doorward_logins_total dialect=xhr outcome=pending": 1,
        "doorward_logins_total dialect=xhr outcome=invalid_credentials": 2,
        "doorward_lockouts_total scope=user": 1,
        "doorward_lockouts_total scope=second_factor": 1,
    }


def test_counter_keys_are_reused_objects() -> None:
    assert (
        refusal_outcome("forbidden")
        is refusal_outcome("forbidden")
        is not failure_outcome("forbidden")
    )
    counters = Counters()
    for _ in range(3):
        counters.ended(refusal_outcome("forbidden"), 0, 403, now_s(), TOLD)
    assert [count for key, count in counters.totals().items() if key[0] == "requests"] == [3]


async def test_the_handbook_names_every_metric_and_its_labels() -> None:
    handbook = read_page("reference/metrics.md")
    rows = re.findall(r"^\| `(doorward_\w+)` \|(.*?)\|", handbook, re.M)
    told = {name: {*re.findall(r"`(\w+)`", labels)} for name, labels in rows}
    metrics = Metrics(ROUTES)
    metrics.counters.ended(FORWARDED, 0, 200, now_s(), TOLD)
    counters = ((RETRIES, 0), (FAILURES, 0, "x"), (LOGINS, "x", "x"), (LOCKOUTS, "x"), (LOST, "x"))
    for key in counters:
        metrics.counters.note(*key)
    metrics.counters.gauges.append(
        lambda: {(CONNECTIONS, "x", "idle"): 1, (TUNNELS,): 1, (SESSIONS,): 1}
    )
    with LoopLag().measuring(metrics.counters):
        text, _ = await metrics.answer("")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text.decode()):
        total = "_total" if family.type == "counter" else ""
        for sample in family.samples:
            found.setdefault(family.name + total, set()).update(sample.labels.keys() - {"le"})
    assert found == told


# Several processes


def counted(metrics: Metrics, requests: int, idle: int) -> None:
    for _ in range(requests):
        metrics.counters.ended(FORWARDED, 0, 200, now_s(), TOLD)
    metrics.counters.gauges.append(lambda: {(CONNECTIONS, "http://app", "idle"): idle})
    metrics.fold()


REQUESTS = "doorward_requests_total decision=forwarded reason= route=wiki.example.com/ status=200"
IDLE = "doorward_upstream_connections state=idle upstream=http://app"


async def folding(metrics: Metrics) -> None:
    while True:
        metrics.fold()
        await asyncio.sleep(0.005)  # like a worker, once a second


async def test_every_process_reports_the_numbers_of_all(tmp_path: Path) -> None:
    folder = clear_counters(tmp_path)
    one, two = Metrics(ROUTES, folder), Metrics(ROUTES, folder)
    counted(one, 3, 1)
    counted(two, 4, 2)
    two.counters.ended(FORWARDED, 0, 200, now_s(), TOLD)  # not written yet, so `answer` waits
    sweep = asyncio.ensure_future(folding(two))
    for asked in (one, two):
        found = await samples(asked)
        assert (found[REQUESTS], found[IDLE], found["doorward_processes"]) == (8, 3, 2)
        sweep.cancel()
        sweep = asyncio.ensure_future(folding(one))
    sweep.cancel()
    one.close()
    two.close()


async def test_the_longest_lag_of_all_processes_is_reported(tmp_path: Path) -> None:
    folder = clear_counters(tmp_path)
    one, two = Metrics(ROUTES, folder), Metrics(ROUTES, folder)
    one.counters.peak_sources.append(lambda: {(LAG_MAX,): 0.04})
    two.counters.peak_sources.append(lambda: {(LAG_MAX,): 0.3})
    one.fold()
    two.fold()
    sweep = asyncio.ensure_future(folding(two))
    assert (await samples(one))["doorward_event_loop_lag_max_seconds"] == 0.3
    sweep.cancel()
    two.close()
    assert (await samples(one))["doorward_event_loop_lag_max_seconds"] == 0.04
    one.close()


async def test_counters_of_dead_processes_stay_and_gauges_do_not(tmp_path: Path) -> None:
    folder = clear_counters(tmp_path)
    one, two = Metrics(ROUTES, folder), Metrics(ROUTES, folder)
    counted(one, 3, 1)
    counted(two, 4, 2)
    two.close()  # like the end of a process
    found = await samples(one)
    assert (found[REQUESTS], found[IDLE], found["doorward_processes"]) == (7, 1, 1)
    three = Metrics(ROUTES, folder)
    assert len(list(folder.glob("*.numbers"))) == 2  # it took over the earlier totals
    counted(three, 1, 5)
    sweep = asyncio.ensure_future(folding(three))
    found = await samples(one)
    assert (found[REQUESTS], found[IDLE], found["doorward_processes"]) == (8, 6, 2)
    sweep.cancel()
    one.close()
    three.close()


async def test_a_process_that_is_stuck_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    folder = clear_counters(tmp_path)
    one, two = Metrics(ROUTES, folder), Metrics(ROUTES, folder)
    counted(two, 4, 2)
    assert (await samples(one))[REQUESTS] == 4
    one.close()
    two.close()


def test_a_torn_write_leaves_the_previous_numbers(tmp_path: Path) -> None:
    shared = Shared(clear_counters(tmp_path))
    shared.write({(RETRIES, 0): 1}, {}, {})
    shared.write({(RETRIES, 0): 2}, {}, {})
    path = next((tmp_path / "metrics").glob("*.numbers"))
    with path.open("r+b") as file:
        for start in STARTS:
            file.seek(start)
            if b"2]" in file.read(100):
                file.seek(start + 20)
                file.write(b"torn")
    assert shared.read().totals == {(RETRIES, 0): 1}
    shared.close()


OTHER = """
import pathlib, signal, sys
from doorward.observe.shared_counters import Shared
shared = Shared(pathlib.Path(sys.argv[1]))
shared.write({("retries", 0): 5}, {("tunnels",): 7}, {("loop_lag_max",): 9})
signal.pause()
"""


@pytest.mark.outside
def test_a_killed_process_loses_nothing_that_it_wrote(tmp_path: Path) -> None:
    folder = clear_counters(tmp_path)
    shared = Shared(folder)
    child = subprocess.Popen([sys.executable, "-c", OTHER, os.fspath(folder)])
    until(lambda: shared.read().totals == {(RETRIES, 0): 5}, "for its numbers")
    assert (shared.read().moment, shared.read().processes) == ({("tunnels",): 7}, 2)
    assert shared.read().peaks == {("loop_lag_max",): 9}
    child.kill()
    child.wait()
    numbers = shared.read()
    assert (numbers.totals, numbers.moment, numbers.processes) == ({(RETRIES, 0): 5}, {}, 1)
    assert numbers.peaks == {}
    shared.close()


def test_counters_of_an_earlier_start_are_cleared(tmp_path: Path) -> None:
    folder = clear_counters(tmp_path)
    shared = Shared(folder)
    shared.write({(RETRIES, 0): 5}, {}, {})
    shared.close()
    assert clear_counters(tmp_path) == folder
    assert not list(folder.glob("*.numbers"))
    assert folder.stat().st_mode & 0o077 == 0


async def test_numbers_that_cannot_be_written_are_reported_once_and_kept(tmp_path: Path) -> None:
    """A total must never fall, so there is no answer while the workers' numbers are unavailable."""
    folder = clear_counters(tmp_path / "data")
    folder.rmdir()
    with structlog.testing.capture_logs() as logged:
        metrics = Metrics(ROUTES, folder)
        metrics.counters.ended(OURS, NO_ROUTE, 200, now_s(), TOLD)
        metrics.fold()
        with pytest.raises(OSError, match="cannot be combined"):
            await metrics.answer("")
        folder.mkdir()
        metrics.fold()
        found = await samples(metrics)
    assert [entry["event"] for entry in logged] == ["metrics_not_written", "metrics_written_again"]
    assert found["doorward_requests_total decision=ours reason= route= status=200"] == 1
    assert found["doorward_unwritten_total channel=metrics"] == 3
    metrics.close()
