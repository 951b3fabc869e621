"""Pipelined requests: all are answered in order, and at most one read of them is kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.response_head import ResponseHead
from doorward.server.pipeline import TURNS
from doorward.server.protocol import Protocol, protocol_with
from doorward.settings import LimitSettings

from tests.conftest import Start
from tests.support.client_connection import Connections, Transport
from tests.support.origin import OK, Origin, answering
from tests.support.wire import get

HOST = b"Host: app.test\r\n"
# The maximum size of one read of the event loop, filled with requests of different kinds.
READ_BYTES = 256 * 1024
HEAD = ResponseHead(200, [(b"content-length", b"1000")])
HIGH_WATER_BYTES = 64 * 1024


def write_get(number: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\n%b\r\n" % (number, HOST)


def write_post(number: int) -> bytes:
    return b"POST /%d HTTP/1.1\r\n%bContent-Length: 2\r\n\r\nok" % (number, HOST)


def write_chunks(number: int) -> bytes:
    """A request with a chunked body: llhttp reads it, and then continues with the data after it."""
    head = b"POST /%d HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (number, HOST)
    return head + b"2\r\nok\r\n0\r\n\r\n"


def write_any(number: int) -> bytes:
    return (write_get, write_post, write_chunks)[number % 3](number)


def write_chunks_first(number: int) -> bytes:
    return write_get(number) if number else write_chunks(number)


class SlowClient(Transport):
    """Reads nothing until told to."""

    protocol: Protocol

    def __init__(self) -> None:
        super().__init__()
        self.unread = 0
        self.most_unread = 0
        self.is_full = False

    def write(self, data: Any) -> None:
        self.unread += len(data)
        self.most_unread = max(self.most_unread, self.unread)
        if self.unread > HIGH_WATER_BYTES and not self.is_full:
            self.is_full = True
            self.protocol.pause_writing()

    def read(self) -> None:
        self.unread = 0
        if self.is_full:
            self.is_full = False
            self.protocol.resume_writing()


class Gateway:
    """Answers at once, or in a task, and records requests."""

    def __init__(self, *, in_a_task: bool) -> None:
        self.in_a_task = in_a_task
        self.targets: list[bytes] = []
        self.open = 0

    def begin(self, exchange: ClientExchange) -> Coroutine[Any, Any, None] | None:
        self.targets.append(exchange.arrival.target)
        if self.in_a_task:
            return self._answer_later(exchange)
        self._answer(exchange)
        return None

    def _answer(self, exchange: ClientExchange) -> None:
        exchange.start_with(HEAD)
        exchange.end(b"x" * 1000)

    async def _answer_later(self, exchange: ClientExchange) -> None:
        while (await exchange.receive()).get("more_body"):
            pass
        self._answer(exchange)


@pytest.mark.parametrize(
    "write", [write_get, write_post, write_chunks, write_any, write_chunks_first]
)
@pytest.mark.parametrize("in_a_task", [False, True])
async def test_a_client_that_reads_no_answer_gets_no_more_of_them(
    in_a_task: bool, write: Callable[[int], bytes]
) -> None:
    """Whether or not an answer takes time, only as many are generated as the connection can buffer,
    and at most one read of requests is kept. Once the client reads, all are answered in order."""
    client, gateway = SlowClient(), Gateway(in_a_task=in_a_task)
    connection = protocol_with(LimitSettings(), None, gateway)(Connections())
    client.protocol = connection
    connection.connection_made(client)
    sent = taken = 0
    while taken < 40 * READ_BYTES and not client.is_paused:
        read = b""
        while len(read) < READ_BYTES:
            read += write(sent)
            sent += 1
        connection.data_received(read)
        taken += len(read)
        await settle()
    assert client.is_paused, f"read {taken} bytes of requests"
    assert client.most_unread < 2 * HIGH_WATER_BYTES and len(gateway.targets) < sent

    while len(gateway.targets) < sent:
        before = len(gateway.targets)
        client.read()
        await settle()
        assert len(gateway.targets) > before
        assert client.most_unread < 2 * HIGH_WATER_BYTES
    assert gateway.targets == [b"/%d" % number for number in range(sent)]
    client.read()
    await settle()
    assert not (client.is_paused or client.is_closed), "what it sends next is read"
    connection.connection_lost(None)


async def settle() -> None:
    for _ in range(400):
        await asyncio.sleep(0)


@pytest.mark.parametrize("write", [write_get, write_post, write_any, write_chunks_first])
async def test_requests_behind_one_that_takes_long_are_read_once(
    write: Callable[[int], bytes],
) -> None:
    """An answer does not cause another read, because the client could send faster than that."""
    client, gateway = Transport(), Gateway(in_a_task=True)
    connection = protocol_with(LimitSettings(), None, gateway)(Connections())
    connection.connection_made(client)
    connection.data_received(b"".join(map(write, range(1000))))
    while len(gateway.targets) < 999:
        assert client.is_paused
        await asyncio.sleep(0)
    await settle()
    assert gateway.targets == [b"/%d" % number for number in range(1000)]
    assert not client.is_paused
    connection.connection_lost(None)


@pytest.mark.parametrize("write", [write_get, write_post, write_any, write_chunks_first])
@pytest.mark.parametrize("in_a_task", [False, True])
async def test_a_client_with_many_requests_lets_others_have_their_turn(
    in_a_task: bool, write: Callable[[int], bytes]
) -> None:
    """One read can contain thousands of requests."""
    gateway = Gateway(in_a_task=in_a_task)
    connection = protocol_with(LimitSettings(), None, gateway)(Connections())
    connection.connection_made(Transport())
    connection.data_received(b"".join(map(write, range(2000))))
    before = 0
    while before < 2000:
        assert len(gateway.targets) - before <= 2 * TURNS, "of two callbacks at most"
        before = len(gateway.targets)
        await asyncio.sleep(0)
    assert gateway.targets == [b"/%d" % number for number in range(2000)]
    connection.connection_lost(None)


async def test_bytes_after_an_upgrade_request_belong_to_the_tunnel() -> None:
    """Even if it is longer than one read."""
    gateway = Gateway(in_a_task=True)
    transport = Transport()
    connection = protocol_with(LimitSettings(), None, gateway)(Connections())
    connection.connection_made(transport)
    asks = b"GET /up HTTP/1.1\r\n%bConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" % HOST
    connection.data_received(asks + write_get(1) * 1000)
    assert not connection.pipeline.waiting and connection.pipeline.parser.last is not None
    assert connection.pipeline.parser.last.upgrade == b"websocket"
    # The answer is an ordinary one, so the data kept for the tunnel are requests.
    while len(gateway.targets) < 1001:
        await asyncio.sleep(0)
    assert gateway.targets == [b"/up", *[b"/1"] * 1000]
    connection.connection_lost(None)


def test_immediate_answers_follow_a_forwarded_one_in_order(deploy: Start, fast_lane: bool) -> None:
    """They are not answered recursively: a thousand would overflow the stack."""
    count = 2000
    rules = {"rules": [{"path": "/open", "require": "public"}]}
    with Origin((answering(OK),)) as origin:
        live = deploy(origin.url, access=rules, fast_lane=fast_lane)
        forwarded, refused = get("/open", host="app.test"), get("/closed", host="app.test")
        with live.client() as client:
            client.send(forwarded + refused * count + forwarded)
            statuses = [client.answer().status for _ in range(count + 2)]
            assert statuses == [200, *[401] * count, 200]
