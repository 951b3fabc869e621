"""One client connection: it is made, half-closed, closed or lost, or the server stops.

Knows when and how a connection is closed, and how bytes that are not a request are answered; must
not know users, rules or upstreams. `pipeline.py` decides the order of its requests, which
`request_parser.py` reads.
"""

import asyncio
from typing import Any, cast
from typing import Protocol as Typed

from doorward.http1.client_exchange import Closable
from doorward.http1.known_requests import KnownRequests
from doorward.http1.turns import Turns
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
from doorward.server.exchange import Exchange, RequestHandler
from doorward.server.flow import Flow, other_end, own_end
from doorward.server.limits import Place
from doorward.server.pipeline import Pipeline
from doorward.server.plain_answers import LINGER_BYTES, LINGER_S, plain_answer
from doorward.settings import LimitSettings
from doorward.web.return_address import page_bytes


class Connections(Typed):
    """The open connections, the tasks that answer on them, and the turns of their long work."""

    tasks: set[asyncio.Task[None]]
    turns: Turns

    def add(self, connection: "Protocol") -> None: ...
    def discard(self, connection: object) -> None: ...


class Protocol(asyncio.Protocol):
    """One client connection. `place` is released at its end."""

    limits: LimitSettings
    place: Place | None = None
    observer: Observer | None = None
    gateway: RequestHandler | None = None  # answers if there is no ASGI application
    at_once = True  # whether the gateway may answer without a task
    known: KnownRequests  # of all connections
    page_bytes: int  # the longest target of Doorward's own pages
    app: Any = None  # the ASGI application, which answers if there is no gateway

    transport: asyncio.Transport
    flow: Flow
    pipeline: Pipeline
    _timers: ConnectionTimers
    attached: Closable | None = None  # upstream connections that only this client uses
    _refused: tuple[int, str] | None = None  # the answer to the bytes after the last request
    _sent_before = -1  # bytes of the answer's body at the last probe of a half-closed client

    def __init__(self, connections: Connections) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks, self.turns = connections.tasks, connections.turns
        self._connections = connections
        self.server: tuple[str, int | None] | None = None
        self.client: tuple[str, int] | None = None
        self.scheme = "http"
        self.link = "", "http"  # the client's address, and the scheme of the connection
        self._lingering = False
        self._lingered_bytes = 0  # received since then

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
        self.pipeline = Pipeline(self, self._timers, self.limits.requests_per_connection or -1)
        self._timers.await_head()

    # Requests and answers

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES:
                self.transport.abort()
            return
        self.pipeline.receive(data)

    def answer(self, exchange: Exchange) -> None:
        """Have a request answered by the gateway or the application."""
        gateway = self.gateway
        if self.attached is not None:
            exchange.attached = self.attached
        if gateway is None:
            exchange.spawn(exchange.run_asgi(self.app))
        elif self.at_once and (exchange.plain or exchange.parsed is not None):
            exchange.begin(gateway)
        else:
            exchange.spawn(exchange.answer(gateway))

    def on_response_complete(self) -> None:
        pipeline = self.pipeline
        running = pipeline.running
        if running is not None and not running.keep_alive:
            self._refused = None  # the last answer was given
            parser = pipeline.parser
            if (parser.in_message and running is parser.last) or self.flow.read_paused:
                self.linger()
            else:
                self.close()
        if self.is_over:
            return
        if pipeline.waiting:
            pipeline.answer_waiting()
            return
        if pipeline.kept or self.flow.read_paused:
            pipeline.read_on()
        if self._refused is not None:
            self._turn_away(*self._refused)
            self._refused = None
            self.linger()
            return
        self._timers.start_idle()

    @property
    def is_idle(self) -> bool:
        return self.pipeline.is_idle

    @property
    def ignores_input(self) -> bool:
        return self._lingering or self.transport.is_closing()

    @property
    def is_over(self) -> bool:
        return (self._lingering and self._refused is None) or self.transport.is_closing()

    # Refusing and closing

    def refuse(self, status: int, reason: str) -> None:
        """Answer bytes that are not a request, and close. If they belong to a request whose answer
        has begun, that answer is cut; requests before it are answered first."""
        self._timers.end_head()
        pipeline = self.pipeline
        running, last = pipeline.running, pipeline.parser.last
        is_of_last = last is not None and last.more_body
        if running is not None and not (
            running.response_complete or (is_of_last and running is last)
        ):
            if self._lingering:
                return
            if is_of_last:
                pipeline.waiting.popleft()
            self._refused = status, reason
            self._start_lingering()  # what else the client sends is dropped
            self.flow.resume_reading()  # to notice when it leaves
        elif running is not None and running is last and not running.response_started:
            running.turned_away = status  # the carrier reports it
            running.client_gone()
            if not self.ignores_input:
                self.transport.write(plain_answer(status, reason))
                self.linger()
        elif not pipeline.is_free:
            self.transport.close()
        elif not self.ignores_input:
            self._turn_away(status, reason)
            self.linger()

    def _turn_away(self, status: int, reason: str) -> None:
        """Answer bytes of which no carrier learns."""
        self.transport.write(plain_answer(status, reason))
        if self.observer is not None:
            unread = UnreadRequest(self.client[0] if self.client else "")
            record = BriefRecord(unread, sent_bytes=len(reason) + 1)
            self.observer.ended(
                refusal_outcome(TURNED_AWAY[status]), NO_ROUTE, status, now_s(), record
            )

    def linger(self) -> None:
        """Close, but first read for a moment what the client still sends: closing with unread bytes
        is a reset, which can overtake the answer (RFC 9112 9.6)."""
        if not self.transport.can_write_eof():
            self.close()
            return
        self._start_lingering()
        self.pipeline.kept = b""
        self.flow.release_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.close)

    def _start_lingering(self) -> None:
        self._lingering = True
        self._lingered_bytes = 0

    def close(self) -> None:
        """Close once the client has read what was sent, or stops reading it."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._timers.await_reader()

    # For its timers

    @property
    def awaits_body(self) -> bool:
        parser = self.pipeline.parser
        return parser.in_message and not (parser.in_head or self.transport.is_closing())

    @property
    def is_held_back(self) -> bool:
        last = self.pipeline.parser.last
        return self.flow.read_paused or (last is not None and last.waiting_for_100_continue)

    def body_late(self) -> None:
        if self.pipeline.is_free:
            self.close()
        else:
            self.refuse(408, "the rest of the request did not come in time")

    @property
    def awaits_reader(self) -> bool:
        if self.transport.is_closing():
            return True
        running = self.pipeline.running
        return self.flow.write_paused and (running is None or running.tunnel is None)

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self._timers.await_reader()

    # Half-closed and lost connections

    def eof_received(self) -> bool:
        """The client has closed its sending side. If it waits for answers to complete requests,
        stay open until they are sent. If it stopped within a request, reads an event stream or
        waits for nothing, it has left; so has every client over TLS, where this means a close."""
        parser, running = self.pipeline.parser, self.pipeline.running
        is_within = parser.in_message or parser.held
        waits = not (self.pipeline.is_free or is_within or self._lingering)
        if not (waits and self.transport.can_write_eof()):
            return False
        if running is not None and running.is_event_stream:
            return False
        assert parser.last is not None
        parser.last.keep_alive = False
        self._timers.watch_half_closed()
        return True

    def probe(self) -> bool:
        running = self.pipeline.running
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
        self.pipeline.close()

    # The server's stop

    @property
    def has_sent_all(self) -> bool:
        """Whether the connection is closing and has nothing left to send."""
        return self.transport.is_closing() and not self.transport.get_write_buffer_size()

    def shutdown(self) -> None:
        """The server stops: close the connection if it is idle, a tunnel or an event stream, whose
        clients reconnect. Otherwise close it after the current answer."""
        running, last = self.pipeline.running, self.pipeline.parser.last
        if running is None or self.pipeline.is_free:
            self.close()
        elif running.tunnel is not None:
            running.tunnel.close()
        elif running.is_event_stream:
            running.finish()
        else:
            running.keep_alive = False
            if last is not None:
                last.keep_alive = False

    def end_now(self) -> None:
        """The grace period is over: answer 503 if nothing was sent yet, otherwise cut the answer
        off."""
        running = self.pipeline.running
        if self.transport.is_closing():
            return  # the rest of its answer may still be sent
        if running is None or running.response_complete:
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
        pipeline = self.pipeline
        if pipeline.running is not None:
            pipeline.running.client_caught_up()
        if pipeline.waiting:
            pipeline.answer_waiting()
        elif pipeline.kept:
            pipeline.read_kept()


def protocol_with(
    limits: LimitSettings,
    app: Any,
    gateway: RequestHandler | None = None,
    observer: Observer | None = None,
    *,
    at_once: bool = True,
) -> type[Protocol]:
    """The protocol class of a server with these limits. `gateway` answers instead of `app`, without
    a task if `at_once` allows it. `observer` gets the requests that were refused before either."""
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
