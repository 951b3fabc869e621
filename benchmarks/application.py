"""The application that everybody stands in front of, which is nobody's bottleneck and not measured.

Usage: application.py PORT. `/` is a page of 1 KiB, `/each` the same under another ETag each time,
`/large` one of 1 MiB, `/huge` one of 1 GiB, `/whoami` the name that the proxy tells, `/echo`
switches protocols and says back what it gets, `/events` sends an event every tenth of a second for
ever. Bodies are read to their end before anything is answered. Answers have a Date, as most
servers' have.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
from email.utils import formatdate
from typing import cast

import uvloop

EVENT_EVERY_S = 0.1
EVENT = b"data: " + b"x" * 100 + b"\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
USER = re.compile(rb"\r\nremote-user: *([^\r]*)", re.IGNORECASE)


KIB = b"x" * 1024


def page(body: bytes, tag: int = 0) -> bytes:
    head = (
        b'HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: text/plain\r\nETag: "%d"\r\n'
        b"Content-Length: %d\r\n\r\n"
    )
    return head % (formatdate(usegmt=True).encode(), tag, len(body)) + body


GIB = 1 << 30
MIB = b"x" * (1 << 20)
HUGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % GIB

pages: dict[bytes, bytes] = {}  # made anew every tenth of a second
tags = itertools.count()

listeners: set[asyncio.Transport] = set()


class Application(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.head = b""
        self.left = 0  # of a body that is being read
        self.path = b""
        self.echoes = self.paused = False
        self.left_to_send = 0

    def data_received(self, data: bytes) -> None:
        if self.echoes:
            self.transport.write(data)
        elif self.left:
            self.read_body(data)
        else:
            self.read_head(self.head + data)

    def read_head(self, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        self.head = b"" if end else data
        if end:
            self.path = head.split(b" ")[1]
            length = LENGTH.search(head)
            self.left = int(length[1]) if length else 0
            user = USER.search(head)
            self.user = user[1] if user else b""
            if self.left:
                self.read_body(rest)
            else:
                self.answer(rest)

    def read_body(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left <= 0:
            self.left = 0
            self.answer(b"")

    def answer(self, rest: bytes) -> None:
        if self.path == b"/echo":
            self.echoes = True
            self.transport.write(SWITCH + rest)
        elif self.path == b"/events":
            self.transport.write(STREAM)
            listeners.add(self.transport)
        elif self.path == b"/huge":
            self.transport.write(HUGE)
            self.left_to_send = GIB
            self.resume_writing()
        elif self.path == b"/each":
            self.transport.write(pages[b"/"].replace(b'"0"', b'"%d"' % next(tags), 1))
        elif self.path == b"/whoami":
            self.transport.write(page(self.user))
        else:
            self.transport.write(pages.get(self.path) or pages[b"/"])

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while self.left_to_send and not self.paused:
            self.left_to_send -= len(MIB)
            self.transport.write(MIB)

    def connection_lost(self, exc: Exception | None) -> None:
        listeners.discard(self.transport)


def renew() -> None:
    pages[b"/"] = page(KIB)
    if pages.get(b"/large", b"")[:60] != pages[b"/"][:60]:  # its Date
        pages[b"/large"] = page(MIB)


async def serve(port: int) -> None:
    renew()
    await asyncio.get_running_loop().create_server(Application, "127.0.0.1", port, backlog=1024)
    while True:
        renew()
        await asyncio.sleep(EVENT_EVERY_S)
        for listener in tuple(listeners):
            listener.write(CHUNK)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
