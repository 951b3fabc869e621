"""Other parts of messages: interim answers, expectations, trailers, methods."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.conftest import Start
from tests.support.corpora import corpus
from tests.support.origin import OK, answering
from tests.support.stage import Act, Stage, staged
from tests.support.waiting import PATIENCE_S
from tests.support.wire import Wire, get, read_body, values_of

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TOLD = ("Expect: 100-continue", "Content-Length: 5")


@pytest.fixture(scope="module")
def stage(deploy: Start, fast_lane: bool) -> Stage:
    return staged(deploy, fast_lane=fast_lane)


# Interim answers (RFC 9110 15.2)


def test_early_hints_come_before_the_answer(stage: Stage) -> None:
    processing = b"HTTP/1.1 102 Processing\r\n\r\n"

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(HINTS)
        wire.read(1)  # the client's body, sent after it has got the hints

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(method="POST", body=b"12")[:-1])
        hints = client.answer()
        assert (hints.status, hints.values(b"link")) == (103, [b"</x>"])
        assert not hints.values(b"connection") and not hints.values(b"x-hop")
    with stage.playing(answering(HINTS + processing + OK)) as act, act.client() as client:
        for _ in range(2):
            client.send(act.request())
            assert [client.answer().status for _ in range(3)] == [103, 102, 200]


def test_http_1_0_gets_no_interim_answers(stage: Stage) -> None:
    with stage.playing(answering(HINTS + OK)) as act, act.client() as client:
        client.send(act.request("Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.answer().status == 200
        assert values_of(act.origin.heads[0], b"expect") == []


def test_the_upstream_decides_whether_to_send_100_continue(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        assert values_of(wire.head(), b"expect") == [b"100-continue"]
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.read(5) == b"hello"
        wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(*TOLD, method="POST"))
        assert client.answer().status == 100
        client.send(b"hello")
        assert client.answer().body == b"ok", "and there was one 100 only"


def test_an_upstream_that_does_not_want_the_body_does_not_get_it(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        assert wire.rest() == b""

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(*TOLD, method="POST"))
        refused = client.answer()
        assert (refused.status, refused.body) == (413, b"no")
        assert client.is_closed(), "or the body that may come would be taken for a request"


def test_a_body_that_was_not_asked_for_is_not_awaited_once_an_answer_begins(stage: Stage) -> None:
    """A 100 in the middle of an answer would become a part of its body."""
    seen = threading.Event()
    rest = b"3\r\n, I\r\n0\r\n\r\n"

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"2\r\nno\r\n")
        assert seen.wait(PATIENCE_S)
        wire.send(rest)
        assert wire.rest() == b""

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(*TOLD, method="POST"))
        assert client.until(b"no\r\n").startswith(b"HTTP/1.1 413 ")
        seen.set()
        assert client.until(b"0\r\n\r\n") == rest


def test_an_unrequested_100_continue_is_dropped(stage: Stage) -> None:
    with stage.playing(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)) as act:
        assert act.ask().status == 200


def test_another_expectation_is_417(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act:
        assert act.ask("Expect: 200-ok").status == 417
        assert not act.origin.wires


def test_a_client_may_send_its_body_without_waiting(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        assert read_body(wire, wire.head()) == b"hello"
        wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(*TOLD, method="POST", body=b"hello"))
        first = client.answer().status
        assert first in (100, 200)
        if first == 100:
            assert client.answer().status == 200


# Trailers (RFC 9110 6.5)

SAFE = b"X-Checksum: abc\r\nx-two: 1\r\nX-Two: 2\r\n"
UNSAFE = (
    b"Remote-User: admin\r\nRemote_User: admin\r\nSet-Cookie: doorward=x\r\n"
    b"Authorization: x\r\nHost: b\r\n"
    b"Cookie: a=b\r\nLocation: /x\r\nContent-Type: a/b\r\nCache-Control: public\r\n"
)
KEPT = [(b"x-checksum", b"abc"), (b"x-two", b"1"), (b"x-two", b"2")]


def test_trailers_of_an_answer_reach_the_client(stage: Stage) -> None:
    announced = CHUNKED.replace(b"\r\n\r\n", b"\r\nTrailer: X-Checksum\r\n\r\n")
    answer = announced + b"2\r\nok\r\n0\r\n" + SAFE + UNSAFE + b"\r\n"
    with stage.playing(answering(answer)) as act, act.client() as client:
        for _ in range(2):
            got = client.ask(act.request("TE: trailers", "Connection: TE"))
            assert (got.body, got.trailers) == (b"ok", KEPT)
            assert got.values(b"trailer") == [b"X-Checksum"]
        assert values_of(act.origin.heads[0], b"te") == [b"trailers"]
        client.send(act.request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.rest().endswith(b"\r\n\r\nok")


def test_trailers_of_a_request_reach_the_origin(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        assert wire.until(b"\r\n\r\n").startswith(b"2\r\nok\r\n0\r\nx-checksum: abc\r\n")
        wire.send(OK)
        assert b"admin" not in wire.seen and b"a=b" not in wire.seen

    body = b"2\r\nok\r\n0\r\n" + SAFE + UNSAFE + b"\r\n"
    with stage.playing(script) as act, act.client() as client:
        request = act.request("Transfer-Encoding: chunked", method="POST", body=body)
        assert client.ask(request).status == 200
        seen = bytes(act.origin.wire().seen)
        assert seen.endswith(b"0\r\nx-checksum: abc\r\nx-two: 1\r\nx-two: 2\r\n\r\n")


# Methods and targets


@pytest.mark.parametrize("method", ["BREW", "VERSION-CONTROL", "M-SEARCH", "PROPFIND", "X", "A.B"])
def test_an_unknown_method_is_forwarded(stage: Stage, method: str) -> None:
    with stage.playing(answering(OK)) as act, act.client() as client:
        for body in (b"", b"hello"):
            assert client.ask(act.request(method=method, body=body)).status == 200
        assert [head.split()[0] for head in act.origin.heads] == [method.encode()] * 2


def test_options_with_an_asterisk_is_forwarded(stage: Stage, deploy: Start) -> None:
    with stage.playing(answering(OK)) as act:
        live = deploy(act.origin.url, access={"default": "public"})
        for target in ("*", "http://app.test"):
            with live.client() as client:
                client.send(f"OPTIONS {target} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
                assert client.answer().status == 200
        assert [head.split()[1] for head in act.origin.heads] == [b"*", b"*"]
        with live.client() as client:
            client.send(get("http://APP.test/x?").replace(b"Host: app", b"Host: App"))
            assert client.answer().status == 200
        assert act.origin.heads[-1].startswith(b"GET /x? HTTP/1.1\r\nhost: app.test\r\n")


@pytest.mark.parametrize(
    ("method", "said", "status", "passed"),
    [
        ("OPTIONS", "0", 200, None),
        ("TRACE", "0", 405, None),
        ("OPTIONS", "3", 200, b"2"),
        ("TRACE", "1", 200, b"0"),
        ("GET", "0", 200, b"0"),
        ("OPTIONS", "-1", 400, None),
    ],
)
def test_hops_are_counted(
    stage: Stage, method: str, said: str, status: int, passed: bytes | None
) -> None:
    """RFC 9110 7.6.2."""
    with stage.playing(answering(OK)) as act:
        answer = act.ask(f"Max-Forwards: {said}", method=method)
        assert answer.status == status
        assert len(act.origin.heads) == (passed is not None)
        if passed is None:
            assert bool(answer.values(b"allow")) == (status != 400)
        else:
            assert values_of(act.origin.heads[0], b"max-forwards") == [passed]


def test_empty_lines_before_a_request_are_skipped(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act, act.client() as client:
        for _ in range(2):
            assert client.ask(b"\r\n\r\n" + act.request()).status == 200


# Valid, but unusual


@pytest.mark.parametrize(
    "line",
    ["Expect: 100-continue \t", "Max-Forwards: many", "Max-Forwards: 1\r\nMax-Forwards: 2"],
)
def test_irrelevant_header_details_are_accepted(stage: Stage, line: str) -> None:
    """RFC 9110 5.5, 7.6.2: space around a value, and Max-Forwards with GET."""
    with stage.playing(answering(OK)) as act:
        assert act.ask(line).status == 200


def test_headers_that_connection_lists_are_not_forwarded(stage: Stage) -> None:
    """RFC 9110 7.6.1, also for headers that Doorward reads."""
    named = (b"cookie", b"authorization", b"x-http-method-override", b"max-forwards", b"x-a")
    said = {b"cookie": b"a=b", b"max-forwards": b"3"}
    lines = [f"{name.decode()}: {said.get(name, b'x').decode()}" for name in named]
    with stage.playing(answering(OK)) as act:
        assert act.ask("Connection: " + b", ".join(named).decode(), *lines).status == 200
        assert not any(values_of(act.origin.heads[0], name) for name in named)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /r0/ HTTP/1.1\r\n\r\n",
        b"GET /r0/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /r0/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET /r0/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /r0/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /r0/ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_nothing_is_read_after_a_refused_request(stage: Stage, request_: bytes) -> None:
    with stage.playing(answering(OK)) as act, stage.live.client() as client:
        client.send(request_ + act.request())
        answer = client.answer()
        assert (answer.status, answer.values(b"connection")) == (400, [b"close"])
        assert client.is_closed()
        assert not act.origin.heads


@pytest.mark.parametrize("behind", [b"nonsense\r\n\r\n", b"G@T / HTTP/1.1\r\n\r\n", b"\0"])
def test_a_request_before_a_refused_one_is_answered(stage: Stage, behind: bytes) -> None:
    def script(wire: Wire) -> None:
        for _ in range(2):
            wire.head()
            wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request() + act.request(method="POST", body=b"hi") + behind)
        assert [client.answer().status for _ in range(3)] == [200, 200, 400]
        assert client.is_closed()
        assert len(act.origin.heads) == 2


def test_bytes_after_a_last_request_are_ignored(stage: Stage) -> None:
    with stage.playing(answering(OK)) as act, act.client() as client:
        with contextlib.suppress(OSError):
            client.send(act.request("Connection: close") + act.request() * 5000)
        assert client.answer().status == 200
        assert len(act.origin.heads) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ("Expect: 100-continue", "Content-Length: 3"),
        ("Expect: 100-continue", "Connection: upgrade", "Upgrade: echo/1"),
    ],
)
def test_an_invalid_request_after_a_closing_answer_is_ignored(
    stage: Stage, lines: tuple[str, ...]
) -> None:
    """The answer says that it is the last, and nothing can be sent after it."""
    ready, asked = threading.Event(), threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        asked.set()
        assert ready.wait(PATIENCE_S)
        wire.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")

    before = stage.live.log.read_text()
    with stage.playing(script) as act, act.client() as client:
        client.send(act.request(*lines, method="POST") + b"hi!nonsense\r\n\r\n")
        assert asked.wait(PATIENCE_S)
        ready.set()
        answer = client.answer()
        assert (answer.status, answer.values(b"connection")) == (417, [b"close"])
        assert client.is_closed()
    assert "Fatal error" not in stage.live.log.read_text().removeprefix(before)


# Byte by byte


def dribble(wire: Wire, data: bytes) -> None:
    wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):  # it was refused before its end
        for at in range(len(data)):
            wire.send(data[at : at + 1])


def legal(act: Act) -> list[bytes]:
    chunks = b"2\r\nok\r\n1;x=y\r\n!\r\n0\r\nX-T: 1\r\n\r\n"
    return [
        act.request(),
        act.request("X: y", method="BREW"),
        b"\r\n" + act.request(method="POST", body=b"hello"),
        act.request("Transfer-Encoding: chunked", method="PUT", body=chunks),
        act.request("Content-Length: 0", method="DELETE"),
    ]


def test_a_request_can_arrive_byte_by_byte(stage: Stage) -> None:
    def script(wire: Wire) -> None:
        while head := wire.head():
            if values_of(head, b"transfer-encoding"):
                wire.until(b"\r\n\r\n")
            else:
                read_body(wire, head)
            wire.send(OK)

    with stage.playing(script) as act, act.client() as client:
        for request in legal(act):
            dribble(client, request)
            assert client.answer().status == 200, request
        assert [head.split()[0] for head in act.origin.heads] == (
            [b"GET", b"BREW", b"POST", b"PUT", b"DELETE"]
        )


@pytest.mark.parametrize("request_", corpus("requests_refused.txt"), ids=ascii)
def test_a_refused_request_is_refused_byte_by_byte(stage: Stage, request_: bytes) -> None:
    with stage.live.client() as client:
        dribble(client, request_ + get("/r0/smuggled", host="a"))
        assert client.answer().status in (400, 0)


def test_an_answer_can_arrive_byte_by_byte(stage: Stage) -> None:
    whole = HINTS + CHUNKED + b"2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"

    def script(wire: Wire) -> None:
        for answer in (whole, OK):
            wire.head()
            dribble(wire, answer)

    with stage.playing(script) as act, act.client() as client:
        client.send(act.request())
        assert client.answer().status == 103
        got = client.answer()
        assert (got.body, got.whole, got.trailers) == (b"ok", True, [(b"x-t", b"1")])
        assert client.ask(act.request()).body == b"ok"


def test_doorwards_own_answers_have_one_date(stage: Stage) -> None:
    """RFC 9110 6.6.1."""
    for target in ("/.doorward/login", "/.doorward/nothing", "/r0/../", "/elsewhere"):
        assert len(stage.live.get(target).values(b"date")) == 1, target
    with stage.live.client() as client:
        client.send(b"nonsense\r\n\r\n")
        assert len(client.answer().values(b"date")) == 1


def test_space_after_a_length_is_ignored(stage: Stage) -> None:
    """RFC 9110 5.5."""
    with stage.playing(answering(OK)) as act:
        assert act.ask("Content-Length: 5 \t", method="POST", body=b"hello").status == 200
        assert values_of(act.origin.heads[0], b"content-length") == [b"5"]
