"""/metrics after real requests: on both code paths, with one process and with two."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Start
from tests.server.test_workers import children
from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin, answering, silent
from tests.support.waiting import until
from tests.support.wire import Wire, get, read_body

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"


def script(wire: Wire) -> None:
    while head := wire.head():
        target = head.split()[1]
        if target.endswith(b"/tunnel"):
            wire.send(SWITCHED)
            while data := wire.sock.recv(4096):
                wire.send(data)
            return
        if target.endswith(b"/cut"):
            wire.send(SHORT)
            return
        if target.endswith(b"/nonsense"):
            wire.send(b"nonsense\r\n\r\n")
            return
        if target.endswith(b"/never"):
            silent(wire)
            return
        read_body(wire, head)
        status = b"404 Not Found" if target.endswith(b"/missing") else b"200 OK"
        wire.send(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nok" % status)


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((script,)) as origin:
        yield origin


def settings_for(origin: Origin) -> dict[str, Any]:
    return {
        "routes": [
            {"path": "/", "upstream": origin.url},
            {"path": "/wiki", "upstream": origin.url},
            {"path": "/dead", "upstream": "http://127.0.0.1:1"},
        ],
        "access": {"rules": [{"path": "/wiki/*", "require": "public"}]},
        "users": [config_user()],
        "regulation": {"attempts": 2},
    }


@pytest.fixture(scope="module")
def live(deploy: Start, origin: Origin, fast_lane: bool) -> Live:
    return deploy("", fast_lane=fast_lane, **settings_for(origin))


class Scrape(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    def of(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels, regardless of other labels."""
        wanted = labels.items()
        return sum(v for (n, have), v in self.items() if n == f"doorward_{name}" and wanted <= have)


def scrape(live: Live) -> Scrape:
    answer = live.admin("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape(
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    )


class Counting:
    """The samples that have grown since the beginning."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._before = scrape(live)

    def of(self, name: str, **labels: str) -> float:
        return scrape(self._live).of(name, **labels) - self._before.of(name, **labels)

    def reaches(self, number: int, name: str, **labels: str) -> None:
        until(lambda: self.of(name, **labels) == number, f"for {number} {name} {labels}")


def test_requests_by_route_status_decision_and_reason(live: Live) -> None:
    cookie, grew = live.login(), Counting(live)
    with live.client() as client:
        for target, lines, host in [
            ("/wiki/a", (), live.host),
            ("/wiki/a", (), live.host),
            ("/wiki/missing", (), live.host),
            ("/b", (cookie,), live.host),
            ("/b", (), live.host),
            ("/.doorward/login", (), live.host),
            ("/.doorward/healthz", (), "anything"),
            ("/xhr/session", (cookie,), live.host),
            ("/wiki/../b", (), live.host),  # which closes the connection
        ]:
            client.get(target, *lines, host=host)
    live.get("/wiki/a b")
    seen = scrape(live)
    assert not {label for _, labels in seen for label in labels if "b" == label[1]}
    assert grew.of("requests_total", route="/wiki", status="200", decision="forwarded") == 2
    assert grew.of("requests_total", route="/wiki", status="404", decision="forwarded") == 1
    assert grew.of("requests_total", route="/", status="200", decision="forwarded") == 1
    refused = {"decision": "refused", "reason": "unauthenticated"}
    assert grew.of("requests_total", route="/", status="401", **refused) == 1
    bad = {"decision": "refused", "reason": "bad_request", "route": "", "status": "400"}
    assert grew.of("requests_total", **bad) == 2
    assert grew.of("requests_total", decision="ours", route="") == 3
    assert grew.of("requests_total") == 9 + 1
    assert grew.of("request_duration_seconds_count", route="/wiki", decision="forwarded") == 3
    assert grew.of("request_duration_seconds_bucket", route="/wiki", le="+Inf") == 3


def test_a_request_with_a_body_is_counted_too(live: Live) -> None:
    grew = Counting(live)
    with live.client() as client:
        head = get("/wiki/a", "Content-Length: 3", host=live.host).replace(b"GET", b"POST", 1)
        assert client.ask(head + b"abc").status == 200
    assert grew.of("requests_total", route="/wiki", status="200") == 1


@pytest.mark.parametrize("times", [1, 2])  # over a new connection, and over a kept one
def test_upstream_failures_are_counted(live: Live, times: int) -> None:
    grew = Counting(live)
    assert live.get("/dead", live.login()).status == 502
    assert grew.of("requests_total", route="/dead", status="502", reason="bad_gateway") == 1
    assert grew.of("upstream_failures_total", route="/dead", reason="connect") == 1
    live.get("/wiki/a")
    assert live.get("/wiki/nonsense").status == 502
    assert grew.of("upstream_failures_total", route="/wiki", reason="invalid") == 1
    live.get("/wiki/a")
    with live.client() as client:
        client.send(get("/wiki/cut", host=live.host))
        client.rest()
    grew.reaches(1, "requests_total", route="/wiki", status="200", reason="answer_cut")
    assert grew.of("upstream_failures_total", route="/wiki", reason="lost") == 1


def test_a_client_that_leaves_is_logged_with_the_status_of_nginx(
    live: Live, origin: Origin
) -> None:
    for kept in (False, True):
        grew = Counting(live)
        if kept:
            live.get("/wiki/a")
        with live.client() as client:
            client.send(get("/wiki/never", host=live.host))
            until(lambda: origin.heads and b"/wiki/never" in origin.heads[-1], "for the request")
        left = {"status": "499", "reason": "client_gone", "decision": "forwarded"}
        grew.reaches(1, "requests_total", route="/wiki", **left)


def test_a_kept_connection_that_closed_is_a_retry(deploy: Start, fast_lane: bool) -> None:
    def once(wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        wire.head()

    with Origin((once, answering(OK))) as origin:
        live = deploy(origin.url, access={"default": "public"}, fast_lane=fast_lane)
        for _ in range(2):
            assert live.get("/").status == 200
        seen = scrape(live)
        assert seen.of("requests_total", decision="forwarded") == 2
        assert seen.of("upstream_retries_total", route="/") == 1
        assert seen.of("upstream_failures_total", route="/", reason="lost") == 1


def test_an_unreachable_upstream_causes_a_retry_elsewhere(deploy: Start, origin: Origin) -> None:
    upstreams = ["http://127.0.0.1:1", origin.url]
    live = deploy("", routes=[{"upstream": upstreams}], access={"default": "public"})
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(live.client())
            assert client.get("/", host=live.host).status == 200
    assert scrape(live).of("upstream_retries_total", route="/") >= 1


def test_tunnels_are_counted_while_they_are_open(live: Live) -> None:
    grew = Counting(live)
    with live.client() as client:
        asked = ("Connection: Upgrade", "Upgrade: echo")
        client.send(get("/wiki/tunnel", *asked, host=live.host))
        assert client.head().startswith(b"HTTP/1.1 101 ")
        assert scrape(live).of("open_tunnels") == 1
        assert scrape(live).of("upstream_connections", state="busy") >= 1
    grew.reaches(1, "requests_total", route="/wiki", status="101")
    assert scrape(live).of("open_tunnels") == 0
    assert grew.of("request_duration_seconds_count", route="/wiki") == 0


def test_connections_to_upstreams_are_idle_or_busy(live: Live, origin: Origin) -> None:
    live.get("/wiki/a")
    assert scrape(live).of("upstream_connections", state="idle", upstream=origin.url) >= 1
    with live.client() as client:
        client.send(get("/wiki/never", host=live.host))
        until(lambda: scrape(live).of("upstream_connections", state="busy") == 1, "for a busy one")


def wrong(live: Live) -> None:
    body = b'{"username": "alice", "password": "wrong"}'
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    with live.client() as client:
        head = get("/xhr/login", *lines, host=live.host).replace(b"GET", b"POST", 1)
        client.ask(head + body)


def test_logins_by_dialect_and_lockouts(deploy: Start, origin: Origin) -> None:
    live = deploy("", **settings_for(origin))
    cookie = live.login()
    assert live.get("/b", cookie).status == 200
    for _ in range(3):
        wrong(live)
    seen = scrape(live)
    assert seen.of("logins_total", dialect="xhr", outcome="done") == 1
    assert seen.of("logins_total", dialect="xhr", outcome="invalid_credentials") == 2
    assert seen.of("logins_total", dialect="xhr", outcome="locked_out") == 1
    assert seen.of("lockouts_total", scope="user") == 1
    assert seen.of("cached_sessions") == 1
    assert seen.of("build_info") == seen.of("processes") == 1


def test_connections_without_a_request_are_counted(live: Live) -> None:
    grew = Counting(live)
    with live.client() as client:
        client.send(b"GET /\x00 HTTP/1.1\r\n\r\n")
        client.rest()
    with live.client() as client:
        client.send(get("/" + "a" * 20_000, host=live.host))
        client.rest()
    with live.client() as client:
        client.send(get("/wiki/a", "Transfer-Encoding: chunked", host=live.host) + b"nonsense\r\n")
        client.rest()
    grew.reaches(1, "requests_total", reason="target_too_long", status="414")
    grew.reaches(2, "requests_total", reason="bad_request", status="400")
    of_these = [grew.of("requests_total", status=status) for status in ("400", "414")]
    assert of_these == [2, 1]


def test_only_the_admin_listener_serves_metrics(live: Live) -> None:
    assert live.get("/metrics").status == 401
    assert live.get("/metrics", live.login()).body == b"ok"  # the application's


# Two processes


@pytest.fixture(scope="module")
def pair(deploy: Start, origin: Origin) -> Live:
    return deploy("", workers=2, **settings_for(origin))


def ask_often(live: Live, number: int) -> None:
    """Send many requests, over enough connections for both processes to get some."""
    with ExitStack() as stack:
        clients = [stack.enter_context(live.client()) for _ in range(20)]
        for at in range(number):
            assert clients[at % 20].get("/wiki/a", host=live.host).status == 200


def test_every_process_reports_the_numbers_of_all(pair: Live) -> None:
    before = scrape(pair).of("requests_total", route="/wiki", status="200")
    for round in range(1, 6):
        ask_often(pair, 40)
        seen = scrape(pair)
        assert seen.of("requests_total", route="/wiki", status="200") - before == 40 * round
        assert seen.of("processes") == 2


def test_counters_do_not_decrease_when_a_process_is_killed(pair: Live) -> None:
    ask_often(pair, 40)
    wrong(pair)
    before = scrape(pair)
    workers = children(pair.pid)
    os.kill(min(workers), signal.SIGKILL)
    until(lambda: len(children(pair.pid) - workers) == 1, "for a new process")
    until(lambda: scrape(pair).of("processes") == 2, "for its numbers")
    after = scrape(pair)
    for key, value in before.items():
        if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
            assert after.get(key, -1) >= value, key
    assert after.of("requests_total") >= before.of("requests_total")
    grew = after.of("requests_total", route="/wiki", status="200")
    ask_often(pair, 40)
    assert scrape(pair).of("requests_total", route="/wiki", status="200") == grew + 40
    assert len(list((pair.folder / "data" / "metrics").glob("*.numbers"))) == 2


def test_a_new_start_counts_from_zero(deploy: Start, origin: Origin, tmp_path: Path) -> None:
    live = Live(tmp_path, "", workers=2, **settings_for(origin))
    with live:
        ask_often(live, 20)
        assert scrape(live).of("requests_total", route="/wiki") == 20
    with live:
        assert scrape(live).of("requests_total", route="/wiki") == 0
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
