"""An answer in very many small chunks lets other connections have their turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from doorward.http1.parse_budget import PARSED_BYTES
from doorward.upstream.address import Address
from doorward.upstream.connection import Connection
from doorward.upstream.failures import ConnectionLost, InvalidAnswer
from doorward.upstream.pool import Pool

from tests.support.client_connection import Transport
from tests.support.exchanges import Reader, begin

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1\r\na\r\n"
COUNT = 30_000
END = b"0\r\n\r\n"


class Upstream(Transport):
    def abort(self) -> None:
        self.close()


def asked(
    pool: Pool | None = None, *, upgrade: bool = False
) -> tuple[Connection, Upstream, Reader]:
    """A connection that was sent a request."""
    upstream = Upstream()
    connection = Connection(pool or Pool(Address(host="127.0.0.1", port=1), 1.0))
    connection.connection_made(upstream)
    return connection, upstream, begin(connection, upgrade=upgrade)


def answered(pool: Pool | None = None) -> tuple[Connection, Upstream, Reader]:
    """A connection with an answer that has begun."""
    connection, upstream, reader = asked(pool)
    connection.data_received(HEAD)
    return connection, upstream, reader


async def one_turn() -> None:
    await asyncio.sleep(0)


async def test_many_chunks_are_parsed_in_several_turns() -> None:
    connection, upstream, reader = answered()
    connection.data_received(CHUNK * COUNT + END)
    turns, before = 0, 0
    while not reader.ended:
        size = len(reader.body)
        assert 0 < size - before <= PARSED_BYTES and upstream.is_paused
        turns, before = turns + 1, size
        await one_turn()
    assert turns >= 3 and reader.body == b"a" * COUNT
    assert not upstream.is_paused and connection.is_usable()


async def test_small_chunks_behind_large_ones_are_parsed_in_several_turns() -> None:
    """However a piece begins: its first chunks do not say what the others cost."""
    connection, upstream, reader = asked()
    large = b"2000\r\n%b\r\n" % bytes(0x2000)
    connection.data_received(HEAD + large * 4 + CHUNK * COUNT + END)
    assert upstream.is_paused and len(reader.body) < 5 * 0x2000
    while not reader.ended:
        await one_turn()
    assert reader.body == bytes(4 * 0x2000) + b"a" * COUNT


async def test_a_tunnel_gets_all_that_came_behind_its_head() -> None:
    """They are not chunks, whatever they look like."""
    connection, _, _ = asked(upgrade=True)
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    connection.data_received(head + CHUNK * COUNT)
    connection.data_received(CHUNK * COUNT)  # as with TLS, while it is paused
    assert connection.hand_over()[1] == CHUNK * COUNT * 2


async def test_answers_with_many_chunks_take_turns() -> None:
    pool = Pool(Address(host="127.0.0.1", port=1), 1.0)
    answers = [answered(pool) for _ in range(4)]
    for connection, _, _ in answers:
        connection.data_received(CHUNK * COUNT + END)
    while not all(reader.ended for _, _, reader in answers):
        before = sum(len(reader.body) for _, _, reader in answers)
        await one_turn()
        assert sum(len(reader.body) for _, _, reader in answers) - before <= PARSED_BYTES


async def test_a_client_that_catches_up_does_not_let_later_chunks_overtake() -> None:
    connection, upstream, reader = answered()
    connection.data_received(CHUNK * COUNT)
    connection.pause_reading()
    connection.resume_reading()
    assert upstream.is_paused
    connection.data_received(b"1\r\nz\r\n" + END)  # as with TLS, while it is paused
    connection.pause_reading()
    while not reader.ended:
        await one_turn()
    assert reader.body == b"a" * COUNT + b"z"


def leave(connection: Connection) -> None:
    connection.abandon()


def lose(connection: Connection) -> None:
    connection.connection_lost(None)


@pytest.mark.parametrize("end", [leave, lose])
async def test_chunks_of_an_abandoned_exchange_are_dropped(
    end: Callable[[Connection], None],
) -> None:
    connection, _, reader = answered()
    connection.data_received(CHUNK * COUNT + END)
    size = len(reader.body)
    end(connection)
    for _ in range(3):
        await one_turn()
    assert len(reader.body) == size and not reader.ended
    assert isinstance(reader.failure, ConnectionLost) == (end is lose)


@pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 200 OK\r\n\r\n", CHUNK * COUNT])
async def test_bytes_behind_many_chunks_are_no_answer(more: bytes) -> None:
    connection, upstream, reader = answered()
    connection.data_received(CHUNK * COUNT + END + more)
    while not reader.ended:
        await one_turn()
    assert reader.body == b"a" * COUNT and upstream.is_closed


async def test_a_fault_behind_many_chunks_cuts_the_answer() -> None:
    connection, upstream, reader = answered()
    connection.data_received(CHUNK * COUNT + b"zz\r\n" + CHUNK * COUNT)
    for _ in range(20):
        await one_turn()
    assert isinstance(reader.failure, InvalidAnswer) and upstream.is_closed
