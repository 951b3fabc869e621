"""One connection to an upstream: one exchange at a time, bytes streamed as they arrive.

Knows the connection's life, its timeouts and its pauses; must not know users, rules, or the reader
of the answer. The reader is a `Sink`; it is called from the event loop and must not block.
"""

import asyncio
from typing import Protocol, cast

from doorward.http1.joining import Piece, write_with_head
from doorward.http1.parse_budget import PARSED_BYTES, ParseBudget
from doorward.http1.turns import Turns
from doorward.upstream.answer_parser import AnswerParser
from doorward.upstream.failures import ConnectionLost, ResponseTimeout, UpstreamFailure
from doorward.upstream.framing import Header, read_keep_alive
from doorward.upstream.heads import BODILESS, Head, ParsedHead, ReadPlain
from doorward.upstream.sink import Sink

# An upstream's `Keep-Alive: timeout` counts from its side; a request must not meet the close.
KEPT_LESS_S = 1


class ConnectionOwner(Protocol):
    """The owner of a connection, which gets it back after an exchange; `failure` says how that
    ended."""

    def release(
        self, connection: "Connection", alive: bool, failure: UpstreamFailure | None = None
    ) -> None: ...


class ConnectionHome(ConnectionOwner, Protocol):
    """The owner that makes a connection. `turns` are those of its connections."""

    turns: Turns


class Connection(asyncio.Protocol):
    """A pooled connection. `begin` starts an exchange; the owner's `release` takes it back. `home`
    is the owner that made it; it may have another one since.

    `reused` is true if an earlier exchange used it. If it then closes before any byte of an answer,
    this may be a keep-alive race instead of a refusal (RFC 9112 9.3.1).
    """

    # Class attributes, so that values that most connections share cost nothing. With more than 30
    # attributes of its own, an object loses CPython's shared keys, and an exchange took a
    # microsecond more.
    _lenient = False
    _held_head = b""  # of a request with a body, until the first piece of that
    _rest = b""  # of an answer in many chunks, which is parsed in later turns
    _early: bytes | None = None  # after 101: what came behind the answer

    def __init__(self, owner: ConnectionHome, lenient: bool = False) -> None:
        """`lenient`: an answer may end its lines with a bare line feed."""
        if lenient:
            self._lenient = True
        self.loop = asyncio.get_running_loop()
        self.home: ConnectionHome = owner
        self.owner: ConnectionOwner = owner
        self._sink: Sink | None = None
        self._parser: AnswerParser | None = None  # made when it is first needed
        self.transport: asyncio.Transport | None = None
        self.reused = False
        self.writable = True
        self.idle_since = 0.0
        self._closes_at: float | None = None  # by its own account, while it is idle
        self._reading = True

    # An exchange, driven by its carrier

    def begin(
        self,
        sink: Sink,
        head: bytes,
        *,
        no_body: bool,
        ended: bool,
        response_timeout_s: float,
        idle_timeout_s: float,
        upgrade: bool = False,
        read_plain: ReadPlain | None = None,
    ) -> None:
        """Send a request head; before a body, it waits for the first piece or for `send_head`.

        `no_body`: the answer has no body, whatever it says (HEAD). `read_plain` is tried on the
        answer's head before llhttp. `ended`: no request body follows. `upgrade`: the answer may be
        101; `hand_over` follows.
        """
        assert self._sink is None
        self._sink = sink
        self._no_body = no_body
        self._upgrade = upgrade
        self._read_plain = None if upgrade else read_plain
        self._request_ended = ended
        self._response_timeout_s = response_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._deadline = self.loop.time() + (response_timeout_s if ended else idle_timeout_s)
        self.answered = self._keep_alive = self._is_parsed = False
        self._body_left = 0  # of a body of known length, which is counted
        self._head: Head | None = None  # of the final answer
        self._kept_s: int | None = None  # how long the upstream keeps it idle, if it says so
        if self.transport is None:  # closed since it was made, before anything listened
            self.loop.call_soon(self.connection_lost, None)
        elif ended:
            self.transport.write(head)
        else:
            self._held_head = head

    def send_head(self) -> None:
        """Send the head of a request if no piece of its body has come yet."""
        if self._held_head:
            self.write(b"")

    def write(self, data: Piece) -> None:
        """Send a piece of the request's body. Wait for `on_writable` while `writable` is false."""
        head, self._held_head = self._held_head, b""
        if self._sink is None or self.transport is None:
            return
        self._wait_for(self._idle_timeout_s)
        write_with_head(self.transport, head, data)

    def end_request(self) -> None:
        """The request's body is complete; the upstream's time to answer begins."""
        self.send_head()
        self._request_ended = True
        if self._sink is not None and not self.answered:
            self._wait_for(self._response_timeout_s)

    def pause_reading(self) -> None:
        """Make the upstream wait: the client is slower than it."""
        if self._reading and self.transport is not None:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and self.transport is not None:
            self._reading = True
            self._wait_for(self._idle_timeout_s)
            if not self._rest:
                self.transport.resume_reading()

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """After 101: the connection, which is not read from, and the bytes that came after the
        answer. The new reader is called with `handed_lost` when it is closed. Raises
        ConnectionLost."""
        if self.transport is None or self._sink is None:
            raise ConnectionLost("the upstream switched protocols and left")
        return self.transport, self._early or b""

    def handed_lost(self, exc: Exception | None) -> None:
        self._sink = None
        self.connection_lost(exc)

    def abandon(self) -> None:
        """End an exchange whose answer is no longer needed; the upstream sees the connection
        close."""
        self._sink = None
        self.close()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def is_usable(self) -> bool:
        """True while an exchange can begin, unless the upstream is about to close the
        connection."""
        if self.transport is None or self.transport.is_closing():
            return False
        return self._closes_at is None or not self.is_due(self.loop.time())

    def is_due(self, now: float) -> bool:
        """Whether the upstream announced to close the idle connection at about this time."""
        return self._closes_at is not None and now >= self._closes_at

    def serves(self, sink: Sink) -> bool:
        """Whether the current exchange is this one's."""
        return self._sink is sink

    def check_deadline(self, now: float) -> None:
        """Called by the pool's sweep: fail the exchange whose upstream has been silent too long.

        A paused upstream is not silent; it waits for the client.
        """
        if self._sink is None:
            return
        if self._reading and now > self._deadline:
            what = "data" if self.answered else "answer"
            self._fail(ResponseTimeout(f"the upstream sent no {what} in time"))
        else:
            self._sink.on_sweep(now)

    def _wait_for(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            self.close()  # bytes that nobody asked for answer no request
        elif self._body_left:
            self._count(data)
        elif self._rest:
            self._rest += data
        elif self._is_parsed or self._read_plain is None or not self._is_plain(data):
            self._parse(data)

    def _is_plain(self, data: bytes) -> bool:
        """True if an answer begins here whose plain head says where it ends: its body is passed on.
        Others are parsed by llhttp."""
        assert self._read_plain is not None and self._sink is not None
        plain = self._read_plain(data)
        if plain is None:
            return False
        size = 0 if self._no_body or plain.status in BODILESS else plain.length
        if size < 0:
            return False
        self._head, self._keep_alive = plain, plain.keep_alive
        if plain.kept is not None:
            self._keep_for(read_keep_alive(plain.kept))
        self.answered = True
        end = len(plain.text)
        if len(data) - end >= size:
            if len(data) - end > size:
                self._keep_alive = False
            self._release_sink().on_whole(plain, data[end : end + size])
            return True
        self._sink.on_head(plain)
        if self._sink is not None:  # it may have seen enough
            self._body_left = size
            self._count(data[end:])
        return True

    def _keep_for(self, kept_s: int | None) -> None:
        """Note how long the upstream keeps the connection idle. None: it does not say."""
        self._kept_s = kept_s
        if kept_s is not None and kept_s <= KEPT_LESS_S:
            self._keep_alive = False

    def _count(self, data: bytes) -> None:
        """Pass on a piece of a body of known length, which needs counting, not parsing."""
        assert self._sink is not None
        self._wait_for(self._idle_timeout_s)
        if len(data) > self._body_left:
            self._keep_alive = False
            data = data[: self._body_left]
        self._body_left -= len(data)
        self._sink.on_body(data)
        if not self._body_left and self._sink is not None:
            self._release_sink().on_end(())

    def _parse(self, data: bytes) -> None:
        """Have llhttp read a part of the answer. What is behind many chunks waits for its turn, and
        nothing is read meanwhile."""
        if self._early is not None:
            self._early += data
            return
        if not self._is_parsed:
            self._begin_parsing()
        parser = self._parser
        assert parser is not None
        if len(data) <= PARSED_BYTES or (self._upgrade and not self.answered):
            rest = b""  # `hand_over` must get all bytes that may belong to a tunnel
            self._parse_piece(data)
        else:
            rest = ParseBudget().parse(data, self._parse_piece)
        if self._sink is None:
            return
        if parser.is_complete:
            self._keep_alive = self._keep_alive and not rest
            self._release_sink().on_end(tuple(parser.trailers))
        elif parser.head is not None and parser.head.length >= 0:
            self._body_left = parser.head.length - parser.body_bytes
            parser.release()
            if rest:
                self._count(rest)
        elif rest:
            assert self.transport is not None
            self._rest = rest
            self.transport.pause_reading()
            self.home.turns.wait(self._go_on)

    def _begin_parsing(self) -> None:
        if self._parser is None:
            self._parser = AnswerParser(self, self._lenient)
        self._parser.begin(no_body=self._no_body, upgrade=self._upgrade)
        self._is_parsed = True

    def _parse_piece(self, piece: bytes) -> int | None:
        """Parse a piece, and return how many bytes of it are body; None if there is no more to
        parse."""
        parser = self._parser
        assert parser is not None
        before, was_answered = parser.body_bytes, self.answered
        fault = parser.parse(piece)
        if fault is not None:
            self._keep_alive = False
            if not parser.is_complete and self._sink is not None:
                self._fail(fault)
        if parser.is_complete or self._sink is None:
            return None
        body_bytes = parser.body_bytes - before
        # Trailers and chunk extensions give the upstream no more time: they could have no end.
        if parser.head is not None and (body_bytes or not was_answered):
            self._wait_for(self._idle_timeout_s)
            if not parser.body_bytes:
                self._sink.on_body(b"")  # a head alone is passed on at once
            if parser.head.length >= 0:
                return None  # the rest is counted
        return body_bytes

    def _go_on(self) -> None:
        rest, self._rest = self._rest, b""
        transport = self.transport
        if self._sink is None or transport is None:
            return  # nobody needs the answer any more, or it was cut
        self.data_received(rest)
        if self._reading and not (self._rest or transport.is_closing()):
            transport.resume_reading()

    # Called by the parser; the reader may abandon the exchange during each of these calls

    def take_interim(self, status: int, headers: list[Header]) -> None:
        if self._sink is not None:
            self._sink.on_interim(status, headers)

    def take_head(self, head: ParsedHead) -> None:
        self._head, self._keep_alive = head, head.keep_alive
        self._keep_for(head.kept_s)
        self.answered = True
        if self._sink is not None:
            self._sink.on_head(head)

    def take_body(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.on_body(data)

    def take_switch(self, headers: list[Header], early: bytes) -> None:
        """Nothing is read until the connection is taken over."""
        self._early = early
        self.answered = True
        self.pause_reading()
        if self._sink is not None:
            self._sink.on_head(ParsedHead(101, headers, -1))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        parser, self._parser = self._parser, None
        if self._sink is None:
            self.owner.release(self, False)
        elif exc is None and self._is_parsed and parser is not None and parser.ends_with_close():
            self._keep_alive = False
            self._release_sink().on_end(())
        else:
            self._fail(ConnectionLost("the upstream closed the connection before its answer ended"))
        if parser is not None:
            parser.release()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self._sink is not None:
            self._sink.on_writable()

    # Ends

    def _release_sink(self) -> Sink:
        """The exchange is over. The owner gets the connection back before the reader is called."""
        sink, self._sink = self._sink, None
        assert sink is not None
        transport = self.transport
        alive = self._keep_alive and self._request_ended and self._head is not None
        if alive and transport is not None and not transport.is_closing():
            self.reused = True
            self.idle_since = self.loop.time()
            kept_s = self._kept_s
            self._closes_at = None if kept_s is None else self.idle_since + kept_s - KEPT_LESS_S
            if not self._reading:
                self.resume_reading()
        else:
            alive = False
            self.close()  # an answer before the request was complete: the rest is not sent
        self.owner.release(self, alive)
        return sink

    def _fail(self, failure: UpstreamFailure) -> None:
        sink, self._sink = self._sink, None
        self.close()
        self.owner.release(self, False, failure)
        if sink is not None:
            sink.on_failure(failure)

    @property
    def waits_for_answer(self) -> bool:
        """True if the request is complete and nothing was answered yet."""
        return self._request_ended and not self.answered
