"""Requests to failing upstreams, single ones or one of several, from the client's view."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Start
from tests.support.live import Live, free_port
from tests.support.origin import OK, Origin, answering, silent
from tests.support.stage import PATIENT, Stage, staged
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Answer, Wire, get, read_body

HASTY = {"response": "2s"}  # for origins that do not answer
SILENCE = ("silence", "an interim answer and silence")
SYN_SENT = "02"  # in /proc/net/tcp
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def stage(request: pytest.FixtureRequest, deploy: Start) -> Stage:
    return staged(deploy, HASTY, fast_lane=request.param)


def closing(wire: Wire) -> None:
    wire.head()


def resetting(wire: Wire) -> None:
    wire.head()
    wire.reset()


def saying(data: bytes) -> Any:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(data)

    return script


FAULTS = {
    "closes at once": (lambda wire: None, 502),
    "closes after the request": (closing, 502),
    "resets": (resetting, 502),
    "half a head": (saying(b"HTTP/1.1 200 OK\r\nX: "), 502),
    "no HTTP": (saying(b"SSH-2.0-x\r\n\r\n"), 502),
    "two lengths": (
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
        502,
    ),
    "a bad length": (saying(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nx"), 502),
    "silence": (silent, 504),
    "an interim answer and silence": (
        lambda wire: [wire.head(), wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n"), wire.rest()],
        504,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_fault_has_its_status_and_leaves_no_connection(
    stage: Stage, fault: str, method: str
) -> None:
    """On a new and on a kept connection."""
    script, status = FAULTS[fault]

    def well_once(wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        with contextlib.suppress(OSError):
            script(wire)

    for scripts in ((script,), (well_once, script)):
        with stage.playing(*scripts, hasty=fault in SILENCE) as act:
            if scripts[0] is well_once:
                assert act.ask().status == 200
            with act.client() as client:
                client.send(act.request(method=method))
                while (got := client.answer()).status == 103:
                    pass
                assert got.status == status and got.whole
            until(act.origin.is_done)
            for wire in act.origin.wires:
                with contextlib.suppress(OSError):
                    wire.rest()


def test_an_unreachable_upstream_is_502(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act:
        pass
    got = act.ask()
    assert got.status == 502 and b'"bad_gateway"' in got.body


def test_a_stale_connection_is_tried_again_once(stage: Stage) -> None:
    """Many may be stale at once, so the retry uses a new connection."""
    barrier = threading.Barrier(4)

    def stale(wire: Wire) -> None:
        wire.head()
        barrier.wait(PATIENCE_S)
        wire.send(OK)
        wire.head()

    with stage.playing(*([stale] * 4), answering(OK)) as act, ExitStack() as stack:
        clients = [stack.enter_context(act.client()) for _ in range(4)]
        for client in clients:
            client.send(act.request())
        for client in clients:
            assert client.answer().status == 200
        assert act.ask().status == 200
        assert len(act.origin.wires) == 5
        tries = len(act.origin.heads) - 4
        assert tries in (2, 3), "the lane's own, the kept one, the fresh one"


def test_an_upstream_that_closes_its_kept_connections_leaves_no_zombie(stage: Stage) -> None:
    def descriptors() -> int:
        return len(list(Path(f"/proc/{stage.live.pid}/fd").iterdir()))

    with stage.playing(answering(OK)) as act, ExitStack() as stack:
        before = descriptors()
        clients = [stack.enter_context(act.client()) for _ in range(10)]
        for client in clients:
            client.send(act.request())
        for client in clients:
            assert client.answer().status == 200
        for wire in act.origin.wires:
            wire.sock.shutdown(socket.SHUT_RDWR)
        stack.close()
        until(lambda: descriptors() <= before)


def test_a_client_that_leaves_while_connecting_leads_to_no_request(deploy: Start) -> None:
    """No connection is accepted: with a full backlog, further connections wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex((host, port))
        route = {"upstream": f"http://{host}:{port}", "timeouts": PATIENT}
        live = deploy("", routes=[route], access={"default": "public"})
        before = count_connecting(port)
        client = live.client()
        client.send(get("/left", host=live.host))
        until(lambda: count_connecting(port) > before, "for the connection to be requested")
        client.reset()
        until(lambda: count_connecting(port) == before, "for it to be given up")
        listener.settimeout(2)  # what follows is that nothing more comes
        seen = b""
        with contextlib.suppress(TimeoutError):
            for _ in range(8):
                accepted, _ = listener.accept()
                accepted.settimeout(2)  # that it says nothing
                with contextlib.suppress(OSError), accepted:
                    if accepted.getpeername() not in [s.getsockname() for s in waiting]:
                        seen += accepted.recv(1000)
        assert b"/left" not in seen
        for sock in waiting:
            sock.close()


def count_connecting(port: int) -> int:
    """The number of sockets on this machine whose connection to this port is not accepted yet."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == SYN_SENT for row in rows)


# Several upstreams


@contextmanager
def several(deploy: Start, *scripts: Any, **route: Any) -> Iterator[tuple[Live, list[Origin]]]:
    with ExitStack() as stack:
        origins = [stack.enter_context(Origin((script,))) for script in scripts]
        upstream = [origin.url for origin in origins]
        routes = [{"upstream": upstream, "timeouts": PATIENT} | route]
        yield deploy("", routes=routes, access={"default": "public"}), origins


def ask(live: Live, method: str, body: bytes = b"") -> Answer:
    head = get("/", f"Content-Length: {len(body)}", host=live.host)
    with live.client() as client:
        return client.ask(head.replace(b"GET", method.encode(), 1) + body)


@pytest.mark.parametrize("fault", ["closes after the request", "resets", "no HTTP", "silence"])
def test_a_repeatable_request_is_retried_on_another_upstream(deploy: Start, fault: str) -> None:
    timeouts = HASTY if fault in SILENCE else PATIENT
    with several(deploy, FAULTS[fault][0], answering(OK), timeouts=timeouts) as (live, (_, good)):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            for _ in range(2):
                assert ask(live, method).status == 200
        assert len(good.heads) == 8


@pytest.mark.parametrize("fault", ["no HTTP", "silence"])
def test_a_kept_connection_that_fails_otherwise_goes_elsewhere_too(
    deploy: Start, fault: str
) -> None:
    def well_once(wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        FAULTS[fault][0](wire)

    timeouts = HASTY if fault in SILENCE else PATIENT
    with several(deploy, well_once, answering(OK), timeouts=timeouts) as (live, _):
        for _ in range(6):
            assert live.get("/").status == 200


def test_an_unrepeatable_request_is_not_retried_on_another_upstream(deploy: Start) -> None:
    failover = {"failures": 100}
    with several(deploy, closing, answering(OK), failover=failover) as (live, (bad, good)):
        statuses = sorted(ask(live, "POST").status for _ in range(4))
        assert statuses == [200, 200, 502, 502]
        statuses = sorted(ask(live, "PUT", b"x").status for _ in range(4))
        assert statuses == [200, 200, 502, 502]
        assert len(bad.heads) == 4 and len(good.heads) == 4


def test_without_a_connection_any_request_tries_another_upstream(deploy: Start) -> None:
    got: list[bytes] = []

    def script(wire: Wire) -> None:
        while head := wire.head():
            got.append(read_body(wire, head))
            wire.send(OK)

    with Origin((script,)) as origin:
        upstream = [f"http://127.0.0.1:{free_port()}", origin.url]
        live = deploy("", routes=[{"upstream": upstream}], access={"default": "public"})
        for number in range(4):
            assert ask(live, "POST", b"%d" % number).status == 200
        assert got == [b"0", b"1", b"2", b"3"]


def test_a_failing_upstream_is_removed_and_returns(deploy: Start) -> None:
    well: list[bool] = []
    asked_at: list[float] = []

    def moody(wire: Wire) -> None:
        while wire.head():
            asked_at.append(time.monotonic())
            if not well:
                return
            wire.send(OK)

    failover = {"failures": 2, "within": "1h", "pause": "2s"}  # may be over at any moment
    with several(deploy, moody, answering(OK), failover=failover) as (live, _):
        until(lambda: live.get("/").status == 200 and len(asked_at) >= 2)
        well.append(True)
        until(lambda: live.get("/").status == 200 and len(asked_at) > 2)
        assert asked_at[2] - asked_at[1] > 1.9
        live.until_it_says("upstream_out")
        live.until_it_says("upstream_back")


def test_requests_under_way_go_to_different_upstreams(deploy: Start) -> None:
    may_go: list[bool] = []

    def script(wire: Wire) -> None:
        while wire.head():
            until(lambda: may_go)
            wire.send(OK)

    with several(deploy, script, script, script) as (live, origins), ExitStack() as stack:
        routes = live.settings["routes"]
        assert len(routes[0]["upstream"]) == 3
        clients = [stack.enter_context(live.client()) for _ in range(3)]
        for client in clients:
            client.send(get("/", host=live.host))
        until(lambda: [len(origin.heads) for origin in origins] == [1, 1, 1])
        may_go.append(True)
        assert all(client.answer().status == 200 for client in clients)


# Health and maintenance


def test_an_unhealthy_upstream_gets_no_requests_until_it_is_healthy(deploy: Start) -> None:
    ill: list[bool] = []

    def script(wire: Wire) -> None:
        head = wire.head()
        bad = ill and head.startswith(b"GET /health ")
        wire.send(OK.replace(b"200 OK", b"500 No") if bad else OK)

    health = {"path": "/health", "interval": "50ms", "timeout": "1h", "failures": 1}
    with several(deploy, script, health=health) as (live, (origin,)):
        assert live.get("/").status == 200
        ill.append(True)
        until(lambda: live.get("/").status == 503)
        got = live.get("/")
        assert b'"unavailable"' in got.body and got.values(b"retry-after")
        ill.clear()
        until(lambda: live.get("/").status == 200)
        assert any(b"user-agent: doorward-health\r\n" in head.lower() for head in origin.heads)


def test_a_maintenance_page_is_served_while_no_upstream_is_reachable(
    deploy: Start, tmp_path: Path
) -> None:
    page = tmp_path / "maintenance.html"
    page.write_text("<p>Back at noon.</p>")
    port = free_port()
    route = {"upstream": f"http://127.0.0.1:{port}", "maintenance": str(page)}
    live = deploy("", routes=[route], access={"default": "public"})
    for lines in ([], ["Accept: text/html", "Sec-Fetch-Mode: navigate"]):
        got = live.get("/", *lines)
        assert (got.status, got.body) == (503, b"<p>Back at noon.</p>")
        assert got.values(b"content-type")[0].startswith(b"text/html")
        assert got.values(b"retry-after") and got.values(b"cache-control") == [b"no-store"]
    with live.client() as client:
        head = client.ask(get("/", host=live.host).replace(b"GET", b"HEAD", 1))
        assert (head.status, head.body) == (503, b"")
    with Origin((answering(OK),), port=port):
        assert live.get("/").status == 200


def test_an_unreadable_page_is_reported_before_anything_starts(
    deploy: Start, tmp_path: Path
) -> None:
    live = deploy("http://127.0.0.1:9")
    text = live.config.read_text().replace(
        "routes:\n", f"routes:\n- {{upstream: 'http://a', host: a, maintenance: {tmp_path}/no}}\n"
    )
    live.config.write_text(text)
    done = live.command("config", "check")
    assert done.returncode == 2
    assert "routes[0].maintenance" in done.stderr and "No such file" in done.stderr
