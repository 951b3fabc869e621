"""HTTP/1 from a client: what it may send, and what becomes of it.

Knows the bytes of one client connection; must not know users, rules or upstreams.
"""

from typing import Any, cast

import httptools

from doorward import paths
from doorward.http1.headers import Header
from doorward.http1.heads import RequestHead, read_request
from doorward.http1.known_requests import HEAD_BYTES as KNOWN_BYTES
from doorward.http1.known_requests import KnownRequests
from doorward.http1.methods import KNOWN, METHOD, NEVER
from doorward.observe.observer import Observer
from doorward.server.connection_timers import Connections, ConnectionTimers
from doorward.server.exchange import NO_TRAILERS, Exchange, RequestHandler
from doorward.server.flow import HIGH_WATER_BYTES
from doorward.server.plain_answers import LINGER_BYTES
from doorward.server.tunnel import PendingUpgrade, asked_protocols
from doorward.settings import LimitSettings
from doorward.web.return_address import page_bytes

_OWN_PAGES = paths.PREFIX.encode()
FRAMING = (b"content-length", b"transfer-encoding")
SPECIAL = frozenset((*FRAMING, b"expect", b"upgrade"))
INVALID = "this is not a valid HTTP request"


class HeadTooLarge(Exception):
    """A request head over `limits.header_bytes` or of too many lines (RFC 6585 5)."""


class TargetTooLong(Exception):
    """A request target over `limits.target_bytes` (RFC 9110 15.5.15)."""


class Protocol(ConnectionTimers):
    """One client connection, whose heads `limits` bounds too."""

    gateway: RequestHandler | None = None  # answers, where there is no ASGI application
    at_once = True  # whether it may without a task
    known: KnownRequests  # of all connections
    page_bytes: int  # the most of a target of our own pages

    app: Any = None  # the ASGI application that answers where there is no gateway

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.parser = httptools.HttpRequestParser(self)
        # One request that says that it is the last may have others behind it, which are ignored.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.url = b""
        self.headers: list[Header] = []
        self._head_bytes = 0  # of the head that is being read
        self._expects = self._has_body = self._plain = False
        self._tail, self._body_left = b"", 0  # of the head and of the body that is being read
        self._raw_left = 0  # of a body that llhttp does not see
        self._rereading = False
        self._stand_in: bytes | None = None  # a method that llhttp does not know

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            self._unread += len(data)
            if self._unread > LINGER_BYTES:
                self.transport.abort()
            return
        if not (self._in_message or self._held) and self._is_plain(data):
            return
        self._unread += len(data)
        self._read(data)
        self._wait()

    def _read(self, rest: bytes) -> None:
        """Take in what came: the rest of a message, or others behind it."""
        while rest and not self.transport.is_closing():
            rest = self._go_on(rest) if self._in_message else self._begin(rest)

    def _wait(self) -> None:
        """Bound the wait for what is still to come of a message, and its size."""
        if self._in_head or self._held:
            if self._head_timer is None:
                self._await_head()
        elif self._in_message:
            self._await_body()
        if self._unread > 2 * self.limits.header_bytes:
            # llhttp's binding keeps a line of a head or a trailer until its end has come, and
            # copies it with every piece; what is not body must not go on and on (CVE-2024-22019).
            self._refuse(431, "the request head is too large")

    def _is_plain(self, data: bytes) -> bool:
        """True when a request begins here whose head the reader takes, and it was taken for it: one
        without a body, and nothing else, or one whose body is as long as its head says. Others are
        for llhttp."""
        if not self._is_idle():
            return False
        known = self.known.find(data) if len(data) <= KNOWN_BYTES else None
        if known is None:
            limits = self.limits
            head = read_request(
                data, 0, limits.header_bytes, limits.target_bytes, limits.header_count
            )
            if head is None:
                return False
            if head.has_body:
                return self._takes_body(head, data)
            if len(head.text) != len(data):
                return False
            self.known.note(head)
        else:
            head = known.head
        self._head_done()
        self.cycle = exchange = Exchange(self, head.method, head.target, None, True, head)
        exchange.more_body = False
        if not head.keep_alive:
            exchange.keep_alive = False
        if known is not None:
            exchange.known = known
        self._run(exchange)
        return True

    def _takes_body(self, head: RequestHead, data: bytes) -> bool:
        """Begin a request whose body needs counting, not parsing. False for one in chunks."""
        if head.content_length is None:
            return False
        self._head_done()
        self.cycle = exchange = Exchange(self, head.method, head.target, None, False, head)
        exchange.keep_alive = head.keep_alive
        self._in_message, self._raw_left = True, int(head.content_length)
        self._run(exchange)
        self._read(data[len(head.text) :])
        self._wait()
        return True

    def _take_raw(self, data: bytes) -> bytes:
        """Take the next piece of such a body, and return what came behind it."""
        piece = data if len(data) <= self._raw_left else data[: self._raw_left]
        self._raw_left -= len(piece)
        self.on_body(piece)
        if not self._raw_left:
            self._in_message = False
            exchange = cast(Exchange, self.cycle)
            exchange.more_body = False
            exchange.message_event.set()
        return data[len(piece) :]

    def _begin(self, data: bytes) -> bytes:
        """Feed the parser what of a head is there, once its first line is, and return what came
        behind it: another head, or a body."""
        data = self._held + data if self._held else data
        self._held = b""
        if data[:1] in (b"\r", b"\n"):  # RFC 9112 2.2: a robust server skips them
            data = data.lstrip(b"\r\n")
        method, space, _ = data.partition(b" ")
        may_be = METHOD.fullmatch(method) is not None
        if b"\n" not in data and len(data) <= self.limits.target_bytes and (may_be or not data):
            self._held = data
            return b""
        if b"  " in data.partition(b"\r\n")[0]:  # which llhttp takes for one
            self._refuse(400, INVALID)
            return b""
        if may_be and space and method not in KNOWN and method not in NEVER:
            self._stand_in = method  # llhttp is told another, which it knows
            data = b"PUT" + data[len(method) :]
        self._tail = b""
        return self._feed_head(data)

    def _feed_head(self, data: bytes) -> bytes:
        seen, start = self._tail + data, len(self._tail)
        end = seen.find(b"\r\n\r\n") + 4 - start
        end = end if end > 0 else len(data)
        self._tail = seen[-3:]
        return self._parse(data[:end], data[end:])

    def _go_on(self, data: bytes) -> bytes:
        """Feed the parser more of a message, up to where its head or a body of known length ends:
        what comes behind it is for `_begin`."""
        if self._raw_left:
            return self._take_raw(data)
        if self._in_head:
            return self._feed_head(data)
        end = self._body_left if self._body_left > 0 else len(data)
        return self._parse(data[:end], data[end:])

    def _parse(self, data: bytes, rest: bytes = b"") -> bytes:
        """Feed the parser and return the rest, with what it left of the data behind a request that
        asked for an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            return self._upgrade_asked(data[pause.args[0] :] + rest)
        except httptools.HttpParserError as fault:
            if isinstance(fault.__context__, HeadTooLarge):
                self._refuse(431, "the request head is too large")
            elif isinstance(fault.__context__, TargetTooLong):
                self._refuse(414, "the request target is too long")
            else:
                self._refuse(400, INVALID)
            return b""
        return rest

    def _upgrade_asked(self, rest: bytes) -> bytes:
        """What to parse of the bytes behind a head with Upgrade. llhttp's binding stops there, body
        or not; with one, or for a protocol not tunnelled, it is a request like any other."""
        exchange = cast(Exchange, self.cycle)
        if self._has_body:
            self._reread()
            return rest
        protocols = asked_protocols(self.headers)
        if self.parser.get_http_version() == "1.0":
            protocols = b""
        if not protocols:
            return rest
        exchange.upgrade = protocols
        exchange.waiting = waiting = PendingUpgrade(self)
        exchange.on_response = waiting.stand_back
        if rest:
            waiting.data_received(rest)
        return b""

    def _reread(self) -> None:
        """Feed the parser the framing again, without Upgrade: the body is to be taken for one."""
        self._rereading = True
        framing = [line for line in self.headers if line[0] in FRAMING]
        lines = b"".join(b"%b: %b\r\n" % line for line in framing)
        self._parse(b"PUT / HTTP/1.1\r\n%b\r\n" % lines)

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._expects = self._has_body = False
        self._plain = self._in_head = self._in_message = True
        self._head_bytes = self._body_left = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.target_bytes and not self._carries_another():
            raise TargetTooLong
        self._count(len(url))

    def _carries_another(self) -> bool:
        """Whether this is the target of a page of ours, which has the one to return to in it."""
        return self.url.startswith(_OWN_PAGES) and len(self.url) <= self.page_bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        name = name.lower()
        if not self._in_head:
            self._note_trailer(name, value)
            return
        if name in SPECIAL:
            value = value.rstrip(b" \t")  # RFC 9110 5.5: not part of it, but llhttp leaves it
            self._note(name, value)
        self.headers.append((name, value))

    def _note_trailer(self, name: bytes, value: bytes) -> None:
        """A trailer, never a header of the request (RFC 9110 6.5.1). Their lines count as the
        head's do, so that a million short ones are none."""
        exchange = cast(Exchange, self.cycle)
        if exchange.trailers is NO_TRAILERS:
            exchange.trailers = []
        exchange.trailers.append((name, value))
        if len(exchange.trailers) > self.limits.header_count:
            raise HeadTooLarge

    def _note(self, name: bytes, value: bytes) -> None:
        """A header that says how this message goes on."""
        if name == b"expect":
            self._expects = True
        elif name in FRAMING and value != b"0":
            self._has_body = True
            if name == b"content-length" and value.isdigit():
                self._body_left = int(value)
        self._plain = not (self._expects or self._has_body or name == b"upgrade") and self._plain

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.header_bytes:
            raise HeadTooLarge

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        self._body_left = max(self._body_left - len(body), 0)
        exchange = cast(Exchange, self.cycle)
        if exchange.response_complete:
            return
        if exchange.take_body(body) > HIGH_WATER_BYTES:
            self.flow.pause_reading()
        exchange.message_event.set()

    def on_message_complete(self) -> None:
        if self._has_body and self.parser.should_upgrade():
            return  # it was not looked for yet
        self._in_message = False
        exchange = cast(Exchange, self.cycle)
        exchange.more_body = False
        if not exchange.plain:
            exchange.message_event.set()
        elif not self.pipeline:
            self._run(exchange)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unread = 0
        if self._rereading:
            self._rereading = False
            return
        self._head_done()
        if len(self.headers) > self.limits.header_count:
            raise HeadTooLarge
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if self._stand_in is not None:
            method, self._stand_in = self._stand_in, None
        if method == b"CONNECT" or version not in ("1.0", "1.1"):
            raise ValueError("neither a tunnel nor a later version is served here")
        if version == "1.0" and self._has_body:
            _refuse_codings(self.headers)
        if version == "1.0" and self._expects:  # RFC 9110 10.1.1
            self._expects = False
            self.headers = [line for line in self.headers if line[0] != b"expect"]
        previous = self.cycle
        self.cycle = exchange = Exchange(self, method, self.url, self.headers, self._plain)
        exchange.is_http_1_0 = version == "1.0"
        exchange.keep_alive = version == "1.1" and self.parser.should_keep_alive()
        exchange.waiting_for_100_continue = self._expects
        if previous is not None and not previous.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft(exchange)
        elif not exchange.plain:  # others run once their message is whole, which is at once
            self._run(exchange)

    def _run(self, exchange: Exchange) -> None:
        """It is this one's turn to be answered."""
        self._running = exchange
        self._requests_left -= 1
        if not self._requests_left:
            exchange.keep_alive = False
        gateway = self.gateway
        if self.attached is not None:
            exchange.attached = self.attached
        if gateway is None:
            exchange.spawn(exchange.run_asgi(self.app))
        elif exchange.plain and self.at_once:
            exchange.begin(gateway)
        else:
            exchange.spawn(exchange.answer(gateway))


def _refuse_codings(headers: list[Header]) -> None:
    """HTTP/1.0 has none: who says so anyway does not say where its body ends (RFC 9112 6.1)."""
    if any(name == b"transfer-encoding" for name, _ in headers):
        raise ValueError("a transfer coding in HTTP/1.0")


def protocol_with(
    limits: LimitSettings,
    app: Any,
    gateway: RequestHandler | None = None,
    observer: Observer | None = None,
    *,
    at_once: bool = True,
) -> type[Protocol]:
    """The protocol class for a server with these limits. `gateway` answers in the application's
    place, `at_once` without a task where it can; `observer` is told of what does not reach it."""
    fixed: dict[str, Any] = {
        "limits": limits,
        "app": staticmethod(app),
        "gateway": gateway,
        "at_once": at_once,
        "observer": observer,
        "page_bytes": page_bytes(limits.target_bytes),
        "known": KnownRequests(),
    }
    return type("LimitedProtocol", (Protocol,), fixed)
