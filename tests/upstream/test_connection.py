"""One exchange with an origin: framing, cuts, garbage, early answers, and reuse of connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from doorward.http1.joining import JOINED_BYTES
from doorward.http1.parse_budget import PARSED_BYTES
from doorward.upstream.address import Address
from doorward.upstream.answer_parser import HEAD_LIMIT_BYTES
from doorward.upstream.connection import Connection
from doorward.upstream.failures import ConnectionLost, InvalidAnswer, ResponseTimeout
from doorward.upstream.pool import Pool

from tests.support.corpora import corpus
from tests.support.exchanges import FOREVER_S, GET, answer_to, begin, exchanged, pool_to
from tests.support.origin import OK, Origin, answering, silent
from tests.support.waiting import settled
from tests.support.wire import Wire

HEAD = GET.replace(b"GET", b"HEAD")


def once(answer: bytes, *, reset: bool = False, after: bytes = b"") -> Origin:
    """An origin that reads one request, sends these bytes and closes."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(answer)
        if reset:
            wire.until(b"never")
        wire.close()

    return Origin((script,))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
    (b"HTTP/1.1 200 OK\r\ncontent-LENGTH:5\r\n\r\nhello", b"hello", True),
    (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", b"hello", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    (
        CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"hello",
        True,
    ),
    (
        CHUNKED.upper() + b"5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n",
        b"hello",
        True,
    ),
    (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello", False),
    (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", False),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", True),
    (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
        True,
    ),
    (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
        True,
    ),
]


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize(("answer", "body", "kept"), WHOLE)
async def test_an_answer_is_whole_however_it_is_framed(
    answer: bytes, body: bytes, kept: bool, in_pieces: bool
) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        for at in range(len(answer)) if in_pieces else ():
            wire.send(answer[at : at + 1])
        wire.send(b"" if in_pieces else answer)
        if kept:
            wire.head()

    with Origin((script,)) as origin:
        async with pool_to(origin.place) as pool:
            reader = await exchanged(pool)
            assert (reader.failure, reader.body) == (None, body)
            assert 200 <= reader.status < 400
            names = [name.lower() for name, _ in reader.headers]
            assert b"link" not in names and b"x-late" not in names
            assert (pool.take() is not None) is kept


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
async def test_an_answer_to_head_has_no_body_whatever_it_says(framing: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"
    with Origin((answering(head, OK),)) as origin:
        async with pool_to(origin.place) as pool:
            reader = await exchanged(pool, HEAD)
            assert (reader.status, reader.body, reader.failure) == (200, b"", None)
            if framing:
                assert (await exchanged(pool)).body == b"ok"
                assert len(origin.wires) == 1


CUT = [
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
]


@pytest.mark.parametrize("answer", CUT)
async def test_an_answer_that_is_cut_is_a_failure(answer: bytes) -> None:
    with once(answer) as origin:
        reader = await answer_to(origin)
    assert isinstance(reader.failure, ConnectionLost)
    assert reader.failure.status == 502
    assert not reader.ended


async def test_a_body_framed_by_the_close_is_cut_by_a_reset() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nhel")
        wire.until(b"go")
        wire.reset()

    with Origin((script,)) as origin:
        async with pool_to(origin.place) as pool:
            reader = begin(connection := await pool.connect())
            await reader.until("body")
            connection.write(b"go")
            await reader.until("over")
    assert isinstance(reader.failure, ConnectionLost)


@pytest.mark.parametrize("answer", corpus("broken_answers.txt"), ids=ascii)
async def test_garbage_is_an_invalid_answer(answer: bytes) -> None:
    """CVE-2025-43859, CVE-2023-25690: lenient parsing of framing."""
    with once(answer) as origin:
        reader = await answer_to(origin)
    assert reader.failure is not None and reader.failure.status == 502
    assert not reader.status and not reader.body


BROKEN_BODIES = [b"x\r\n", b"-1\r\n", b"5hello", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\r\nfg\r\n"]


@pytest.mark.parametrize("body", BROKEN_BODIES)
async def test_a_broken_chunk_ends_the_answer_as_a_cut(body: bytes) -> None:
    """CVE-2025-43859: chunk terminators were not checked."""
    with once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body) as origin:
        reader = await answer_to(origin)
    assert isinstance(reader.failure, InvalidAnswer)


# Old upstreams that end lines with a bare line feed

BARE = [
    (b"HTTP/1.1 200 OK\nContent-Length: 2\nX: y\n\nok", b"ok"),
    (b"HTTP/1.0 200 OK\nX: y\n\nol\nd", b"ol\nd"),
    (b"HTTP/1.0 200 OK\nX: y\r\nContent-Length: 1\n\nx", b"x"),
]


@pytest.mark.parametrize(("answer", "body"), BARE)
@pytest.mark.parametrize("size", [1, 15, 16, 1000])
async def test_bare_line_feeds_are_accepted_if_the_route_allows_them(
    answer: bytes, body: bytes, size: int
) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        for at in range(0, len(answer), size):
            wire.send(answer[at : at + size])

    for lenient in (True, False):
        with Origin((script,)) as origin:
            reader = await answer_to(origin, lenient=lenient)
        if lenient:
            assert (reader.status, reader.body, reader.failure) == (200, body, None)
            assert (b"X", b"y") in reader.headers
        else:
            assert isinstance(reader.failure, InvalidAnswer)


async def test_nothing_is_read_behind_an_answer_with_bare_line_feeds() -> None:
    """Its end may be ambiguous, so the connection is closed, and no next answer can be smuggled
    in."""
    bare = b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"
    with Origin((answering(bare),)) as origin:
        async with pool_to(origin.place, lenient=True) as pool:
            for _ in range(3):
                assert (await exchanged(pool)).body == b"ok"
                assert pool.connections == (0, 0)
    with Origin((answering(OK),)) as origin:
        async with pool_to(origin.place, lenient=True) as pool:
            for _ in range(3):
                assert (await exchanged(pool)).body == b"ok"
            assert len(origin.wires) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: a\rSet-Cookie: b=c\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\nX: a\n folded\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 3\n\nok!",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 2\n\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n",
        *(one for one in corpus("broken_answers.txt") if b"\r\n" in one[: one.find(b"\n") + 1]),
    ],
    ids=ascii,
)
async def test_lenience_splits_no_header_and_no_answer(answer: bytes) -> None:
    """A line feed in a value of an answer with CRLF may come from an attacker."""
    with once(answer) as origin:
        reader = await answer_to(origin, lenient=True)
    assert isinstance(reader.failure, InvalidAnswer | ConnectionLost)
    assert (b"Set-Cookie", b"b=c") not in reader.headers and not reader.body


# Trailers

CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"


@pytest.mark.parametrize(
    "line",
    [b"Content-Length: 5", b"content-length: 0", b"Set-Cookie: a=b", b"Transfer-Encoding: gzip"],
)
async def test_an_answer_is_whole_whatever_its_trailer_names(line: bytes) -> None:
    answer = CHUNKS + line + b"\r\nX-Sum: 1\r\n\r\n"
    with Origin((answering(answer, answer, OK),)) as origin:
        async with pool_to(origin.place) as pool:
            for body in (b"ok", b"ok", b"ok"):
                reader = await exchanged(pool)
                assert (reader.body, reader.failure) == (body, None)
            assert len(origin.wires) == 1


@pytest.mark.parametrize("value", [b"x", b"5x", b"", b"9" * 30, b"5\r\nContent-Length: 6"])
async def test_an_answer_is_whole_whatever_length_its_trailer_says(value: bytes) -> None:
    """llhttp stops there, and the connection is not used again."""
    answer = CHUNKS + b"X-Sum: 1\r\nContent-Length: " + value + b"\r\n\r\n"
    with Origin((answering(answer), answering(OK))) as origin:
        async with pool_to(origin.place) as pool:
            for _ in range(2):
                reader = await exchanged(pool)
                assert (reader.body, reader.failure) == (b"ok", None)
            assert len(origin.wires) == 2


async def test_conflicting_framing_is_refused_after_a_trailer_too() -> None:
    both = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n"
    first = CHUNKS + b"Content-Length: 5\r\n\r\n"
    with Origin((answering(first, both + b"2\r\nok\r\n0\r\n\r\n"),)) as origin:
        async with pool_to(origin.place) as pool:
            assert (await exchanged(pool)).body == b"ok"
            reader = await exchanged(pool)
            assert isinstance(reader.failure, InvalidAnswer) and not reader.body


async def test_a_head_without_end_is_refused_before_it_fills_memory() -> None:
    """CVE-2026-26998: an unbounded read of an answer."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(10_000):
            wire.send(b"x-%d: %b\r\n" % (number, b"x" * 1000))

    with Origin((script,)) as origin:
        reader = await answer_to(origin)
    assert isinstance(reader.failure, InvalidAnswer)
    assert HEAD_LIMIT_BYTES < 1 << 20


async def test_early_hints_without_end_are_a_head_without_end() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        while True:
            wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000)

    with Origin((script,)) as origin:
        assert isinstance((await answer_to(origin)).failure, InvalidAnswer)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        OK + b"\x00",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + OK,
    ],
)
async def test_bytes_after_an_answer_never_become_the_next_answer(answer: bytes) -> None:
    """CVE-2026-71324: a kept connection was poisoned for other users."""
    with Origin((answering(answer),)) as origin:
        async with pool_to(origin.place) as pool:
            first = await exchanged(pool)
            assert first.failure is None and b"poison" not in first.body
            assert pool.take() is None


async def test_a_body_after_the_answer_to_head_never_becomes_the_next_answer() -> None:
    with Origin((answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + OK),)) as origin:
        async with pool_to(origin.place) as pool:
            first = await exchanged(pool, HEAD)
            assert first.failure is None and first.body == b""
            await settled(lambda: pool.take() is None)


async def test_bytes_on_an_idle_connection_close_it() -> None:
    """CVE-2026-71324: unsolicited bytes must not become the answer to a request."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        if wire.until(b"never ends").endswith(b"!"):
            pass

    with Origin((script,)) as origin:
        async with pool_to(origin.place) as pool:
            await exchanged(pool)
            kept = pool.take()
            assert kept is not None and kept.is_usable()
            origin.wire().send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
            await settled(lambda: not kept.is_usable())


async def test_a_connection_that_the_origin_closed_while_idle_is_not_used() -> None:
    with Origin((answering(OK),)) as origin:
        async with pool_to(origin.place) as pool:
            await exchanged(pool)
            kept = pool.take()
            assert kept is not None
            pool.release(kept, True)
            origin.wire().close()
            origin.wire().sock.close()
            await settled(lambda: pool.take() is None or not kept.is_usable())


async def test_an_early_answer_stops_the_upload_and_ends_the_connection() -> None:
    with Origin((answering(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"),)) as origin:

        def script(wire: Wire) -> None:
            wire.head()
            wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            assert wire.is_closed()

        origin.scripts = (script,)
        async with pool_to(origin.place) as pool:
            post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n"
            reader = begin(connection := await pool.connect(), post, body=True)
            connection.send_head()
            await reader.until("over")
            assert (reader.status, reader.body, reader.failure) == (413, b"no", None)
            connection.write(b"late")
            connection.end_request()
            assert pool.take() is None
            wire = origin.wire()
            await asyncio.to_thread(wire.rest)
        assert b"late" not in wire.seen


async def test_an_origin_that_answers_before_the_upload_may_stream_both_ways() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(3):
            wire.send(wire.read(2))
        wire.head()

    with Origin((script,)) as origin:
        async with pool_to(origin.place) as pool:
            post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n"
            reader = begin(connection := await pool.connect(), post, body=True)
            for number, piece in enumerate((b"ab", b"cd", b"ef"), 1):
                connection.write(piece)
                if number == 3:
                    connection.end_request()
                await settled(lambda number=number: len(reader.body) == 2 * number)
            await reader.until("over")
            assert reader.ended and pool.take() is not None


# Timeouts, with the time passed to the sweep


class Writes(asyncio.Transport):
    """Records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []

    def write(self, data: Any) -> None:
        self.said.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return False


@pytest.mark.parametrize("size", [1, JOINED_BYTES, 2 * JOINED_BYTES])
async def test_the_head_leaves_with_the_first_piece_of_the_body(size: int) -> None:
    connection, transport = Connection(Pool(Address(host="127.0.0.1", port=1), 1.0)), Writes()
    connection.connection_made(transport)
    post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (size + 1)
    begin(connection, post, body=True)
    assert not transport.said
    connection.write(b"x" * size)
    connection.send_head()
    connection.write(b"y")
    connection.end_request()
    assert transport.said == [post + b"x" * size, b"y"]


@pytest.mark.parametrize("then", [Connection.send_head, Connection.end_request])
async def test_a_head_does_not_wait_for_a_body_that_has_not_come(
    then: Callable[[Connection], None],
) -> None:
    connection, transport = Connection(Pool(Address(host="127.0.0.1", port=1), 1.0)), Writes()
    connection.connection_made(transport)
    begin(connection, b"POST / HTTP/1.1\r\n\r\n", body=True)
    then(connection)
    connection.send_head()
    assert transport.said == [b"POST / HTTP/1.1\r\n\r\n"]


async def test_an_origin_that_does_not_answer_in_time_is_504() -> None:
    with Origin((silent,)) as origin:
        async with pool_to(origin.place) as pool:
            now = asyncio.get_running_loop().time()
            reader = begin(await pool.connect())
            pool.sweep(now + 59)
            assert reader.failure is None
            pool.sweep(now + 61)
            assert isinstance(reader.failure, ResponseTimeout)
            assert reader.failure.status == 504
            await settled(origin.is_done)


async def test_an_answer_that_stops_is_cut_after_the_idle_time() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")
        wire.until(b"never")

    with Origin((script,)) as origin:
        async with pool_to(origin.place) as pool:
            now = asyncio.get_running_loop().time()
            reader = begin(await pool.connect())
            await reader.until("body")
            pool.sweep(now + 290)
            assert reader.failure is None
            pool.sweep(now + 310)
            assert isinstance(reader.failure, ResponseTimeout)


# Parts of an answer in chunks besides its body, without their end.
ENDLESS = [b"0\r\nX: ", b"0\r\nX", b"5;x=", b"0"]


class MovedLoop:
    """What a connection uses of its event loop, at another time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ahead_s = 0.0
        self.call_soon = loop.call_soon
        self._loop = loop

    def time(self) -> float:
        return self._loop.time() + self.ahead_s


def received(connection: Connection, patch: pytest.MonkeyPatch) -> list[bytes]:
    """What the connection receives from now on."""
    pieces: list[bytes] = []
    take = connection.data_received

    def note(data: bytes) -> None:
        pieces.append(data)
        take(data)

    patch.setattr(connection, "data_received", note)
    return pieces


def chunk_begun(wire: Wire) -> None:
    wire.head()
    wire.send(CHUNKED + b"2\r\nok\r\n")
    wire.rest()


@pytest.mark.parametrize("start", ENDLESS)
async def test_an_origin_that_sends_only_framing_is_cut_after_the_idle_time(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte every little while kept the client waiting, and both connections."""
    with Origin((chunk_begun,)) as origin:
        async with pool_to(origin.place) as pool:
            connection = await pool.connect()
            time = MovedLoop(asyncio.get_running_loop())
            monkeypatch.setattr(connection, "loop", time)
            pieces = received(connection, monkeypatch)
            reader = begin(connection)
            await reader.until("body")
            origin.wire().send(start)
            for _ in range(5):
                count = len(pieces)
                origin.wire().send(b"0")
                await settled(lambda count=count: len(pieces) > count)
                pool.sweep(time.time())
                assert reader.failure is None
                time.ahead_s += 60
            pool.sweep(time.time() + 1)
            assert isinstance(reader.failure, ResponseTimeout) and reader.body == b"ok"
            await settled(origin.is_done)


async def test_a_body_gives_an_origin_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Origin((chunk_begun,)) as origin:
        async with pool_to(origin.place) as pool:
            connection = await pool.connect()
            time = MovedLoop(asyncio.get_running_loop())
            monkeypatch.setattr(connection, "loop", time)
            reader = begin(connection)
            await reader.until("body")
            for count in range(5):
                time.ahead_s += 200
                origin.wire().send(b"1;x=y\r\n!\r\n")
                await settled(lambda count=count: len(reader.body) == 3 + count)
                pool.sweep(time.time())
            origin.wire().send(b"0\r\n\r\n")
            await reader.until("ended")


@pytest.mark.parametrize("size", [1000, PARSED_BYTES + 1, 400_000])
@pytest.mark.parametrize("start", ENDLESS)
async def test_framing_without_end_is_cut_before_it_fills_memory(start: bytes, size: int) -> None:
    """In small pieces, and in large ones, which are parsed in several turns."""
    with Origin((chunk_begun,)) as origin:
        async with pool_to(origin.place) as pool:
            reader = begin(await pool.connect())
            await reader.until("body")
            origin.wire().send(start)
            with contextlib.suppress(OSError):
                for _ in range(HEAD_LIMIT_BYTES // size + 2):
                    origin.wire().send(b"0" * size)
                    await asyncio.sleep(0)
            await reader.until("failure")
            assert isinstance(reader.failure, InvalidAnswer) and reader.body == b"ok"
            assert str(reader.failure) == (
                "the upstream's answer has trailers or chunk extensions without end"
            )
            await settled(origin.is_done)


async def test_much_framing_between_pieces_of_the_body_is_no_error() -> None:
    """The limit counts from the last piece."""
    extended = b"1;x=%b\r\n!\r\n" % (b"y" * 1000)
    with once(CHUNKED + extended * 500 + b"0\r\nX-Sum: 1\r\n\r\n") as origin:
        reader = await answer_to(origin)
        assert reader.body == b"!" * 500 and reader.trailers == ((b"X-Sum", b"1"),)


async def test_an_origin_that_waits_for_a_slow_client_is_not_silent() -> None:
    with Origin((answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"),)) as origin:
        async with pool_to(origin.place) as pool:
            now = asyncio.get_running_loop().time()
            reader = begin(connection := await pool.connect())
            await reader.until("body")
            connection.pause_reading()
            pool.sweep(now + FOREVER_S)
            assert reader.failure is None
            connection.resume_reading()
            pool.sweep(asyncio.get_running_loop().time() + 301)
            assert reader.failure is not None


async def test_a_slow_upload_is_given_the_idle_time_between_its_pieces() -> None:
    with Origin((silent,)) as origin:
        async with pool_to(origin.place) as pool:
            now = asyncio.get_running_loop().time()
            post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"
            reader = begin(connection := await pool.connect(), post, body=True)
            connection.write(b"abc")
            pool.sweep(now + 290)
            assert reader.failure is None
            connection.end_request()
            pool.sweep(now + 70)
            assert isinstance(reader.failure, ResponseTimeout)


# Aborting


async def test_an_abandoned_exchange_closes_its_connection_at_once() -> None:
    with Origin((silent,)) as origin:
        async with pool_to(origin.place) as pool:
            reader = begin(connection := await pool.connect())
            await asyncio.to_thread(lambda: origin.wire().seen or None)
            connection.abandon()
            await asyncio.to_thread(origin.wire().rest)
            assert not reader.over
            assert pool.take() is None


@pytest.mark.parametrize("moment", ["paused", "running"])
async def test_nothing_is_reported_after_a_failure(moment: str) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nhel")
        wire.until(b"never")

    with Origin((script,)) as origin:
        async with pool_to(origin.place) as pool:
            reader = begin(connection := await pool.connect())
            await reader.until("body")
            if moment == "paused":
                connection.pause_reading()
            connection._fail(ConnectionLost())
            connection.resume_reading()
            connection.pause_reading()
            connection.write(b"x")
            connection.end_request()
            connection.abandon()
            await asyncio.sleep(0)
            connection.resume_reading()
            assert isinstance(reader.failure, ConnectionLost)
