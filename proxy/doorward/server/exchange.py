"""One request and its answer on a client connection: turns answers into bytes.

Knows HTTP/1 framing of answers; must not know their content. Head and first piece of the body are
sent in one write. It implements `ClientExchange`, and takes ASGI messages too.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol
from urllib.parse import unquote

import structlog

from doorward.http1.arrival import Received
from doorward.http1.client_exchange import BodyTaker, ClientExchange, Closable, TunnelLimits
from doorward.http1.dates import write_date
from doorward.http1.headers import Header
from doorward.http1.heads import RequestHead
from doorward.http1.joining import JOINED_BYTES, Piece, write_with_head
from doorward.http1.known_requests import KnownRequest
from doorward.http1.response_head import InvalidResponseHead, ResponseHead, check_lines, status_line
from doorward.observe.observer import LEFT, STOPPING, TURNED_AWAY
from doorward.server.flag import NOBODY_WAITS, Flag
from doorward.server.tunnel import Lost, PendingUpgrade, Tunnel

_log = structlog.get_logger("doorward.server")

# Shared by all exchanges without any, so that most requests need no list.
NO_TRAILERS: list[Header] = []
NO_PIECES: deque[Piece] = deque()
# What a piece takes besides its bytes, so that a client cannot fill memory with small ones.
PIECE_BYTES = 64

START, BODY = "http.response.start", "http.response.body"
FAILED_HEAD = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", b"21"),
    (b"connection", b"close"),
]


class RequestHandler(Protocol):
    """Answers requests, or returns what has to be awaited."""

    def begin(self, exchange: ClientExchange) -> Coroutine[Any, Any, None] | None: ...


class Exchange:
    """One request and its answer.

    `start_with`, `write` and `end` give an answer; `send` does the same with ASGI messages.
    `upgrade` are the protocols that the client asks for, and `switch` makes the tunnel.
    """

    # Class attributes, so that values that most requests share cost nothing.
    is_http_1_0 = waiting_for_100_continue = False
    keep_alive = more_body = True
    disconnected = response_started = response_complete = chunked_encoding = False
    known: KnownRequest | None = None
    parsed: RequestHead | None = None
    plain = gives_body = True
    _headers: list[Header] | None = None
    attached: Closable | None = None  # ended together with the client's connection
    upgrade = b""
    waiting: PendingUpgrade | None = None
    tunnel: Tunnel | None = None
    turned_away = 0  # the status, if the request was answered without a carrier
    left_for = ""  # why the client left, if that was not its own choice
    head: ResponseHead | None = None  # of the answer
    trailers: list[Header] = NO_TRAILERS  # of the request, once its body is complete
    _pieces: deque[Piece] = NO_PIECES
    taker: BodyTaker | None = None  # of the rest of the body
    body_bytes = 0  # of the request's body, received but not asked for yet
    on_response: Any = None  # what to notify, if it is not the protocol
    message_event: Any = NOBODY_WAITS
    _gone: Callable[[], object] | None = None
    _drained: Callable[[], None] | None = None
    _head = b""  # made, and waiting for the first piece of the body
    _left = -1  # of a body of known length
    status = sent_bytes = 0  # of the answer, and of its body

    def __init__(
        self,
        protocol: Any,
        method: bytes,
        target: bytes,
        headers: list[Header] | None,
        plain: bool,
        parsed: RequestHead | None = None,
    ) -> None:
        """`plain`: no body follows, and nothing else has to be awaited. `parsed` stands in for
        `headers`."""
        self.protocol = protocol
        self.method = method
        self.target = target
        if parsed is not None:
            self.parsed = parsed
        else:
            self._headers, self.plain = headers, plain
        self.peer, self.scheme = protocol.link
        self.transport = protocol.transport
        self.flow = protocol.flow
        self._bodiless = method == b"HEAD"
        if not plain:
            self._pieces = deque()

    # The request; implements `Received`

    @property
    def arrival(self) -> Received:
        return self

    @property
    def headers(self) -> list[Header]:
        if self._headers is None:
            assert self.parsed is not None
            self._headers = self.parsed.headers
        return self._headers

    @property
    def link(self) -> tuple[str, str]:
        """The connection's other end, and its scheme."""
        return self.peer, self.scheme

    def attach(self, attached: Closable) -> bool:
        """End it together with the client's connection."""
        attached.is_closed = self.disconnected
        self.attached = self.protocol.attached = attached
        return True

    def take_body(self, piece: Piece) -> int:
        """Keep a piece of the body until it is asked for, and return how much memory is used."""
        self._pieces.append(piece)
        self.body_bytes += len(piece)
        return self.body_bytes + PIECE_BYTES * len(self._pieces)

    def give_body(self, taker: BodyTaker) -> None:
        """Give `taker` what has come of the body, and the rest as it comes."""
        self._ask_for_body()
        self.taker = taker
        self.give_more()

    def pass_on(self, piece: Piece) -> bool:
        """Give the taker a piece that is not the last, at once. False if others come before it,
        or the taker is not ready."""
        taker = self.taker
        if taker is None or self._pieces or not taker.is_ready:
            return False
        taker.take(piece, more=True)
        if not taker.is_ready:
            self.flow.pause_reading()
        return True

    def give_more(self) -> None:
        """Give the taker what has come of the body, and read more when it is ready for that."""
        taker = self.taker
        if taker is None:
            return
        while taker.is_ready and (self._pieces or not self.more_body):
            piece, more = self._next_piece()
            if not more:
                self.taker = None
                self.flow.resume_reading()  # that the client leaves is to be known
                taker.take(piece, more=False)
                return
            taker.take(piece, more=True)
        if taker.is_ready:
            self.flow.resume_reading()
        else:
            self.flow.pause_reading()

    def _ask_for_body(self) -> None:
        """Send 100 if the client waits for it (RFC 9110 10.1.1)."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False

    # The answering side

    def begin(self, gateway: RequestHandler) -> None:
        """Let `gateway` answer, without a task as long as nothing has to be awaited."""
        try:
            waiting = gateway.begin(self)
        except Exception as fault:
            self._fail(fault)
        else:
            if waiting is not None:
                self.spawn(waiting)

    async def answer(self, gateway: RequestHandler) -> None:
        """The same within a task."""
        waiting = gateway.begin(self)
        if waiting is not None:
            await waiting

    def spawn(self, waiting: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Continue in a task. The server's stop ends it."""
        if self.message_event is NOBODY_WAITS:
            self.message_event = Flag()
            if self.body_bytes or not self.more_body:  # it came before anything waited
                self.message_event.set()
        task: asyncio.Task[None] = self.protocol.loop.create_task(self._run(waiting))
        self.protocol.tasks.add(task)
        return task

    async def _run(self, waiting: Coroutine[Any, Any, None]) -> None:
        try:
            await waiting
        except asyncio.CancelledError:
            pass  # the server stops; the client has its answer or sees a cut
        except Exception as fault:
            self._fail(fault)
        finally:
            self.protocol.tasks.discard(asyncio.current_task())  # cheaper than a callback

    async def run_asgi(self, app: Any) -> None:
        """Let an ASGI application answer."""
        await app(self.scope, self.receive, self.send)
        if not (self.response_complete or self.disconnected):
            raise InvalidResponseHead("the application returned without a complete answer")

    def _fail(self, fault: Exception) -> None:
        """Clean up after an answer that will not be given."""
        _log.error("exchange_failed", exc_info=fault)
        if self.response_complete or self.disconnected:
            return
        if self.response_started:
            self.transport.close()
        else:
            self.start_with(ResponseHead(500, FAILED_HEAD))
            self.end(b"Internal Server Error")

    # Events of the connection

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call `callback` once if the client leaves before the answer is complete."""
        if self.disconnected:
            callback()
        else:
            self._gone = callback

    def client_gone(self) -> None:
        """The connection is closed."""
        callback, self._gone = self._gone, None
        self.taker = None
        self.disconnected = self.disconnected or not self.response_complete
        self.message_event.set()
        if callback is not None and not self.response_complete:
            callback()

    @property
    def gone_for(self) -> str:
        """Why the client did not get the complete answer: a word for the log."""
        return self.left_for or TURNED_AWAY.get(self.turned_away, LEFT)

    @property
    def is_slow(self) -> bool:
        """True while the client has not read what was written."""
        return bool(self.flow.write_paused)

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a slow client has caught up."""
        self._drained = callback

    async def drained(self) -> None:
        """Wait while the client is slow."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()

    def client_caught_up(self) -> None:
        if self._drained is not None and not self.response_complete:
            self._drained()

    # The answer

    def interim(self, status: int, headers: list[Header]) -> None:
        """Pass on an interim answer (RFC 9110 15.2): 1xx, except 100 and 101."""
        if self.disconnected or self.response_started or self.is_http_1_0:
            return
        lines = [status_line(status), *(b"%b: %b\r\n" % line for line in headers), b"\r\n"]
        self.transport.write(check_lines(lines))

    def start_with(self, head: ResponseHead) -> None:
        """The head; it leaves with the first piece of the body."""
        if self.response_started:
            raise InvalidResponseHead("a second head")
        if self.waiting_for_100_continue:
            # The body may never come (RFC 9110 10.1.1), and other bytes must not be taken for it.
            self.keep_alive = self.waiting_for_100_continue = False
        if head.closes:
            self.keep_alive = False
        self.status, self._left, self.head = head.status, head.length, head
        end = b"\r\n"
        if head.status in (204, 304):
            self._bodiless = True
        elif head.length < 0 and not self._bodiless:
            end = self._chunked()
        if not self.keep_alive:
            end = b"connection: close\r\n" + end
        if not head.is_dated:  # RFC 9110 6.6.1
            end = write_date() + end
        self._head = head.text + end
        self.response_started = True

    def _chunked(self) -> bytes:
        """A body of unknown length: in chunks, or until the connection closes for HTTP/1.0."""
        if self.is_http_1_0:
            self.keep_alive = False
            return b"\r\n"
        self.chunked_encoding = True
        return b"transfer-encoding: chunked\r\n\r\n"

    def write(self, data: bytes) -> None:
        """A piece of the body, with the head if it waits. Does nothing after the client has
        left."""
        if not self.disconnected:
            head, self._head = self._head, b""
            write_with_head(self.transport, head, self._framed(data))

    def end(self, data: bytes = b"", trailers: bytes = b"") -> None:
        """The last piece; the answer is complete. `trailers` are lines, which are sent only after
        chunks."""
        if self.disconnected:
            return
        head, self._head = self._head, b""
        if self._left == len(data) and not self._bodiless:  # all that the head said
            self.sent_bytes += self._left
            self._left = 0
            write_with_head(self.transport, head, data)
        else:
            write_with_head(self.transport, head, self._framed(data) + self._closing(trailers))
        self.response_complete = True
        # Otherwise requests would be reference cycles.
        self._gone = self._drained = self.taker = None
        self.message_event.set()
        (self.on_response or self.protocol.on_response_complete)()

    def switch(
        self,
        headers: Iterable[Header],
        upstream: asyncio.Transport,
        early: bytes,
        upstream_lost: Lost,
        limits: TunnelLimits,
    ) -> Tunnel:
        """Answer 101 with these headers, and join both connections (see `PendingUpgrade.join`)."""
        assert self.waiting is not None
        lines = [status_line(101), *(b"%b: %b\r\n" % line for line in headers), b"\r\n"]
        self.response_started = True
        self.tunnel = self.waiting.join(check_lines(lines), upstream, early, upstream_lost, limits)
        return self.tunnel

    @property
    def is_event_stream(self) -> bool:
        """Whether the answer has no end: its client reconnects when it is cut."""
        head = self.head
        return head is not None and head.is_event_stream and not self.response_complete

    def finish(self) -> None:
        """End an answer without an end, because the server stops."""
        self.left_for = STOPPING
        if self.chunked_encoding and not self.disconnected:
            write_with_head(self.transport, self._head, b"0\r\n\r\n")
        self.client_gone()
        self.protocol.close()

    def cut(self, *, at_once: bool = False) -> None:
        """Close the connection in the middle of the answer, so that the client sees that it is
        incomplete.

        `at_once`: without what a slow client has not read yet.
        """
        self.disconnected = True
        if self.response_started and not (self.chunked_encoding or self._left >= 0):
            # a body that ends with the connection would look complete
            reset_at_close(self.transport)
            self.transport.abort()
        elif at_once:
            self.transport.abort()
        else:
            self.protocol.close()

    def _framed(self, data: bytes) -> bytes:
        if self._bodiless or not data:
            return b""
        size = len(data)
        self.sent_bytes += size
        if self.chunked_encoding:
            return b"%x\r\n%b\r\n" % (size, data)
        if self._left >= 0:
            self._left -= size
            if self._left < 0:
                raise InvalidResponseHead("a longer body than the head said")
        return data

    def _closing(self, trailers: bytes) -> bytes:
        if self._bodiless:
            return b""
        if self.chunked_encoding:
            return b"0\r\n%b\r\n" % trailers
        if self._left > 0:
            raise InvalidResponseHead("a shorter body than the head said")
        return b""

    # The same with ASGI messages

    @property
    def scope(self) -> dict[str, Any]:
        protocol = self.protocol
        raw_path, _, query = self.target.partition(b"?")
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.0" if self.is_http_1_0 else "1.1",
            "server": protocol.server,
            "client": protocol.client,
            "scheme": protocol.scheme,
            "method": self.method.decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": {},
        }

    async def receive(self) -> dict[str, Any]:
        """The next piece of the request's body, or the message that the client left. Only one
        coroutine may ask. If the client asked whether to continue, it gets 100."""
        self._ask_for_body()
        if not (self.disconnected or self.response_complete):
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, more = self._next_piece()
        if self._pieces:
            self.message_event.set()
        return {"type": "http.request", "body": bytes(body), "more_body": more}

    def _next_piece(self) -> tuple[Piece, bool]:
        """The next piece of the body, empty if none has come, and whether others follow. Small ones
        are joined, as each that is passed on costs a write. A large one is not copied."""
        pieces = self._pieces
        if not pieces:
            return b"", self.more_body
        piece = pieces.popleft()
        if pieces and len(piece) + len(pieces[0]) <= JOINED_BYTES:
            joined, size = [piece], len(piece)
            while pieces and (size := size + len(pieces[0])) <= JOINED_BYTES:
                joined.append(pieces.popleft())
            piece = b"".join(joined)
        self.body_bytes -= len(piece)
        return piece, self.more_body or bool(pieces)

    async def send(self, message: Any) -> None:
        """Take the application's next message; waits while the client is slow."""
        await self.drained()
        if self.disconnected:
            return
        if not self.response_started:
            self._expect(message, START)
            self.start_with(ResponseHead(message["status"], tuple(message.get("headers", ()))))
        elif self.response_complete:
            raise InvalidResponseHead("a message after the end of the answer")
        else:
            self._expect(message, BODY)
            if message.get("more_body", False):
                self.write(message.get("body", b""))
            else:
                self.end(message.get("body", b""))

    def _expect(self, message: Any, kind: str) -> None:
        if message["type"] != kind:
            raise InvalidResponseHead(f"{message['type']} instead of {kind}")


def reset_at_close(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
