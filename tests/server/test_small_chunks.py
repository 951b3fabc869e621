"""A body in tiny chunks costs little more than its bytes: a client may send one byte per chunk."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.joining import JOINED_BYTES, Piece
from doorward.http1.parse_budget import PARSED_BYTES
from doorward.http1.response_head import ResponseHead
from doorward.server.flow import HIGH_WATER_BYTES
from doorward.server.protocol import Protocol, protocol_with
from doorward.settings import LimitSettings

from tests.support.client_connection import Connections, Transport

HEAD = b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"


class Reader:
    """Records the pieces of a body, once it may read them."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.is_done = asyncio.Event()
        self.pieces: list[bytes] = []

    def begin(self, exchange: ClientExchange) -> Coroutine[Any, Any, None]:
        return self._read(exchange)

    async def _read(self, exchange: ClientExchange) -> None:
        await self.may_read.wait()
        more = True
        while more:
            message = await exchange.receive()
            self.pieces.append(message["body"])
            more = message["more_body"]
        exchange.start_with(ResponseHead(204, []))
        exchange.end()
        self.is_done.set()


class Taker(Reader):
    """The same, but gets the body through `give_body` instead of `receive`. Implements
    `BodyTaker`."""

    exchange: ClientExchange

    async def _read(self, exchange: ClientExchange) -> None:
        self.exchange = exchange
        exchange.give_body(self)
        await self.may_read.wait()
        exchange.give_more()

    @property
    def is_ready(self) -> bool:
        return self.may_read.is_set()

    def take(self, data: Piece, *, more: bool) -> None:
        self.pieces.append(bytes(data))
        if not more:
            self.exchange.start_with(ResponseHead(204, []))
            self.exchange.end()
            self.is_done.set()


READERS = pytest.mark.parametrize("reading", [Reader, Taker])


def connect(reader: Reader) -> tuple[Protocol, Transport]:
    transport = Transport()
    connection = protocol_with(LimitSettings(), None, reader)(Connections())
    connection.connection_made(transport)
    return connection, transport


@READERS
@pytest.mark.parametrize("size", [1, 7, 1000, JOINED_BYTES - 1, JOINED_BYTES, 3 * JOINED_BYTES])
async def test_small_pieces_of_a_body_are_joined(size: int, reading: type[Reader]) -> None:
    """Each forwarded piece costs a write; a large piece is not copied."""
    reader = reading()
    connection, _ = connect(reader)
    count = 200_000 // size
    body = b"".join(bytes([number % 251]) * size for number in range(count))
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    sent = HEAD + b"".join(b"%x\r\n%b\r\n" % (size, one) for one in chunks)
    connection.data_received(sent)
    reader.may_read.set()
    await asyncio.sleep(0)
    connection.data_received(b"0\r\n\r\n")
    await reader.is_done.wait()
    assert b"".join(reader.pieces) == body
    assert max(map(len, reader.pieces)) <= max(size, JOINED_BYTES)
    # Two neighbours do not fit into one piece; there is one piece for each turn, and one for the
    # end.
    most = 2 * len(body) // JOINED_BYTES + len(sent) // PARSED_BYTES + 2
    assert len(reader.pieces) <= most
    connection.connection_lost(None)


@READERS
async def test_a_client_waits_sooner_if_its_chunks_are_small(reading: type[Reader]) -> None:
    """Every piece takes memory in addition to its bytes."""
    reader = reading()
    connection, transport = connect(reader)
    connection.data_received(HEAD)
    sent = 0
    while not transport.is_paused:
        connection.data_received(b"1\r\nx\r\n" * 100)
        sent += 100
    assert sent < HIGH_WATER_BYTES / 32
    reader.may_read.set()
    while transport.is_paused:
        await asyncio.sleep(0)
    connection.data_received(b"0\r\n\r\n")
    await reader.is_done.wait()
    assert b"".join(reader.pieces) == b"x" * sent
    connection.connection_lost(None)


async def one_turn() -> None:
    await asyncio.sleep(0)


@READERS
async def test_many_chunks_are_taken_in_several_turns(reading: type[Reader]) -> None:
    """Other connections are served in between, and no more data are read in the meantime."""
    reader = reading()
    connection, transport = connect(reader)
    connection.data_received(HEAD)
    body = b"1\r\na\r\n" * 40_000
    before = len(body)
    connection.data_received(body)
    turns = 0
    while left := len(connection.pipeline.kept):
        assert 0 < before - left <= 2 * PARSED_BYTES and transport.is_paused
        before, turns = left, turns + 1
        await one_turn()
    assert turns >= 3
    reader.may_read.set()
    connection.data_received(b"0\r\n\r\nGET /next HTTP/1.1\r\nHost: app.test\r\n\r\n")
    await reader.is_done.wait()
    assert b"".join(reader.pieces) == b"a" * 40_000
    last = connection.pipeline.parser.last
    assert last is not None and last.target == b"/next"


async def test_connections_with_many_chunks_take_turns() -> None:
    """A turn takes as long as one piece, whatever the number of connections."""
    place = Connections()
    connections = [
        protocol_with(LimitSettings(), None, reader)(place)
        for reader in (Reader(), Taker(), Taker())
    ]
    for connection in connections:
        connection.connection_made(Transport())
        connection.data_received(HEAD)
        connection.data_received(b"1\r\na\r\n" * 40_000)
    while any(connection.pipeline.kept for connection in connections):
        before = [len(connection.pipeline.kept) for connection in connections]
        await one_turn()
        after = [len(connection.pipeline.kept) for connection in connections]
        assert sum(before) - sum(after) <= 2 * PARSED_BYTES


async def test_an_upload_that_ends_early_leaves_no_turn_behind() -> None:
    connection, transport = connect(Reader())
    connection.data_received(HEAD)
    connection.data_received(b"1\r\na\r\n" * 40_000)
    transport.close()
    connection.connection_lost(None)
    for _ in range(3):
        await one_turn()


async def test_a_fault_behind_many_chunks_is_refused() -> None:
    connection, transport = connect(Reader())
    connection.data_received(HEAD)
    connection.data_received(b"1\r\na\r\n" * 20_000 + b"zz\r\n")
    for _ in range(10):
        await one_turn()
    assert connection._lingering or transport.is_closed


@pytest.mark.parametrize("size", [PARSED_BYTES - 200, PARSED_BYTES, PARSED_BYTES + 5])
async def test_an_upgrade_after_a_chunked_body_gets_the_bytes_after_it(size: int) -> None:
    connection, _ = connect(Reader())
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size))
    head = b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    early = b"GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n" * 3000
    connection.data_received(HEAD)
    connection.data_received(body + head + early)
    last = connection.pipeline.parser.last
    assert last is not None and last.waiting is not None
    assert last.waiting._held == early
    connection.connection_lost(None)
