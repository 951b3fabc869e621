"""Requests over raw sockets: framing, limits in bytes, reuse of connections."""

from __future__ import annotations

import time

import pytest

from tests.conftest import Start
from tests.support.corpora import corpus
from tests.support.origin import OK, answering
from tests.support.stage import Stage, staged
from tests.support.waiting import until
from tests.support.wire import Wire, get, read_body, values_of


@pytest.fixture(scope="module")
def stage(deploy: Start, fast_lane: bool) -> Stage:
    return staged(deploy, limits={"header_bytes": "16KiB"}, fast_lane=fast_lane)


@pytest.mark.parametrize("request_", corpus("requests_refused.txt"), ids=ascii)
def test_a_request_that_can_be_read_in_two_ways_is_refused(stage: Stage, request_: bytes) -> None:
    """CVE-2022-22720, CVE-2023-25690, CVE-2024-1135, CVE-2024-6827, CVE-2019-16785, CVE-2019-16786,
    CVE-2019-16789, CVE-2019-16792, CVE-2022-24761, CVE-2021-39214, CVE-2022-24766: smuggling.
    CVE-2026-71324: a proxied CONNECT. No server listens behind /r0, so 502 would mean that the
    request was forwarded."""
    smuggled = get("/r0/smuggled", host="a")
    with stage.live.client() as client:
        client.send(request_ + smuggled)
        assert client.answer().status in (400, 0), "refused, or cut where a head was whole before"


@pytest.mark.parametrize("target", corpus("paths_refused.txt"), ids=ascii)
def test_a_forbidden_path_is_refused_on_the_wire(stage: Stage, target: bytes) -> None:
    with stage.live.client() as client:
        client.send(b"GET " + target + b" HTTP/1.1\r\nHost: app.test\r\n\r\n")
        assert client.answer().status == 400


@pytest.mark.parametrize("host", corpus("hosts_refused.txt"), ids=ascii)
def test_a_malformed_host_is_refused_on_the_wire_too(stage: Stage, host: bytes) -> None:
    with stage.live.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert client.answer().status == 400


def test_a_refusal_in_a_page_keeps_no_half_read_body(stage: Stage) -> None:
    with stage.live.client() as client:
        client.send(b"POST /r0/../ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert client.answer().status == 400
        client.send(b"GET /" + get("/.doorward/healthz")[5:])
        assert client.answer().status in (0, 200, 400)


# Bytes


def test_a_head_over_its_limit_is_431(stage: Stage) -> None:
    for lines in (["X: " + "x" * 17_000], [f"X-{n}: {'x' * 100}" for n in range(170)]):
        with stage.live.client() as client:
            assert client.get("/", *lines).status == 431
            assert client.is_closed()
    with stage.live.client() as client:
        assert client.get("/" + "x" * 17_000).status == 414


def test_a_head_below_its_limit_passes(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act:
        assert act.ask("X: " + "x" * 15_000).status == 200


@pytest.mark.parametrize(
    "start", ["GET / HTTP/1.1\r\nHost: a\r\nX: ", "GET /", "GET / HTTP/1.1\r\nX"]
)
def test_a_line_without_end_is_refused_before_it_fills_memory(stage: Stage, start: str) -> None:
    """As for CVE-2026-26998: a parser keeps a line until its end."""
    with stage.live.client() as client:
        client.send(start.encode() + b"x" * 200_000)
        assert client.answer().status == (414 if start == "GET /" else 431)


@pytest.mark.parametrize("start", [b"0\r\nX: ", b"0\r\nX", b"5;x="])
def test_a_trailer_or_chunk_extension_without_end_is_refused(stage: Stage, start: bytes) -> None:
    """The parts of a chunked body besides its data are limited like a head (CVE-2024-22019)."""
    with stage.playing(lambda wire: read_body(wire, wire.head()) and None) as act:
        with act.client() as client:
            client.send(act.request("Transfer-Encoding: chunked", method="POST") + start)
            with pytest.raises(OSError):
                for _ in range(2000):
                    client.send(b"x" * 65536)


def test_many_small_trailers_are_bounded_too(stage: Stage) -> None:
    with stage.playing(lambda wire: read_body(wire, wire.head()) and None) as act:
        with act.client() as client:
            client.send(act.request("Transfer-Encoding: chunked", method="POST") + b"0\r\n")
            with pytest.raises(OSError):
                for _ in range(2000):
                    client.send(b"X: y\r\n" * 10_000)


@pytest.mark.parametrize(("lines", "status"), [(250, 200), (260, 431)])
def test_lines_of_trailers_count_as_those_of_a_head(stage: Stage, lines: int, status: int) -> None:
    """Thousands of lines `a:` fit into the size of a head, and each costs a callback."""

    def origin(wire: Wire) -> None:
        wire.head()
        wire.until(b"\r\n\r\n")
        wire.send(OK)

    with stage.playing(origin) as act, act.client() as client:
        chunked = act.request("Transfer-Encoding: chunked", method="POST")
        client.send(chunked + b"0\r\n" + b"a:\r\n" * lines + b"\r\n")
        assert client.answer().status == status


# Framing and reuse


def test_trailers_never_become_headers(stage: Stage) -> None:
    """Promise 2."""
    body = b"2\r\nok\r\n0\r\nRemote-User: admin\r\nHost: b\r\nCookie: c=1\r\n\r\n"

    def script(wire: Wire) -> None:
        for _ in range(2):
            read_body(wire, wire.head())
            wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        chunked = ("Transfer-Encoding: chunked", "Trailer: Remote-User, remote_user,X-End ,Host")
        assert client.ask(act.request(*chunked, method="POST", body=body)).status == 200
        assert client.ask(act.request()).status == 200
        seen = bytes(act.origin.wire().seen).lower()
        assert b"admin" not in seen and b"remote-user" not in seen and b"c=1" not in seen
        assert values_of(act.origin.heads[0], b"trailer") == [b"x-end"]


@pytest.mark.parametrize("size", [1, 2, 7, 50, 10_000])
def test_unknown_methods_can_follow_others(stage: Stage, size: int) -> None:
    """However the data are split, also after a body."""
    with stage.playing(answering(OK)) as act, act.client() as client:
        brew = act.request(method="BREW")
        post = act.request("Content-Length: 5", method="POST", body=b"a\r\n\r\n")
        requests = act.request() + brew + post + brew + brew + post + act.request()
        for at in range(0, len(requests), size):
            client.send(requests[at : at + size])
        assert [client.answer().status for _ in range(7)] == [200] * 7
        methods = [head.split(b" ")[0] for head in act.origin.heads]
        assert sorted(methods) == [b"BREW"] * 3 + [b"GET"] * 2 + [b"POST"] * 2


def test_two_spaces_that_arrive_separately_are_refused(stage: Stage) -> None:
    with stage.live.client() as client:
        for piece in (b"GET", b" ", b" ", b"/r0 HTTP/1.1\r\nHost: a\r\n\r\n"):
            client.send(piece)
            time.sleep(0.05)  # so that each piece arrives separately
        assert client.answer().status == 400


def test_pipelined_requests_are_answered_in_their_order(stage: Stage) -> None:
    def echo(wire: Wire) -> None:
        while head := wire.head():
            name = read_body(wire, head) or head.split(b" ")[1].rpartition(b"/")[2]
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    with stage.playing(echo) as act, act.client() as client:
        requests = [act.request(path=f"/{number}") for number in range(20)]
        requests[7] = act.request(method="POST", body=b"post")
        client.send(b"".join(requests))
        bodies = [client.answer().body for _ in requests]
        assert bodies[7] == b"post"
        del bodies[7]
        assert bodies == [b"%d" % number for number in range(20) if number != 7]


def test_http_1_0_is_answered_and_closed(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act, act.client() as client:
        client.send(act.request("Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"))
        got = client.answer()
        assert (got.body, got.values(b"connection")) == (b"ok", [b"close"])
        assert client.is_closed()
        assert act.origin.heads[0].split(b"\r\n")[0].endswith(b"HTTP/1.1")


def test_http_1_0_gets_no_chunks(stage: Stage) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with stage.playing(answering(chunked)) as act, act.client() as client:
        client.send(act.request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        got = client.answer()
        assert (got.values(b"transfer-encoding"), got.body) == ([], b"ok")


def test_connection_close_is_honoured(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act, act.client() as client:
        assert client.ask(act.request("Connection: close")).values(b"connection") == [b"close"]
        assert client.is_closed()
        assert values_of(act.origin.heads[0], b"connection") == []


def test_a_client_that_expects_100_continue_gets_it(stage: Stage) -> None:
    """Doorward sends 100 Continue if the upstream does not."""

    def script(wire: Wire) -> None:
        read_body(wire, wire.head())
        wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        lines = ("Expect: 100-continue", "Content-Length: 5")
        client.send(act.request(*lines, method="POST"))
        assert client.head().startswith(b"HTTP/1.1 100 ")
        client.send(b"hello")
        assert client.answer().body == b"ok"


def test_a_refusal_instead_of_continuing_allows_no_smuggling(stage: Stage) -> None:
    """RFC 9110 10.1.1: the client may omit the body then, so the connection is closed."""
    with stage.live.client() as client:
        client.send(get("/r0/../", "Expect: 100-continue", "Content-Length: 5"))
        got = client.answer()
        assert (got.status, got.values(b"connection")) == (400, [b"close"])
        assert client.is_closed()


def test_no_server_software_is_named(stage: Stage) -> None:
    with stage.live.client() as client:
        assert client.get("/.doorward/healthz").values(b"server") == []


def test_many_connections_leak_no_descriptors(stage: Stage) -> None:
    from pathlib import Path

    def descriptors() -> int:
        return len(list(Path(f"/proc/{stage.live.pid}/fd").iterdir()))

    before = descriptors()
    clients = [stage.live.client() for _ in range(50)]
    for number, client in enumerate(clients):
        client.send([b"", b"GET", b"GET / HTTP/1.1\r\n", get("/.doorward/healthz")][number % 4])
    for client in clients:
        client.close()
    until(lambda: descriptors() <= before + 1)
