"""Load that wrk does not make: messages through upgraded connections, and event streams.

It counts what passes a proxy, and must not know what it costs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import nan
from typing import cast

import uvloop
from contestants import Contestant
from load import Round
from processes import NotStarted, usage

MESSAGE = b"x" * 1024


def request(path: str, headers: dict[str, str], *more: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, *more, "", ""]).encode()


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Echo(asyncio.Protocol):
    """Sends a message whenever it has the last one back."""

    def __init__(self, head: bytes) -> None:
        self.request = head
        self.head: bytes | None = b""
        self.missing = 0
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.head is not None:
            self.head += data
            if b"\r\n\r\n" not in self.head:
                return
            if not self.head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(self.head[:80])
            self.head = None
        else:
            self.missing -= len(data)
            if self.missing > 0:
                return
            self.count += 1
        self.missing = len(MESSAGE)
        self.transport.write(MESSAGE)


class Events(asyncio.Protocol):
    """Counts the events that come."""

    def __init__(self, head: bytes) -> None:
        self.request = head
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self.request)

    def data_received(self, data: bytes) -> None:
        self.count += data.count(b"data: ")


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    what: str
    path: str
    more: tuple[str, ...]
    protocol: type[Echo | Events]
    connections: int

    def measure(self, contestant: Contestant, seconds: int) -> Round:
        """CPU of a message. Raises NotStarted when none came through."""
        head = request(self.path, contestant.headers, *self.more)
        before = usage(contestant.pid)
        count = uvloop.run(self._pour(contestant.port, head, seconds))
        after = usage(contestant.pid)
        if not count:
            raise NotStarted(f"{contestant.name} passed nothing of {self.name}")
        cpu_us = (after.cpu_s - before.cpu_s) / count * 1e6
        return Round(count, count / seconds, cpu_us, nan, nan, after.rss_bytes / 2**20)

    async def _pour(self, port: int, head: bytes, seconds: int) -> int:
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: self.protocol(head), "127.0.0.1", port)
            for _ in range(self.connections)
        ]
        await asyncio.sleep(seconds)
        count = sum(protocol.count for _, protocol in made)
        for transport, _ in made:
            transport.abort()
        return count


STREAMS = {
    stream.name: stream
    for stream in (
        Stream("messages", "1 KiB to and fro through an upgrade", "/echo", UPGRADE, Echo, 32),
        Stream("events", "events of 100 bytes to 200 listeners", "/events", (), Events, 200),
    )
}
