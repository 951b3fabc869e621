"""Answers with plain heads, which are read in one pass, with the same results as otherwise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from doorward.http1.repeats import SEEN, Repeats
from doorward.http1.turns import Turns
from doorward.rewrite.answer_headers import read_shared
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.heads import ReadPlain
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.exchanges import FOREVER_S, GET, Reader

OK = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\n\r\nhello"


class Transport(asyncio.Transport):
    """The transport of a connection to which the test feeds data."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class ConnectionOwner:
    def __init__(self) -> None:
        self.alive: bool | None = None
        self.turns = Turns()

    def release(
        self, connection: Connection, alive: bool, failure: UpstreamFailure | None = None
    ) -> None:
        self.alive = alive


def outcome(
    pieces: list[bytes], *, no_body: bool = False, read_plain: ReadPlain | None = read_shared
) -> tuple[Any, ...]:
    """The result of an answer in these pieces, followed by the end of the connection."""

    async def played() -> tuple[Any, ...]:
        owner, reader = ConnectionOwner(), Reader()
        connection = connect(reader, owner, no_body=no_body, read_plain=read_plain)
        for piece in pieces:
            if connection.serves(reader):
                connection.data_received(piece)
        alive = owner.alive
        if connection.serves(reader):
            connection.connection_lost(None)
        failure = type(reader.failure)
        return (
            reader.status, reader.headers, reader.body, reader.trailers, reader.interim,
            reader.ended, failure, alive,
        )  # fmt: skip

    with asyncio.Runner() as runner:
        return runner.run(played())


def connect(
    reader: Reader,
    owner: ConnectionOwner | None = None,
    *,
    no_body: bool = False,
    read_plain: ReadPlain | None = read_shared,
) -> Connection:
    """A connection on which the request was sent."""
    connection = Connection(owner or ConnectionOwner())
    connection.connection_made(Transport())
    connection.begin(
        reader,
        GET,
        no_body=no_body,
        ended=True,
        response_timeout_s=FOREVER_S,
        idle_timeout_s=FOREVER_S,
        read_plain=read_plain,
    )
    return connection


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer, reason",
    [
        (b"HTTP/1.1 600 Odd\r\n\r\n", "a status that nobody asked for"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "a status that nobody asked for"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "a version that nobody asked for"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000 + b"\r\n", "too many header lines"),
        (CHUNKED + b"0\r\n" + b"X: y\r\n" * 3000 + b"\r\n", "too many header lines"),
        (b"HTTP/1.1 200 OK\r\nX\0: y\r\n\r\n", "Invalid header token"),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_the_log_says_what_is_wrong_with_an_answer(answer: bytes, reason: str) -> None:
    """Instead of only naming a callback of the parser."""
    reader = Reader()
    connect(reader).data_received(answer)
    for _ in range(20):  # many trailers are parsed in several turns
        await asyncio.sleep(0)
    assert str(reader.failure) == f"the upstream's answer is not valid HTTP/1: {reason}"


@pytest.mark.parametrize(
    "end", [b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n", b"", b"no chunk\r\n"], ids=ascii
)
async def test_chunks_that_arrive_together_are_forwarded_together(end: bytes) -> None:
    """A WSGI application that returns a string sends each character as a chunk."""
    reader = Reader()
    connection = connect(reader)
    connection.data_received(CHUNKED)
    connection.data_received(b"1\r\nx\r\n" * 1000 + end)
    assert (reader.body, reader.pieces) == (b"x" * 1000, 2), "a head alone has an empty piece"
    assert reader.ended == end.startswith(b"0")
    assert (reader.failure is not None) == end.startswith(b"no")
    if not end:
        connection.data_received(b"2\r\nno")
        assert (reader.body[-2:], reader.pieces) == (b"no", 3), "part of a chunk does not wait"


STATUS = st.sampled_from(["200 OK", "200", "204 No", "206 Part", "304 Not", "404 \xff", "500 X"])
ENDS = st.sampled_from(["\r\n"] * 8 + ["\n", "\r", "\r\n\r\n", "\r\n ", ""])
HEADERS = st.sampled_from(
    ["Content-Length: 5"] * 4
    + ["content-length:5 ", "Content-Length: 0", "Content-Length: 05", "Content-Length: 5, 5"]
    + ["Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive", "Date: now"]
    + ["Set-Cookie: a=b", "Upgrade: h2c", "Connection: upgrade", "X: y", "X:", "Trailer: x", "bad"]
)
BEFORE = st.sampled_from(["", "", "", "\r\n", "\r\n\r\n", "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"])
BODIES = st.sampled_from(
    [
        "hello",
        "hell",
        "",
        "hello more",
        "5\r\nhello\r\n0\r\n\r\n",
        "a\r\n\r\nb",
        "HTTP/1.1 200 OK\r\n",
    ]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    version = draw(st.sampled_from(["HTTP/1.1"] * 5 + ["HTTP/1.0", "http/1.1", "HTTP/1.2"]))
    text = f"{draw(BEFORE)}{version} {draw(STATUS)}{draw(ENDS)}"
    for line in draw(st.lists(HEADERS, max_size=4)):
        text += line + draw(ENDS)
    return (text + draw(ENDS) + draw(BODIES)).encode("latin-1")


@given(answers(), st.booleans(), st.integers(0, 120))
@example(OK, False, 0)
def test_answers_are_read_as_by_llhttp_alone(answer: bytes, bodiless: bool, cut: int) -> None:
    pieces = [answer[:cut], answer[cut:]] if cut < len(answer) else [answer]
    for parts in ([answer], [piece for piece in pieces if piece]):
        *expected, alone = outcome(parts, no_body=bodiless, read_plain=None)
        # llhttp accepts an empty line after an answer as the start of the next one; a counted body
        # ends before it, and the connection is closed.
        *found, alive = outcome(parts, no_body=bodiless)
        assert found == expected and alive in (alone, False)


def test_a_plain_head_is_not_read_by_llhttp(monkeypatch: pytest.MonkeyPatch) -> None:
    first = outcome([OK], read_plain=None)
    monkeypatch.setattr(Connection, "_parse", None)
    assert outcome([OK]) == first
    assert outcome([OK[:-5], b"he", b"llo"]) == first
    assert outcome([OK.replace(b"hello", b"other")])[2] == b"other"
    assert outcome([OK[:-5]], no_body=True)[5:] == (True, type(None), True)
    assert outcome([OK + b"!"])[5:] == (True, type(None), False)
    assert outcome([OK[:-1]])[5] is False


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"Content-Length: 5", b"X: y"),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        OK.replace(b"Date: now", b"WWW-Authenticate: NTLM"),
    ],
)
def test_an_answer_without_a_length_is_left_to_llhttp(answer: bytes) -> None:
    assert outcome([answer]) == outcome([answer], read_plain=None)
    assert outcome([answer])[2] == b"hello"


def test_the_memory_of_seen_heads_is_bounded() -> None:
    seen = Repeats()
    assert not any(seen.before(b"%d" % number) for number in range(3 * SEEN))
    assert len(seen._hashes) <= SEEN
    assert seen.before(b"%d" % (3 * SEEN - 1))
