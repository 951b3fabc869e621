"""Limits for clients: lines, targets, bodies, requests, connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from doorward.server.limits import Counts, Place, fit_descriptors
from doorward.settings import settings_from
from structlog.testing import capture_logs

from tests.conftest import Start
from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin, answering, silent
from tests.support.stage import Stage, staged
from tests.support.waiting import until
from tests.support.wire import Client, Wire, get, read_body

HEALTH = get("/.doorward/healthz")


@pytest.fixture(scope="module")
def stage(deploy: Start) -> Stage:
    limits = {"header_count": 20, "target_bytes": "1KiB", "body_bytes": "1KiB"}
    return staged(deploy, limits=limits | {"requests_per_connection": 3})


# Heads


def test_too_many_lines_are_431(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act:
        assert act.ask(*(f"X-{n}: y" for n in range(19))).status == 200
        assert act.ask(*(f"X-{n}: y" for n in range(20))).status == 431
        assert len(act.origin.heads) == 1


def test_a_long_target_is_414_and_nothing_is_forwarded(stage: Stage) -> None:
    """Also if its headers are cached, and if the target never ends."""
    with stage.playing(answering(OK)) as act:
        for _ in range(2):
            assert act.ask(path="/" + "x" * 1000).status == 200
            with act.client() as client:
                assert client.ask(act.request(path="/" + "x" * 1024)).status == 414
                assert client.is_closed()
        with act.client() as client:
            client.send(b"GET /" + b"x" * 1_000_000)
            assert client.answer().status == 414
        assert len(act.origin.heads) == 2


# Bodies


def test_a_body_over_its_bound_is_413_at_once(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act:
        assert act.ask(method="POST", body=b"x" * 1024).status == 200
        with act.client() as client:
            client.send(act.request("Content-Length: 1025", method="POST"))
            got = client.answer()
            assert got.status == 413 and b'"content_too_large"' in got.body
            assert client.is_closed()
        assert len(act.origin.heads) == 1


def test_a_client_that_sends_the_whole_body_first_still_reads_413(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act, act.client() as client:
        body = b"x" * 500_000
        assert client.ask(act.request(method="POST", body=body)).status == 413
        assert not act.origin.heads


def test_a_client_that_expects_100_continue_gets_413(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act, act.client() as client:
        client.send(act.request("Expect: 100-continue", "Content-Length: 9999", method="PUT"))
        assert client.answer().status == 413


def chunks(size: int, number: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size) * number


def test_chunks_that_pass_the_bound_are_413_and_cut_for_the_upstream(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        read_body(wire, wire.head())
        wire.send(OK)

    chunked = "Transfer-Encoding: chunked"
    with stage.playing(script) as act:
        whole = act.request(chunked, method="POST", body=chunks(512, 2) + b"0\r\n\r\n")
        with act.client() as client:
            assert client.ask(whole).status == 200
    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(chunked, method="POST") + chunks(512, 2))
        until(lambda: act.origin.wires and act.origin.wire().seen.endswith(b"x\r\n"))
        client.send(chunks(1, 1))
        assert client.answer().status == 413
        assert client.is_closed()
        until(act.origin.is_done)
        seen = bytes(act.origin.wire().seen)
        assert b"\r\n0\r\n" not in seen and seen.count(b"x" * 512) == 2


def test_a_whole_body_that_passes_the_bound_in_one_piece_is_413_too(stage: Stage) -> None:
    with stage.playing(lambda wire: wire.rest() and None) as act, act.client() as client:
        body = chunks(1025, 1) + b"0\r\n\r\n"
        client.send(act.request("Transfer-Encoding: chunked", method="POST", body=body))
        assert client.answer().status == 413
        until(act.origin.is_done)
        assert b"\r\n0\r\n" not in act.origin.wire().seen


def test_chunks_over_the_limit_during_an_answer_cut_it(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")
        wire.rest()

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request("Transfer-Encoding: chunked", method="POST") + chunks(9, 1))
        assert client.until(b"hel").endswith(b"hel")
        client.send(chunks(999, 2))
        assert client.rest() == b""
        until(act.origin.is_done)


def test_a_route_may_take_more_or_less_than_the_others(deploy: Start) -> None:
    with Origin((answering(OK),)) as origin:
        routes = [
            {"path": "/more", "upstream": origin.url, "body_bytes": "none"},
            {"path": "/less", "upstream": origin.url, "body_bytes": 10},
            {"path": "/", "upstream": origin.url},
        ]
        live = deploy(
            "", routes=routes, access={"default": "public"}, limits={"body_bytes": "1KiB"}
        )
        for path, size, status in (
            ("/more", 5000, 200),
            ("/less", 11, 413),
            ("/less", 10, 200),
            ("/", 1024, 200),
            ("/", 1025, 413),
        ):
            head = get(path, f"Content-Length: {size}", host=live.host).replace(b"GET", b"PUT", 1)
            with live.client() as client:
                assert client.ask(head + b"x" * size).status == status


# Connections


def test_after_so_many_requests_the_connection_is_closed(stage: Stage) -> None:
    """Both code paths count in the same way."""
    with stage.playing(answering(OK)) as act:
        for method in ("GET", "POST"):
            with act.client() as client:
                for number in range(3):
                    got = client.ask(act.request(method=method))
                    assert got.values(b"connection") == ([b"close"] if number == 2 else [])
                assert client.is_closed()


def test_pipelined_requests_beyond_the_last_one_are_not_answered(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act, act.client() as client:
        client.send(act.request() * 5)
        assert [client.answer().body for _ in range(3)] == [b"ok"] * 3
        assert client.is_closed()
        assert len(act.origin.heads) == 3


@contextmanager
def held(live: Live, count: int) -> Iterator[list[Client]]:
    """Open connections that the server has counted; it may not have noticed yet that others have
    closed."""
    with ExitStack() as stack:
        until(lambda: is_let_in(live))
        clients: list[Client] = []

        def one_more() -> bool:
            client = stack.enter_context(live.client())
            try:
                let_in = client.ask(HEALTH).status == 200
            except OSError:  # refused, and reset as the request was not read
                let_in = False
            if let_in:
                clients.append(client)
            return let_in

        for _ in range(count):
            until(one_more)
        yield clients


def is_let_in(live: Live) -> bool:
    with live.client() as client:
        try:
            return client.ask(HEALTH).status == 200
        except OSError:  # refused, and reset as the request was not read
            return False


def refusal(live: Live) -> bytes:
    with live.client() as client:
        return client.rest()


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
def test_a_connection_over_the_limit_is_refused_and_others_are_served(
    deploy: Start, limit: str
) -> None:
    live = deploy("http://127.0.0.1:9", limits={limit: 5})
    with held(live, 5) as clients:
        said = refusal(live)
        assert said.startswith(b"HTTP/1.1 503 ") and b"retry-after: " in said
        assert not is_let_in(live)
        for client in clients:
            assert client.ask(HEALTH).status == 200
        clients.pop().close()
        until(lambda: is_let_in(live))
    assert live.admin("/healthz").status_code == 200


def test_a_trusted_proxy_can_have_more_connections(deploy: Start) -> None:
    live = deploy(
        "http://127.0.0.1:9",
        limits={"connections_per_address": 2},
        trusted_proxies=["127.0.0.0/8"],
    )
    with held(live, 5):
        assert is_let_in(live)


def test_counts_are_by_address_however_it_is_spelt() -> None:
    counts = Counts(9, 2, (ip_network("10.0.0.0/8"), "unix"))
    addresses = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::ffff:2"]
    places = [counts.enter(address) for address in [*addresses, *["10.1.2.3"] * 3]]
    assert all(places)
    assert not counts.enter("192.0.2.1")
    assert not counts.enter("2001:db8::3"), "whoever has one address has the whole /64"
    places.append(counts.enter(""))
    assert places[-1], "a unix socket has no address"
    assert not counts.enter("192.0.2.3"), "nine in all"
    leave(places.pop(0))
    places.append(counts.enter("192.0.2.1"))
    assert places[-1]
    for place in places:
        leave(place)
        leave(place)
    assert counts.all == 0 and not counts.by_address, "nothing is left behind"


def leave(place: Place | None) -> None:
    assert place is not None
    place.leave()


def test_a_connection_counts_for_its_client_once_known() -> None:
    counts = Counts(9, 1, (ip_network("10.0.0.0/8"),))
    first, second = counts.enter("10.0.0.1"), counts.enter("10.0.0.1")
    assert first is not None and second is not None
    assert first.move("192.0.2.1") and not second.move("192.0.2.1")
    assert (counts.all, len(counts.by_address)) == (2, 1)
    second.leave()
    first.leave()
    assert counts.all == 0 and not counts.by_address


def test_without_a_limit_nothing_is_counted() -> None:
    counts = Counts(None, None, ())
    assert all(counts.enter("192.0.2.1") for _ in range(100))
    assert not counts.by_address


# Requests at a time


@pytest.mark.parametrize("fast_lane", [True, False])
def test_requests_to_an_upstream_are_limited_queued_or_refused(
    deploy: Start, fast_lane: bool
) -> None:
    may_go: list[bool] = []

    def script(wire: Wire) -> None:
        while wire.head():
            until(lambda: may_go)
            wire.send(OK)

    with Origin((script,)) as origin:
        bounds = {"requests": 2, "queue": 2, "wait": "1h"}
        live = deploy(
            "",
            routes=[{"upstream": origin.url, "concurrency": bounds}],
            access={"default": "public"},
            fast_lane=fast_lane,
            log={"access": True},
        )
        with ExitStack() as stack:
            clients = [stack.enter_context(live.client()) for _ in range(4)]
            for number, client in enumerate(clients):
                client.send(get(f"/{number}", host=live.host))
                until(lambda number=number: len(origin.heads) == min(number + 1, 2))  # type: ignore[misc]
            until(lambda: live.get("/too-many").status == 503)
            got = live.get("/too-many")
            assert b'"overloaded"' in got.body and got.values(b"retry-after")
            clients.pop().close()  # a client that stops waiting makes room in the queue
            live.until_it_says('"/3"')
            clients.append(stack.enter_context(live.client()))
            assert clients[-1].ask(HEALTH).status == 200  # known before the one that is too many
            clients[-1].send(get("/in-line", host=live.host))
            until(lambda: live.get("/too-many").status == 503)
            assert len(origin.heads) == 2
            may_go.append(True)
            for client in clients:
                assert client.answer().body == b"ok"
            assert live.get("/after").status == 200
            assert not any(head.startswith(b"GET /3 ") for head in origin.heads)


def test_a_request_that_waits_too_long_is_503(deploy: Start) -> None:
    with Origin((silent,)) as origin:
        bounds = {"requests": 1, "wait": "200ms"}  # the place is never free
        routes = [{"upstream": origin.url, "concurrency": bounds}]
        live = deploy("", routes=routes, access={"default": "public"}, users=[config_user()])
        with live.client() as first:
            first.send(get("/first", host=live.host))
            until(lambda: origin.heads)
            assert live.get("/second").status == 503
        until(lambda: origin.is_done())


def test_a_process_raises_its_descriptor_limit(stage: Stage) -> None:
    row = next(
        line
        for line in Path(f"/proc/{stage.live.pid}/limits").read_text().splitlines()
        if line.startswith("Max open files")
    )
    soft, hard = row.split()[3:5]
    assert int(soft) >= min(int(hard), 65536)


@pytest.mark.parametrize(
    ("descriptors", "lowered", "level"), [(64, 1, "warning"), (1024, 448, "info")]
)
def test_a_very_low_connection_limit_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, lowered: int, level: str
) -> None:
    """For example under a service manager with `LimitNOFILE=64`: a single browser would get 503."""
    monkeypatch.setattr("resource.getrlimit", lambda which: (descriptors, descriptors))
    with capture_logs() as logs:
        fitted = fit_descriptors(settings_from({"routes": [{"upstream": "http://a"}]}))
    assert fitted.limits.connections == lowered
    assert [line["log_level"] for line in logs] == [level]
