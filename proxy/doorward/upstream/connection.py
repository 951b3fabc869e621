"""One connection to an upstream: one exchange at a time, bytes streamed as they arrive.

Knows HTTP/1.1 framing through llhttp; must not know users, rules, or the reader of the answer. The
reader is a `Sink`; it is called from the event loop and must not block.
"""

import asyncio
from typing import Protocol, cast

import httptools

from doorward.http1.joining import JOINED_BYTES, Piece, write_with_head
from doorward.http1.parse_budget import PARSED_BYTES, ParseBudget
from doorward.http1.turns import Turns
from doorward.upstream.failures import (
    ConnectionLost,
    InvalidAnswer,
    ResponseTimeout,
    UpstreamFailure,
)
from doorward.upstream.framing import Header as Header
from doorward.upstream.framing import body_length, read_keep_alive, read_terms
from doorward.upstream.heads import BODILESS, Head, ParsedHead, ReadPlain
from doorward.upstream.sink import Sink as Sink

# llhttp has no limit of its own; nginx answers 502 to more than its 4-8 KiB by default, Go to more
# than 10 MiB. Large enough for all cookies that an application sets in one answer.
HEAD_LIMIT_BYTES = 256 * 1024
# Lines of a head, and of trailers. Browsers have no limit below some thousands.
LINES_LIMIT = 2048
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
    _is_bare = False  # its answer ends lines with a bare line feed
    _before = b""  # the last byte of an incomplete first line
    _trailer_may_tell_length = False
    _held_head = b""  # of a request with a body, until the first piece of that
    _rest = b""  # of an answer in many chunks, which is parsed in later turns

    def __init__(self, owner: ConnectionHome, lenient: bool = False) -> None:
        """`lenient`: an answer may end its lines with a bare line feed."""
        if lenient:
            self._lenient = True
        self.loop = asyncio.get_running_loop()
        self.home: ConnectionHome = owner
        self.owner: ConnectionOwner = owner
        self._sink: Sink | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.transport: asyncio.Transport | None = None
        self.reused = False
        self.writable = True
        self.idle_since = 0.0
        self._closes_at: float | None = None  # by its own account, while it is idle
        self._pieces: list[bytes] = []  # of the answer's body, from what is being parsed
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
        self.answered = self._complete = self._keep_alive = self._raw = False
        self._head_bytes = self._body_bytes = 0
        self._head: Head | None = None  # of the final answer
        self._kept_s: int | None = None  # how long the upstream keeps it idle, if it says so
        self._trailers: list[Header] = []
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
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
        return self.transport, self._early

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
        elif self._raw:
            self._pass_raw(data)
        elif self._rest:
            self._rest += data
        elif self._head_bytes or self._read_plain is None or not self._is_plain(data):
            if len(data) <= PARSED_BYTES or self._may_switch:
                self._parse(data)
            else:
                self._parse_in_turns(data)
        if self._complete and self._sink is not None:
            self._finish()

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
            self._raw = True
            self._pass_raw(data[end:])
        return True

    def _keep_for(self, kept_s: int | None) -> None:
        """Note how long the upstream keeps the connection idle. None: it does not say."""
        self._kept_s = kept_s
        if kept_s is not None and kept_s <= KEPT_LESS_S:
            self._keep_alive = False

    @property
    def _may_switch(self) -> bool:
        """Whether the bytes may belong to a tunnel: `hand_over` has to have all of them."""
        return self._upgrade and (self._parser is None or not self.answered)

    def _parse_in_turns(self, data: bytes) -> None:
        """Parse some of it. What is behind many chunks waits for its turn, and nothing is read
        meanwhile."""
        rest = ParseBudget().parse(data, self._parse_piece)
        if not rest:
            return
        if self._complete or self._sink is None:
            self._keep_alive = False  # bytes behind the answer
            return
        assert self.transport is not None
        self._rest = rest
        self.transport.pause_reading()
        self.home.turns.wait(self._go_on)

    def _parse_piece(self, piece: bytes) -> int | None:
        before = self._body_bytes
        self._parse(piece)
        is_over = self._complete or self._sink is None
        return None if is_over else self._body_bytes - before

    def _go_on(self) -> None:
        rest, self._rest = self._rest, b""
        transport = self.transport
        if self._sink is None or transport is None:
            return  # nobody needs the answer any more, or it was cut
        self.data_received(rest)
        if self._reading and not (self._rest or transport.is_closing()):
            transport.resume_reading()

    def _parse(self, data: bytes) -> None:
        if self._parser is None:
            self._early += data
            return
        if self._lenient and not self.answered:
            self._look_for_bare(data)
        if not self.answered:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._switch(data[pause.args[0] :])
            return
        except httptools.HttpParserError as fault:
            self._pass_pieces()
            self._keep_alive = False
            self._parser = None
            if self.answered and "Content-Length" in str(fault):
                self._complete = True  # of a trailer, which is not passed on; the body is complete
            elif not self._complete:
                reason = _reason(fault)
                self._fail(InvalidAnswer(f"the upstream's answer is not valid HTTP/1: {reason}"))
            return
        self._pass_pieces()
        if not self.answered and self._head_bytes > HEAD_LIMIT_BYTES:
            self._fail(InvalidAnswer("the upstream's answer head is too large"))
            return
        head = self._head
        if head is not None and not self._complete:
            self._wait_for(self._idle_timeout_s)
            self._raw = head.length >= 0
            if not self._body_bytes and self._sink is not None:
                self._sink.on_body(b"")  # a head alone is passed on at once

    def _pass_pieces(self) -> None:
        """Pass on the small pieces that were parsed of the body as one: applications that write one
        character at a time make a chunk of each, and each piece costs a write."""
        pieces = self._pieces
        if pieces and self._sink is not None:
            self._sink.on_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        pieces.clear()

    def _look_for_bare(self, data: bytes) -> None:
        """Accept bare line feeds if the first line ends with one (RFC 9112 2.2). In an answer whose
        lines end with CRLF, a bare one does not end a line; somebody put it into a value."""
        assert self._parser is not None
        line, found, _ = data.partition(b"\n")
        if not self._head_bytes or self._before:
            self._is_bare = bool(found) and (self._before + line)[-1:] != b"\r"
            self._before = b"" if found else data[-1:]
            if self._is_bare:
                self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)

    def _switch(self, early: bytes) -> None:
        """The upstream said 101; nothing is read until the connection is taken over."""
        assert self._sink is not None
        self._early, self._parser = early, None
        self.answered = True
        self.pause_reading()
        self._sink.on_head(ParsedHead(101, self._headers, -1))

    def _pass_raw(self, data: bytes) -> None:
        """The rest of a body of known length needs counting, not parsing."""
        assert self._sink is not None and self._head is not None
        self._wait_for(self._idle_timeout_s)
        left = self._head.length - self._body_bytes
        if len(data) > left:
            self._keep_alive = False
            data = data[:left]
        self._body_bytes += len(data)
        self._sink.on_body(data)
        if len(data) == left:
            if self._head_bytes:
                self._parser = None  # it still waits for the bytes that it was not shown
            self._complete = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._sink is None:
            self.owner.release(self, False)
        elif self.answered and exc is None and self._ends_with_close():
            self._keep_alive = False
            self._finish()
        else:
            self._fail(ConnectionLost("the upstream closed the connection before its answer ended"))
        self._parser = None  # which refers back here: without it, memory is free at once

    def _ends_with_close(self) -> bool:
        """True for a body that ends with the connection (RFC 9112 6.3, last case)."""
        return (
            self._head is not None
            and self._head.length < 0
            and not any(name.lower() == b"transfer-encoding" for name, _ in self._head.headers)
        )

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self._sink is not None:
            self._sink.on_writable()

    # llhttp's callbacks: they record and pass on; an exception in one makes the answer invalid

    def on_message_begin(self) -> None:
        if self._complete:
            raise InvalidAnswer("bytes after the end of the answer")
        if self._trailer_may_tell_length:
            self._let_trailer_tell_length(False)
        self._headers: list[Header] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        lines = self._trailers if self.answered else self._headers
        lines.append((name, value))
        if len(lines) > LINES_LIMIT:
            raise InvalidAnswer("too many header lines")
        if self.answered:
            self._head_bytes += len(name) + len(value)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                raise InvalidAnswer("trailers without end")

    def on_headers_complete(self) -> None:
        assert self._parser is not None and self._sink is not None
        status = self._parser.get_status_code()
        if not 200 <= status < 600:
            if status == 101 and self._upgrade and self._parser.should_upgrade():
                return  # the parser stops here
            if status == 101 or not 100 <= status < 200:
                raise InvalidAnswer("a status that nobody asked for")
            self._sink.on_interim(status, self._headers)
            return
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            raise InvalidAnswer("a version that nobody asked for")
        length, tells = body_length(self._headers)
        self._keep_alive = self._parser.should_keep_alive()
        if self._upgrade or self._is_bare:
            # A connection that was asked to become a tunnel may be one at the other end, whatever
            # the answer was; and two readers may disagree on where a bare answer ends.
            self._keep_alive = False
        self._head = head = ParsedHead(status, self._headers, length)
        if tells:
            head.binds, kept_s = read_terms(self._headers)
            self._keep_for(kept_s)
        if length < 0:
            self._let_trailer_tell_length(True)
        self.answered = True
        self._sink.on_head(head)
        if self._no_body:
            self._complete = True
            self._parser = None  # it would wait for a body that never comes

    def _let_trailer_tell_length(self, may: bool) -> None:
        """llhttp takes a Content-Length in a trailer for a second framing of the body. It is only a
        field in the wrong place (RFC 9110 6.5.1), and it is not passed on. In a head it is still
        refused: this is set after the head was read, and reset before the next."""
        assert self._parser is not None
        self._trailer_may_tell_length = may
        self._parser.set_dangerous_leniencies(lenient_chunked_length=may)

    def on_body(self, data: bytes) -> None:
        assert self._sink is not None
        if self._complete:
            raise InvalidAnswer("a body where none can be")
        self._body_bytes += len(data)
        if len(data) <= JOINED_BYTES:
            self._pieces.append(data)
        else:
            self._pass_pieces()
            self._sink.on_body(data)

    def on_message_complete(self) -> None:
        self._complete = self._complete or self.answered

    # Ends

    def _finish(self) -> None:
        if self._trailers:
            self._parser = None  # they may have told it to expect nothing more
        self._release_sink().on_end(tuple(self._trailers))

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


def _reason(fault: httptools.HttpParserError) -> str:
    """What one of the callbacks found wrong, else what llhttp did: as text, because an exception in
    a frame that it refers to stays in memory."""
    return str(fault.__context__ if isinstance(fault.__context__, InvalidAnswer) else fault)
