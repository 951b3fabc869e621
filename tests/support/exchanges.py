"""Connections and pools with scripted origins, without a server or a gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from doorward.upstream.address import Address
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.framing import Header
from doorward.upstream.heads import Head
from doorward.upstream.pool import Pool

from tests.support.origin import Origin
from tests.support.waiting import PATIENCE_S
from tests.support.wire import Place

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"

FOREVER_S = 1e6


class Reader:
    """A `Sink` that records its calls."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.trailers: tuple[Header, ...] = ()
        self.interim: list[tuple[int, list[Header]]] = []
        self.body = b""
        self.pieces = 0
        self.failure: UpstreamFailure | None = None
        self.ended = self.writable = False
        self._news = asyncio.Event()

    def on_head(self, head: Head) -> None:
        assert not self.status, "one answer has one head"
        self.status = head.status
        self.headers = head.headers
        self._news.set()

    def on_body(self, data: bytes) -> None:
        assert self.status and not self.over
        self.body += data
        self.pieces += 1
        self._news.set()

    def on_interim(self, status: int, headers: list[Header]) -> None:
        self.interim.append((status, headers))

    def on_whole(self, head: Head, body: bytes) -> None:
        self.on_head(head)
        self.on_body(body)
        self.on_end(())

    def on_end(self, trailers: tuple[Header, ...]) -> None:
        self.trailers = trailers
        assert self.status and not self.over
        self.ended = True
        self._news.set()

    def on_failure(self, failure: UpstreamFailure) -> None:
        assert not self.over
        self.failure = failure
        self._news.set()

    def on_writable(self) -> None:
        self.writable = True
        self._news.set()

    def on_sweep(self, now: float) -> None:
        pass

    @property
    def over(self) -> bool:
        return self.ended or self.failure is not None

    async def until(self, what: str) -> None:
        """Wait for an attribute to be true."""
        async with asyncio.timeout(PATIENCE_S):
            while not getattr(self, what):
                self._news.clear()
                await self._news.wait()


def address_of(place: Place) -> Address:
    if isinstance(place, Path):
        return Address(path=str(place))
    return Address(host=place[0], port=place[1])


@asynccontextmanager
async def pool_to(
    place: Place, connect_timeout_s: float = PATIENCE_S, *, lenient: bool = False
) -> AsyncIterator[Pool]:
    pool = Pool(address_of(place), connect_timeout_s, lenient=lenient)
    try:
        yield pool
    finally:
        pool.close()
        await asyncio.sleep(0)


def begin(
    connection: Connection, head: bytes = GET, *, body: bool = False, upgrade: bool = False
) -> Reader:
    """Begin an exchange."""
    reader = Reader()
    connection.begin(
        reader,
        head,
        no_body=head.startswith(b"HEAD"),
        ended=not body,
        response_timeout_s=60.0,
        idle_timeout_s=300.0,
        upgrade=upgrade,
    )
    return reader


async def exchanged(pool: Pool, head: bytes = GET) -> Reader:
    """The result of a request, once it has ended."""
    reader = begin(pool.take() or await pool.connect(), head)
    await reader.until("over")
    return reader


async def answer_to(origin: Origin, head: bytes = GET, *, lenient: bool = False) -> Reader:
    async with pool_to(origin.place, lenient=lenient) as pool:
        return await exchanged(pool, head)
