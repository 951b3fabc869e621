"""uvicorn's HTTP protocol with limits on what a client may send, and how slowly.

Knows bytes and clocks of one client connection; must not know users, rules or upstreams.

Each request's scope carries the extension `doorward.exchange` (see `exchange.py`). An application
under another server finds no such key and does without.
"""

import asyncio
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.server.exchange import EXTENSION, Exchange, Flag
from proxy.settings import Limits


class HeadTooLarge(Exception):
    """A request head over `limits.header_bytes` (RFC 6585 5)."""


class Protocol(HttpToolsProtocol):
    """One client connection. `limits` bounds its heads in bytes and its patience in time."""

    limits: Limits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self._head_bytes = 0  # of the head that is being read
        self._in_head = False
        self._unread = 0  # bytes since the last head or piece of body
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._under_way: RequestResponseCycle | None = None  # where others wait behind it

    # Limits on a head: in bytes as it is parsed, in time by a timer while one is unfinished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._await_head()

    def _await_head(self) -> None:
        seconds = self.limits.header_timeout.total_seconds()
        self._head_timer = self.loop.call_later(seconds, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        rest = data
        while rest and not self.transport.is_closing():
            rest = self._parse(rest)
        if self._in_head and self._head_timer is None:
            self._await_head()
        if self._unread > 2 * self.limits.header_bytes:
            # llhttp's binding keeps a line of a head or a trailer until its end has come, and
            # copies it with every piece; what is not body must not go on and on (CVE-2024-22019).
            self._refuse(431, "the request head is too large")

    def _parse(self, data: bytes) -> bytes:
        """Feed the parser; what it left is the request after one that asked for an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            return data[pause.args[0] :]
        except httptools.HttpParserError as fault:
            if isinstance(fault.__context__, HeadTooLarge):
                self._refuse(431, "the request head is too large")
            else:
                self._refuse(400, "this is not a valid HTTP request")
        return b""

    # Idle connections: one timer that looks again, instead of one that each request cancels

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._under_way, app = self.pipeline.pop()
            self._start_asgi_task(self._under_way, app)
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._look_again(self.limits.idle_timeout.total_seconds())

    def _look_again(self, seconds: float) -> None:
        self._idle_timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Close a connection that carried nothing for `idle_timeout`."""
        left = self._idle_since + self.limits.idle_timeout.total_seconds() - self.loop.time()
        if self._in_head or not self._is_idle():
            self._look_again(self.limits.idle_timeout.total_seconds())
        elif left > 0:
            self._look_again(left)
        else:
            self.transport.close()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, status: int, reason: str) -> None:
        """Answer bytes that are no request and close; an answer under way is only cut."""
        self._head_done()
        if self._is_idle() and not self.transport.is_closing():
            self.transport.write(plain_answer(status, reason))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)
        for exchange in (self.cycle, self._under_way, *(cycle for cycle, _ in self.pipeline)):
            if isinstance(exchange, Exchange):
                exchange.client_gone()

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: no header of the request, whatever it is called (RFC 9110 6.5.1)
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.header_bytes:
            raise HeadTooLarge

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unread = 0
        self._head_done()
        version = self.parser.get_http_version()
        if self.parser.get_method() == b"CONNECT" or version not in ("1.0", "1.1"):
            raise ValueError("neither a tunnel nor a later version is served here")
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("ascii")
        scope = cast(dict[str, Any], self.scope)
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        previous = self.cycle
        self.cycle = exchange = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=cast(asyncio.Event, Flag()),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        exchange.target = self.url
        scope["extensions"] = {EXTENSION: exchange}
        if previous is None or previous.response_complete:
            self._start_asgi_task(exchange, self.app)
        else:
            if not self.pipeline:
                self._under_way = previous
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def _should_upgrade(self) -> bool:
        return False  # tunnels are not built yet: the header is ignored (RFC 9110 7.8)


_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


def plain_answer(status: int, reason: str) -> bytes:
    """A whole answer for bytes that never became a request: nobody to draw a page for."""
    body = reason.encode() + b"\n"
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
        b"connection: close\r\n\r\n%b" % (status, _REASONS[status], len(body), body)
    )


def protocol_with(limits: Limits) -> type[Protocol]:
    """The protocol class for a server with these limits."""
    return type("LimitedProtocol", (Protocol,), {"limits": limits})
