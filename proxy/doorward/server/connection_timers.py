"""The life of one client connection: let in or not, waited for, refused, closed.

Knows clocks and what was left unsaid; how bytes are read it must not know, the protocol does.
"""

import asyncio
from collections import deque
from typing import Protocol, cast

from doorward.http1.client_exchange import Closable
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
from doorward.server.exchange import Exchange
from doorward.server.flow import Flow, other_end, own_end
from doorward.server.limits import BodyClock, HalfClosed, Place, ReaderClock
from doorward.server.plain_answers import LINGER_S, plain_answer
from doorward.settings import LimitSettings


class Connections(Protocol):
    """Those that are open, and the tasks that answer on them."""

    tasks: set[asyncio.Task[None]]

    def add(self, connection: "ConnectionTimers") -> None: ...
    def discard(self, connection: object) -> None: ...


class ConnectionTimers(asyncio.Protocol):
    """`limits` bounds its patience; `place` is left when the connection is gone."""

    limits: LimitSettings
    place: Place | None = None
    observer: Observer | None = None
    transport: asyncio.Transport
    flow: Flow
    attached: Closable | None = None  # upstream connections that are this client's alone
    _refused: tuple[int, str] | None = None  # what the bytes behind the last request are told
    _requests_left = -1  # which is never none
    _body_clock: BodyClock | None = None
    _reader_clock: ReaderClock | None = None
    _half_closed: HalfClosed | None = None
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
        self._in_head = self._in_message = self._lingering = False
        self._held = b""  # the start of a request, as long as its first line is not whole
        self._unread = 0  # bytes since the last head or piece of body
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._running: Exchange | None = None  # whose turn it is; others wait behind it

    def _run(self, exchange: Exchange) -> None:
        """It is this one's turn to be answered."""
        raise NotImplementedError

    # A head: a timer while one is unfinished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        self.transport = cast(asyncio.Transport, transport)
        self.flow = Flow(self.transport)
        self.server = own_end(transport)
        self.client = other_end(transport)
        if transport.get_extra_info("sslcontext"):
            self.scheme = "https"
        self.link = self.client[0] if self.client else "", self.scheme
        self._requests_left = self.limits.requests_per_connection or -1
        self._await_head()

    def _await_head(self) -> None:
        seconds = self.limits.header_timeout.total_seconds()
        self._head_timer = self.loop.call_later(seconds, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        self.close()

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # Idle connections: one timer that looks again, instead of one that each request cancels

    def on_response_complete(self) -> None:
        if self._running is not None and not self._running.keep_alive:
            if (self._in_message and self._running is self.cycle) or self.flow.read_paused:
                self.linger()
            else:
                self.close()
        if (self._lingering and self._refused is None) or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._run(self.pipeline.pop())
            return
        if self._refused is not None:
            self._turn_away(*self._refused)
            self._refused = None
            self.linger()
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
            self.close()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, status: int, reason: str) -> None:
        """Answer bytes that are no request and close. The answer to what they belong to is cut if
        it is sent already; requests before that have theirs first."""
        self._head_done()
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
        elif not self._is_idle():
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
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.close)

    def close(self) -> None:
        """Close, once the client has what was sent; for as long as it goes on to take some."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._await_reader()

    # Limits on silence, by clocks that most connections never have

    def _await_body(self) -> None:
        if self._body_clock is None:
            self._body_clock = BodyClock(self, self.limits.body_timeout.total_seconds())
        self._body_clock.came()

    @property
    def awaits_body(self) -> bool:
        return self._in_message and not (self._in_head or self.transport.is_closing())

    @property
    def is_held_back(self) -> bool:
        return self.flow.read_paused or (
            self.cycle is not None and self.cycle.waiting_for_100_continue
        )

    def body_late(self) -> None:
        if self._is_idle():
            self.close()
        else:
            self._refuse(408, "the rest of the request did not come in time")

    def _await_reader(self) -> None:
        if self._reader_clock is None:
            seconds = self.limits.write_timeout.total_seconds()
            self._reader_clock = ReaderClock(self, self.transport, seconds)
        self._reader_clock.start()

    @property
    def awaits_reader(self) -> bool:
        if self.transport.is_closing():
            return True
        return self.flow.write_paused and self.transport.get_protocol() is self

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self._await_reader()

    # A client that has said its last word

    def eof_received(self) -> bool:
        """Go on if the client waits for answers to whole requests, and close after them. One that
        ends within a request or an event stream, or waits for nothing, has left. Over TLS a last
        word cannot be told from a close."""
        waits = not (self._is_idle() or self._in_message or self._held or self._lingering)
        if not (waits and self.transport.can_write_eof()):
            return False
        if self._running is not None and self._running.is_event_stream:
            return False
        assert self.cycle is not None
        self.cycle.keep_alive = False
        if self._half_closed is None:
            self._half_closed = HalfClosed(self, self.transport)
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
        self._head_done()
        if self.place is not None:
            self.place.leave()
        for clock in (self._body_clock, self._reader_clock, self._half_closed):
            if clock is not None:
                clock.stop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._connections.discard(self)
        if self.flow.write_paused:
            self.flow.resume_writing()
        if self.attached is not None:
            self.attached.close()
        for exchange in (self.cycle, self._running, *self.pipeline):
            if exchange is not None:
                exchange.client_gone()

    # A stop

    def shutdown(self) -> None:
        """The server stops: end what is idle or has no end of its own, and close after what is
        answered now. A client behind a tunnel or an event stream connects again."""
        running = self._running
        if running is None or self._is_idle():
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
        if self._reader_clock is not None:
            self._reader_clock.moved()
        if self._running is not None:
            self._running.client_caught_up()
