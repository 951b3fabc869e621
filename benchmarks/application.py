"""The application behind every proxy. It is fast enough not to be the bottleneck, and is not
measured.

Usage: application.py PORT. `/` is a page of 1 KiB, `/large` one of 1 MiB, `/huge` one of 1 GiB,
`/whoami` the user name that the proxy sends, `/echo` a WebSocket that returns each message of
1 KiB, `/events` sends an event every tenth of a second without end. Any other path is a page of 1
KiB with an ETag, a Last-Modified and a unique cookie. Bodies are read completely before the answer
begins. Answers have a Date, as with most servers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import re
import sys
import time
from email.utils import formatdate
from typing import cast

import uvloop

EVENT_EVERY_S = 0.1
EVENT = b"data: " + b"x" * 100 + b"\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
# A binary message of 1 KiB (RFC 6455 5.2). The client's mask is four zeros, which change nothing.
FROM_CLIENT_BYTES = 2 + 2 + 4 + 1024
TO_CLIENT = b"\x82\x7e\x04\x00" + b"x" * 1024
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
USER = re.compile(rb"\r\n(?:remote|x-forwarded)-user: *([^\r]*)", re.IGNORECASE)
KEY = re.compile(rb"\r\nsec-websocket-key: *([^\r ]*)", re.IGNORECASE)

KIB = b"x" * 1024


def date(seconds: float) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


def page(body: bytes) -> bytes:
    head = (
        b'HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: text/plain\r\nETag: "0"\r\n'
        b"Content-Length: %d\r\n\r\n"
    )
    return head % (date(time.time()), len(body)) + body


OWN = (
    b"HTTP/1.1 200 OK\r\nServer: application\r\nDate: %b\r\nContent-Type: text/html;"
    b' charset=utf-8\r\nContent-Length: 1024\r\nETag: "%x-400"\r\nLast-Modified: %b\r\n'
    b"Vary: Cookie\r\nSet-Cookie: app_session=%016x; Path=/; HttpOnly; SameSite=Lax\r\n\r\n%b"
)


def own_page() -> bytes:
    number = next(numbers)
    modified = MODIFIED[number % len(MODIFIED)]
    return OWN % (now[0], number, modified, number * 0x9E3779B97F4A7C15 % (1 << 64), KIB)


GIB = 1 << 30
MIB = b"x" * (1 << 20)
HUGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % GIB

pages: dict[bytes, bytes] = {}  # renewed every tenth of a second
now = [b""]  # likewise
numbers = itertools.count(1)
MODIFIED = [date(1.76e9 + 977 * hour) for hour in range(1000)]

listeners: set[asyncio.Transport] = set()


class Application(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.head = b""
        self.left = 0  # remaining bytes of the current body
        self.path = b""
        self.echoes = self.paused = False
        self.left_to_send = 0
        self.to_echo = 0  # bytes of messages

    def data_received(self, data: bytes) -> None:
        if self.echoes:
            self.echo(data)
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
            key = KEY.search(head)
            self.key = key[1] if key else b""
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
            accept = base64.b64encode(hashlib.sha1(self.key + GUID).digest())  # noqa: S324
            self.transport.write(SWITCH % accept)
            self.echo(rest)
        elif self.path == b"/events":
            self.transport.write(STREAM)
            listeners.add(self.transport)
        elif self.path == b"/huge":
            self.transport.write(HUGE)
            self.left_to_send = GIB
            self.resume_writing()
        elif self.path == b"/whoami":
            self.transport.write(page(self.user))
        elif self.path in pages:
            self.transport.write(pages[self.path])
        else:
            self.transport.write(own_page())

    def echo(self, data: bytes) -> None:
        self.to_echo += len(data)
        while self.to_echo >= FROM_CLIENT_BYTES:
            self.to_echo -= FROM_CLIENT_BYTES
            self.transport.write(TO_CLIENT)

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
    now[0] = date(time.time())
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
