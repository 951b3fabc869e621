"""Load that wrk cannot generate: messages over upgraded connections, and event streams.

It counts what a proxy forwards, and must not know the cost.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

import uvloop
from cases import Case, Load
from contestants import Contestant
from load import BadRound
from processes import usage
from results import Round
from traffic import Header

# A binary WebSocket message of 1 KiB (RFC 6455 5.2); a mask of zeros changes nothing.
MESSAGE = b"\x82\xfe\x04\x00" + bytes(4) + b"x" * 1024
ECHO_BYTES = len(MESSAGE) - 4  # a server does not mask


def request(path: str, session: Header, *more: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", ": ".join(session)]
    return "\r\n".join([*lines, *more, "", ""]).encode()


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Echo(asyncio.Protocol):
    """Sends a message whenever the last one has been echoed."""

    def __init__(self, head: bytes) -> None:
        self.request = head
        self.head: bytes | None = b""
        self.missing = 0
        self.count = 0
        self.failure = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.head is not None:
            self.head += data
            if b"\r\n\r\n" not in self.head:
                return
            if not self.head.startswith(b"HTTP/1.1 101"):
                self.failure = repr(self.head[:80])
                return
            self.head = None
        else:
            self.missing -= len(data)
            if self.missing > 0:
                return
            self.count += 1
        self.missing = ECHO_BYTES
        self.transport.write(MESSAGE)


class Events(asyncio.Protocol):
    """Counts received events."""

    def __init__(self, head: bytes) -> None:
        self.request = head
        self.count = 0
        self.failure = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self.request)

    def data_received(self, data: bytes) -> None:
        self.count += data.count(b"data: ")


PROTOCOLS: dict[Load, tuple[type[Echo | Events], tuple[str, ...]]] = {
    Load.MESSAGES: (Echo, UPGRADE),
    Load.EVENTS: (Events, ()),
}


def measure(contestant: Contestant, case: Case, seconds: int) -> Round:
    """CPU per message or event. Raises BadRound if none was received."""
    protocol, more = PROTOCOLS[case.load]
    before = usage(contestant.pids)
    made = uvloop.run(pour(contestant, case, seconds, protocol, more, case.connections or 1))
    after = usage(contestant.pids)
    count = sum(one.count for one in made)
    failures = [one.failure for one in made if one.failure]
    if failures or not count:
        raise BadRound(f"{contestant.name} passed {count}: {failures[:1]}")
    cpu_us = (after.cpu_s - before.cpu_s) / count * 1e6
    return Round(count, count / seconds, cpu_us, after.rss_bytes / 2**20)


async def pour(
    contestant: Contestant,
    case: Case,
    seconds: int,
    protocol: type[Echo | Events],
    more: tuple[str, ...],
    connections: int,
) -> list[Echo | Events]:
    loop, sessions = asyncio.get_running_loop(), contestant.sessions
    made: list[tuple[asyncio.Transport, Echo | Events]] = []
    for number in range(connections):
        head = request(case.path, sessions[number % len(sessions)], *more)
        one = partial(protocol, head)
        made.append(await loop.create_connection(one, "127.0.0.1", contestant.port))
    await asyncio.sleep(seconds)
    for transport, _ in made:
        transport.abort()
    return [one for _, one in made]
