"""HTTP/1 from a client: what it may send, and what happens to it.

Knows the bytes of one client connection; must not know users, rules or upstreams.
"""

import asyncio
from collections import deque
from functools import cached_property
from typing import Any, cast
from typing import Protocol as Typed

import httptools

from doorward import paths
from doorward.http1.client_exchange import Closable
from doorward.http1.headers import Header
from doorward.http1.heads import RequestHead, read_request
from doorward.http1.known_requests import HEAD_BYTES as KNOWN_BYTES
from doorward.http1.known_requests import KnownRequests
from doorward.http1.methods import KNOWN, METHOD, NEVER
from doorward.observe.observer import (
    NO_ROUTE,
    STOPPING,
    TURNED_AWAY,
    BriefRecord,
    Observer,
    UnreadRequest,
    now_s,
    refusal_outcome,
)
from doorward.server.connection_timers import ConnectionTimers
from doorward.server.exchange import NO_TRAILERS, Exchange, RequestHandler
from doorward.server.flow import HIGH_WATER_BYTES, Flow, other_end, own_end
from doorward.server.limits import Place
from doorward.server.plain_answers import LINGER_BYTES, LINGER_S, plain_answer
from doorward.server.tunnel import PendingUpgrade, asked_protocols
from doorward.settings import LimitSettings
from doorward.web.return_address import page_bytes

_OWN_PAGES = paths.PREFIX.encode()
FRAMING = (b"content-length", b"transfer-encoding")
SPECIAL = frozenset((*FRAMING, b"expect", b"upgrade"))
INVALID = "this is not a valid HTTP request"
# How many pipelined requests, and how many bytes of them, are taken before other connections have
# their turn. Every request in a piece costs copies of what is behind it.
TURNS = 64
PIECE_BYTES = 4096


class HeadTooLarge(Exception):
    """A request head over `limits.header_bytes` or of too many lines (RFC 6585 5)."""


class TargetTooLong(Exception):
    """A request target over `limits.target_bytes` (RFC 9110 15.5.15)."""


class Connections(Typed):
    """Those that are open, and the tasks that answer on them."""

    tasks: set[asyncio.Task[None]]

    def add(self, connection: "Protocol") -> None: ...
    def discard(self, connection: object) -> None: ...


class Protocol(asyncio.Protocol):
    """One client connection. `limits` bounds its heads and its patience; `place` is left when it is
    gone."""

    limits: LimitSettings
    place: Place | None = None
    observer: Observer | None = None
    gateway: RequestHandler | None = None  # answers, where there is no ASGI application
    at_once = True  # whether it may without a task
    known: KnownRequests  # of all connections
    page_bytes: int  # the most of a target of our own pages
    app: Any = None  # the ASGI application that answers where there is no gateway

    transport: asyncio.Transport
    flow: Flow
    _timers: ConnectionTimers
    attached: Closable | None = None  # upstream connections that are this client's alone
    _refused: tuple[int, str] | None = None  # the answer to the bytes behind the last request
    _requests_left = -1  # which is never none
    _sent_before = -1  # of an answer's body, when a half-closed client was looked at last

    def __init__(self, connections: Connections) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks = connections.tasks
        self._connections = connections
        self.server: tuple[str, int | None] | None = None
        self.client: tuple[str, int] | None = None
        self.scheme = "http"
        self.link = "", "http"  # the client's address, and the scheme that it came by
        self.cycle: Exchange | None = None  # of the last request whose head came
        self.pipeline: deque[Exchange] = deque()  # those behind the one that is answered
        self._running: Exchange | None = None  # whose turn it is; others wait behind it
        self._in_head = self._in_message = self._lingering = False
        self._held = b""  # the start of a request, as long as its first line is not whole
        self._later = b""  # requests that are read once those before them are answered
        self._is_answering = False  # those of the pipeline
        self._turns_left = TURNS
        self._unread = 0  # bytes since the last head or piece of body
        self.url = b""
        self.headers: list[Header] = []
        self._head_bytes = 0  # of the head that is being read
        self._expects = self._has_body = self._plain = False
        self._tail, self._body_left = b"", 0  # of the head and of the body that is being read
        self._raw_left = 0  # of a body that llhttp does not see
        self._rereading = False
        self._stand_in: bytes | None = None  # a method that llhttp does not know

    @cached_property
    def parser(self) -> httptools.HttpRequestParser:
        """Made when it is first needed: most connections never do."""
        parser = httptools.HttpRequestParser(self)
        # One request that says that it is the last may have others behind it, which are ignored.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # What it says

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            self._unread += len(data)
            if self._unread > LINGER_BYTES:
                self.transport.abort()
            return
        if self._later or (self.flow.write_paused and not self._in_message):
            self._keep(data)
            return
        if not (self._in_message or self._held) and self._is_plain(data):
            return
        self._unread += len(data)
        self._read(data)
        self._wait()

    def _read(self, rest: bytes) -> None:
        """Take in what came: the rest of a message, or others behind it."""
        behind = b""
        self._turns_left = TURNS
        while rest and not (self._lingering or self.transport.is_closing()):
            if self._in_message:
                rest = self._go_on(rest)
            elif self.pipeline or self.flow.write_paused:
                break
            elif len(rest) > PIECE_BYTES and not behind:
                rest, behind = rest[:PIECE_BYTES], rest[PIECE_BYTES:]
            else:
                rest = self._begin(rest)
            if self.cycle is not None and self.cycle.taker is not None:
                self.cycle.give_more()
        if rest or behind:
            self._put_off(rest + behind)

    def _put_off(self, data: bytes) -> None:
        """Leave for later what came behind a request."""
        waiting = None if self.cycle is None else self.cycle.waiting
        if waiting is not None and not self._is_free():
            waiting.data_received(data)  # it asked for an upgrade
        elif not (self._lingering or self.transport.is_closing()):
            self._keep(data)
            self.loop.call_soon(self._take_kept)

    def _keep(self, data: bytes) -> None:
        """Keep requests for later, and read no more: however many a client sends before it reads
        the answers, memory holds one read of them."""
        self._later += data
        self._unread = 0
        self.flow.hold_reading()

    def _take_kept(self) -> None:
        """Go on with what was kept, if it is its turn."""
        if not self._in_message and (self.pipeline or self.flow.write_paused):
            return
        kept, self._later = self._later, b""
        self.flow.release_reading()
        if kept and not (self._lingering or self.transport.is_closing()):
            self.data_received(kept)

    def _read_on(self) -> None:
        """Read what comes next: what was kept, or what the client sends."""
        if self._later:
            # Not at once: answers that need no waiting would be given within each other.
            self.loop.call_soon(self._take_kept)
        else:
            self.flow.release_reading()

    def _wait(self) -> None:
        """Bound the wait for what is still to come of a message, and its size."""
        if self._in_head or self._held:
            self._timers.await_head()
        elif self._in_message:
            self._timers.note_body()
        if self._unread > 2 * self.limits.header_bytes:
            # llhttp's binding keeps a line of a head or a trailer until its end has come, and
            # copies it with every piece; what is not body must be limited (CVE-2024-22019).
            self._refuse(431, "the request head is too large")

    def _is_plain(self, data: bytes) -> bool:
        """True when a request begins here whose head the reader takes, and it was taken for it: one
        without a body, and nothing else, or one whose body is as long as its head says. Others are
        for llhttp."""
        previous = self.cycle
        if previous is not None and not previous.response_complete:
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
        self._timers.end_head()
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
        self._timers.end_head()
        self.cycle = exchange = Exchange(self, head.method, head.target, None, False, head)
        exchange.keep_alive = head.keep_alive
        self._in_message, self._raw_left = True, int(head.content_length)
        rest = data[len(head.text) :]
        if rest:  # so that head and body can be forwarded in one write
            rest = self._take_raw(rest)
        self._run(exchange)
        self._read(rest)
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
            self._stand_in = method  # llhttp gets another one, which it knows
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
        """A header that says how this message continues."""
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
            if exchange.taker is not None:
                exchange.give_more()  # before a request behind it is read
        elif not self.pipeline:
            self._turns_left -= 1
            self._run(exchange)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unread = 0
        if self._rereading:
            self._rereading = False
            return
        self._timers.end_head()
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
        if previous is not None and not (self._turns_left and self._may_begin(previous)):
            self.flow.hold_reading()
            self.pipeline.appendleft(exchange)
            if self._may_begin(previous):
                self.loop.call_soon(self._answer_pipeline)
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
        elif self.at_once and (exchange.plain or exchange.parsed is not None):
            exchange.begin(gateway)
        else:
            exchange.spawn(exchange.answer(gateway))

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        self.transport = cast(asyncio.Transport, transport)
        self._timers = ConnectionTimers(self, self.transport, self.limits)
        self.flow = Flow(self.transport)
        self.server = own_end(transport)
        self.client = other_end(transport)
        if transport.get_extra_info("sslcontext"):
            self.scheme = "https"
        self.link = self.client[0] if self.client else "", self.scheme
        self._requests_left = self.limits.requests_per_connection or -1
        self._timers.await_head()

    def on_response_complete(self) -> None:
        if self._running is not None and not self._running.keep_alive:
            if (self._in_message and self._running is self.cycle) or self.flow.read_paused:
                self.linger()
            else:
                self.close()
        if (self._lingering and self._refused is None) or self.transport.is_closing():
            return
        if self.pipeline:
            self._answer_pipeline()
            return
        if self._later or self.flow.read_paused:
            self._read_on()
        if self._refused is not None:
            self._turn_away(*self._refused)
            self._refused = None
            self.linger()
            return
        self._timers.start_idle()

    def _answer_pipeline(self) -> None:
        """Answer what waits in the pipeline, until an answer takes time or the client reads too
        slowly. Not within each other: a stack is not that deep."""
        if self._is_answering:
            return
        self._is_answering = True
        try:
            for _ in range(TURNS):
                if not (self.pipeline and self._may_answer()):
                    return
                following = self.pipeline.pop()
                if not self.pipeline:
                    self._read_on()  # its body, or the next one
                self._run(following)
        finally:
            self._is_answering = False
        self.loop.call_soon(self._answer_pipeline)

    def _may_answer(self) -> bool:
        if self.transport.is_closing() or (self._lingering and self._refused is None):
            return False
        return self._running is None or self._may_begin(self._running)

    def _may_begin(self, previous: Exchange) -> bool:
        """Whether another answer may begin: the one before it is complete, and the client reads."""
        return previous.response_complete and not self.flow.write_paused

    def _is_free(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_idle(self) -> bool:
        return not (self._in_head or self._later) and self._is_free()

    def _refuse(self, status: int, reason: str) -> None:
        """Answer bytes that are no request and close. The answer to what they belong to is cut if
        it is sent already; requests before that have theirs first."""
        self._timers.end_head()
        running, last = self._running, self.cycle
        is_of_last = last is not None and last.more_body
        if running is not None and not (
            running.response_complete or (is_of_last and running is last)
        ):
            if self._lingering:
                return
            if is_of_last:
                self.pipeline.popleft()
            self._refused = status, reason
            self._lingering = True  # whatever else it sends is not read
            self._unread = 0
            self.flow.resume_reading()  # but that it leaves is to be known
        elif running is not None and running is last and not running.response_started:
            running.turned_away = status  # who carries it tells of that
            running.client_gone()  # its message turned out not to be one
            if not (self._lingering or self.transport.is_closing()):
                self.transport.write(plain_answer(status, reason))
                self.linger()
        elif not self._is_free():
            self.transport.close()
        elif not (self._lingering or self.transport.is_closing()):
            self._turn_away(status, reason)
            self.linger()

    def _turn_away(self, status: int, reason: str) -> None:
        """Answer what no carrier gets to see."""
        self.transport.write(plain_answer(status, reason))
        if self.observer is not None:
            unread = UnreadRequest(self.client[0] if self.client else "")
            record = BriefRecord(unread, sent_bytes=len(reason) + 1)
            self.observer.ended(
                refusal_outcome(TURNED_AWAY[status]), NO_ROUTE, status, now_s(), record
            )

    def linger(self) -> None:
        """Close, but take in for a moment what the client still sends: a close with bytes unread is
        a reset, which can overtake the answer (RFC 9112 9.6)."""
        if not self.transport.can_write_eof():
            self.close()
            return
        self._lingering = True
        self._unread = 0
        self._later = b""
        self.flow.release_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.close)

    def close(self) -> None:
        """Close, once the client has what was sent; for as long as it goes on to take some."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._timers.await_reader()

    # What its timers ask

    @property
    def awaits_body(self) -> bool:
        return self._in_message and not (self._in_head or self.transport.is_closing())

    @property
    def is_held_back(self) -> bool:
        return self.flow.read_paused or (
            self.cycle is not None and self.cycle.waiting_for_100_continue
        )

    def body_late(self) -> None:
        if self._is_free():
            self.close()
        else:
            self._refuse(408, "the rest of the request did not come in time")

    @property
    def awaits_reader(self) -> bool:
        if self.transport.is_closing():
            return True
        return self.flow.write_paused and self.transport.get_protocol() is self

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self._timers.await_reader()

    # A client that has said its last word

    def eof_received(self) -> bool:
        """Go on if the client waits for answers to whole requests, and close after them. One that
        ends within a request or an event stream, or waits for nothing, has left. Over TLS a last
        word looks the same as a close."""
        waits = not (self._is_free() or self._in_message or self._held or self._lingering)
        if not (waits and self.transport.can_write_eof()):
            return False
        if self._running is not None and self._running.is_event_stream:
            return False
        assert self.cycle is not None
        self.cycle.keep_alive = False
        self._timers.watch_half_closed()
        return True

    def probe(self) -> bool:
        running = self._running
        if running is None or self.flow.write_paused:
            return True
        if running.response_started:
            before, self._sent_before = self._sent_before, running.sent_bytes
            return before != running.sent_bytes
        if not running.is_http_1_0:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._timers.stop()
        if self.place is not None:
            self.place.leave()
        self._connections.discard(self)
        if self.flow.write_paused:
            self.flow.resume_writing()
        if self.attached is not None:
            self.attached.close()
        for exchange in (self.cycle, self._running, *self.pipeline):
            if exchange is not None:
                exchange.client_gone()
        self._release()

    def _release(self) -> None:
        """Drop what refers back to the connection, so that its memory is free at once: the
        collector does not look again at what has lived for seconds (see `app._settle_memory`)."""
        vars(self).pop("parser", None)
        self.cycle = self._running = None
        self.pipeline.clear()

    # A stop

    def shutdown(self) -> None:
        """The server stops: end what is idle or has no end of its own, and close after what is
        answered now. A client behind a tunnel or an event stream connects again."""
        running = self._running
        if running is None or self._is_free():
            self.close()
        elif running.tunnel is not None:
            running.tunnel.close()
        elif running.is_event_stream:
            running.finish()
        else:
            running.keep_alive = False
            if self.cycle is not None:
                self.cycle.keep_alive = False

    def end_now(self) -> None:
        """The grace period is over: 503 where nothing was sent, else the client sees a cut."""
        running = self._running
        if running is None or running.response_complete or self.transport.is_closing():
            self.transport.abort()
        elif running.tunnel is not None:
            running.tunnel.cut()
        elif running.response_started:
            running.left_for = STOPPING
            running.cut(at_once=True)
        else:
            running.left_for, running.turned_away = STOPPING, 503
            running.client_gone()
            self.transport.write(plain_answer(503, "the server is stopping; try again"))
            self.linger()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self._timers.note_reader()
        if self._running is not None:
            self._running.client_caught_up()
        if self.pipeline:
            self._answer_pipeline()
        elif self._later:
            self._take_kept()


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
    place, `at_once` without a task where it can; `observer` hears of what does not reach it."""
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
