"""A body with a known length is counted, not parsed, with the same result as llhttp for any
split."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from itertools import product
from typing import Any

import pytest
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.joining import JOINED_BYTES, Piece
from doorward.http1.response_head import ResponseHead
from doorward.server import request_parser
from doorward.server.protocol import protocol_with
from doorward.settings import LimitSettings

from tests.support.client_connection import Connections, Transport

HOST = b"Host: app.test\r\n"
STREAM = (
    b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
    b"GET /b HTTP/1.1\r\n" + HOST + b"\r\n"
    b"PUT /c HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\n\r\n\r"
    b"POST /d HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    b"POST /e HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n"
)
EXPECTED = [
    (b"POST", b"/a", b"hello"),
    (b"GET", b"/b", b""),
    (b"PUT", b"/c", b"\r\n\r"),
    (b"POST", b"/d", b"ok"),
    (b"POST", b"/e", b""),
]


class Recorder:
    """Answers each request once its body is complete, and records the bodies."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes, bytes]] = []

    def begin(self, exchange: ClientExchange) -> Coroutine[Any, Any, None]:
        return self._answer(exchange)

    async def _answer(self, exchange: ClientExchange) -> None:
        body, more = b"", True
        while more:
            message = await exchange.receive()
            assert message["type"] == "http.request" and type(message["body"]) is bytes
            body, more = body + message["body"], message["more_body"]
        self.requests.append((exchange.method, exchange.arrival.target, body))
        exchange.start_with(ResponseHead(200, [(b"content-length", b"0")]))
        exchange.end()


class Taker(Recorder):
    """The same, but gets the body through `give_body` instead of `receive`."""

    async def _answer(self, exchange: ClientExchange) -> None:
        self.start(exchange)

    def start(self, exchange: ClientExchange) -> None:
        exchange.give_body(_Body(self, exchange))


class EagerTaker(Taker):
    """The same without a task."""

    def begin(self, exchange: ClientExchange) -> None:  # type: ignore[override]
        self.start(exchange)


class _Body:
    is_ready = True

    def __init__(self, taker: Taker, exchange: ClientExchange) -> None:
        self.taker, self.exchange, self.body = taker, exchange, b""

    def take(self, data: Piece, *, more: bool) -> None:
        self.body += data
        if not more:
            exchange = self.exchange
            self.taker.requests.append((exchange.method, exchange.arrival.target, self.body))
            exchange.start_with(ResponseHead(200, [(b"content-length", b"0")]))
            exchange.end()


async def play(*pieces: bytes, by: type[Recorder] = Recorder) -> list[tuple[bytes, bytes, bytes]]:
    recorder, transport = by(), Transport()
    connection = protocol_with(LimitSettings(), None, recorder)(Connections())
    connection.connection_made(transport)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(20):
            await asyncio.sleep(0)
    assert not (transport.is_closed or transport.is_paused)
    connection.connection_lost(None)
    return recorder.requests


def cuts() -> Iterator[tuple[int, int]]:
    places = range(0, len(STREAM), 7)
    return ((first, last) for first, last in product(places, places) if first <= last)


@pytest.mark.parametrize("by_llhttp", [False, True])
@pytest.mark.parametrize("by", [Recorder, Taker, EagerTaker])
async def test_requests_are_the_same_wherever_they_are_cut(
    by: type[Recorder], by_llhttp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_llhttp:
        monkeypatch.setattr(request_parser, "read_request", lambda *args: None)
    for at in range(len(STREAM)):
        assert await play(STREAM[:at], STREAM[at:], by=by) == EXPECTED, at
    for first, last in cuts():
        assert await play(STREAM[:first], STREAM[first:last], STREAM[last:], by=by) == EXPECTED


LARGE = bytes(range(256)) * 160  # which is passed on without a copy
LARGE_STREAM = (
    b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(LARGE) + LARGE + STREAM
)


@pytest.mark.parametrize("by", [Recorder, Taker, EagerTaker])
async def test_a_large_body_is_whole_wherever_it_is_cut(by: type[Recorder]) -> None:
    expected = [(b"POST", b"/a", LARGE), *EXPECTED]
    end = len(LARGE_STREAM) - len(STREAM)
    for at in (1, 70, JOINED_BYTES, 2 * JOINED_BYTES, end - 1, end, end + 1, len(LARGE_STREAM)):
        assert await play(LARGE_STREAM[:at], LARGE_STREAM[at:], by=by) == expected, at


class Refuser(Recorder):
    """Refuses at once and closes the connection."""

    def begin(self, exchange: ClientExchange) -> None:  # type: ignore[override]
        self.requests.append((exchange.method, exchange.arrival.target, b""))
        exchange.keep_alive = False
        exchange.start_with(ResponseHead(400, [(b"content-length", b"0")]))
        exchange.end()


@pytest.mark.parametrize("cut", [0, 50, 90])
async def test_requests_after_a_refused_body_are_not_started(cut: int) -> None:
    refuser, transport = Refuser(), Transport()
    connection = protocol_with(LimitSettings(), None, refuser)(Connections())
    connection.connection_made(transport)
    for piece in (STREAM[:cut], STREAM[cut:]):
        connection.data_received(piece)
    for _ in range(20):
        await asyncio.sleep(0)
    assert refuser.requests == [(b"POST", b"/a", b"")]
    connection.connection_lost(None)
