"""Reads the answers on one connection that llhttp has to parse.

Knows the framing of HTTP/1.1 and the limits of a head; must not know the connection, or who reads
the answer. Plain heads are read by `http1/heads.py`, and bodies of known length are counted.
"""

from typing import Protocol

import httptools

from doorward.http1.joining import JOINED_BYTES
from doorward.upstream.failures import InvalidAnswer
from doorward.upstream.framing import CODING, Header, body_length, read_terms
from doorward.upstream.heads import ParsedHead

# llhttp has no limit of its own; nginx answers 502 to more than its 4-8 KiB by default, Go to more
# than 10 MiB. Large enough for all cookies that an application sets in one answer. It also limits
# what an answer in chunks has between the pieces of its body and behind them, because llhttp's
# binding keeps a line until its end has come.
HEAD_LIMIT_BYTES = 256 * 1024
# Lines of a head, and of trailers. Browsers have no limit below some thousands.
LINES_LIMIT = 2048


class ParsedAnswers(Protocol):
    """Takes the parts of an answer in their order."""

    def take_interim(self, status: int, headers: list[Header]) -> None:
        """An answer before the final one (1xx) is complete."""

    def take_head(self, head: ParsedHead) -> None:
        """The head of the final answer is complete."""

    def take_body(self, data: bytes) -> None:
        """The next bytes of its body."""

    def take_switch(self, headers: list[Header], early: bytes) -> None:
        """The answer is 101; `early` came after it."""


class AnswerParser:
    """Parses one answer after another: `begin` with each, then `parse` until `is_complete`."""

    # Class attributes, because few answers change them.
    _is_bare = False  # this answer ends lines with a bare line feed
    _before = b""  # the last byte of an incomplete first line
    _trailer_may_tell_length = False

    def __init__(self, answers: ParsedAnswers, lenient: bool) -> None:
        """`lenient`: an answer may end its lines with a bare line feed."""
        self._answers = answers
        self._lenient = lenient
        self._llhttp: httptools.HttpResponseParser | None = None
        self._pieces: list[bytes] = []  # of the body, from the bytes being parsed

    def begin(self, *, no_body: bool, upgrade: bool) -> None:
        """Begin a new answer. `no_body`: it has none, whatever its head says. `upgrade`: it
        may be 101."""
        self._no_body = no_body
        self._upgrade = upgrade
        self.head: ParsedHead | None = None  # of the final answer
        self.trailers: list[Header] = []
        self.is_complete = False
        self.body_bytes = 0
        self._framing_bytes = 0  # of the head, then since the last piece of the body
        if self._llhttp is None:
            self._llhttp = httptools.HttpResponseParser(self)

    def release(self) -> None:
        """Forget llhttp's state. It refers back here: without it, memory is free at once."""
        self._llhttp = None

    def parse(self, data: bytes) -> InvalidAnswer | None:
        """Take the next bytes. Returns what is wrong with them; if the answer is complete, it is
        wrong with what follows it."""
        assert self._llhttp is not None
        had_head, body_bytes = self.head is not None, self.body_bytes
        if self._lenient and not had_head:
            self._look_for_bare(data)
        self._framing_bytes += len(data)
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._llhttp = None
            self._answers.take_switch(self._headers, data[pause.args[0] :])
            return None
        except httptools.HttpParserError as fault:
            self._pass_pieces()
            self._llhttp = None
            if self.head is not None and "Content-Length" in str(fault):
                self.is_complete = True  # it is in a trailer, which is not passed on
            return InvalidAnswer(f"the upstream's answer is not valid HTTP/1: {_reason(fault)}")
        self._pass_pieces()
        if self.head is not None and (self.body_bytes > body_bytes or not had_head):
            self._framing_bytes = 0
        elif self._framing_bytes > HEAD_LIMIT_BYTES and not self.is_complete:
            what = "trailers or chunk extensions without end" if had_head else "too large a head"
            return InvalidAnswer(f"the upstream's answer has {what}")
        return None

    def _pass_pieces(self) -> None:
        """Pass on the small pieces that were parsed of the body as one: applications that write one
        character at a time make a chunk of each, and each piece costs a write."""
        pieces = self._pieces
        if pieces:
            self._answers.take_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            pieces.clear()

    def _look_for_bare(self, data: bytes) -> None:
        """Accept bare line feeds if the first line ends with one (RFC 9112 2.2). In an answer whose
        lines end with CRLF, a bare one is part of a value, where an attacker may have put it."""
        assert self._llhttp is not None
        line, found, _ = data.partition(b"\n")
        if not self._framing_bytes or self._before:
            self._is_bare = bool(found) and (self._before + line)[-1:] != b"\r"
            self._before = b"" if found else data[-1:]
            if self._is_bare:
                self._llhttp.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)

    def ends_with_close(self) -> bool:
        """Whether the body ends with the connection (RFC 9112 6.3, last case)."""
        head = self.head
        return (
            head is not None
            and head.length < 0
            and not any(name.lower() == CODING for name, _ in head.headers)
        )

    # llhttp's callbacks: they record and pass on; an exception in one makes the answer invalid

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise InvalidAnswer("bytes after the end of the answer")
        if self._trailer_may_tell_length:
            self._let_trailer_tell_length(False)
        self._headers: list[Header] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        lines = self._headers if self.head is None else self.trailers
        lines.append((name, value))
        if len(lines) > LINES_LIMIT:
            raise InvalidAnswer("too many header lines")

    def on_headers_complete(self) -> None:
        llhttp = self._llhttp
        assert llhttp is not None
        status = llhttp.get_status_code()
        if not 200 <= status < 600:
            if status == 101 and self._upgrade and llhttp.should_upgrade():
                return  # the parser stops here
            if status == 101 or not 100 <= status < 200:
                raise InvalidAnswer("a status that nobody asked for")
            self._answers.take_interim(status, self._headers)
            return
        if llhttp.get_http_version() not in ("1.0", "1.1"):
            raise InvalidAnswer("a version that nobody asked for")
        length, tells = body_length(self._headers)
        self.head = head = ParsedHead(status, self._headers, length)
        # A connection that was asked to become a tunnel may be one at the other end, whatever the
        # answer was; and two readers may disagree on where a bare answer ends.
        head.keep_alive = not (self._upgrade or self._is_bare) and llhttp.should_keep_alive()
        if tells:
            head.binds, head.kept_s = read_terms(self._headers)
        if length < 0:
            self._let_trailer_tell_length(True)
        self._answers.take_head(head)
        if self._no_body:
            self.is_complete = True
            self._llhttp = None  # it would wait for a body that never comes

    def _let_trailer_tell_length(self, may: bool) -> None:
        """llhttp takes a Content-Length in a trailer for a second framing of the body. It is only a
        field in the wrong place (RFC 9110 6.5.1), and it is not passed on. In a head it is still
        refused: this is set after the head was read, and reset before the next."""
        assert self._llhttp is not None
        self._trailer_may_tell_length = may
        self._llhttp.set_dangerous_leniencies(lenient_chunked_length=may)

    def on_body(self, data: bytes) -> None:
        if self.is_complete:
            raise InvalidAnswer("a body where none can be")
        self.body_bytes += len(data)
        if len(data) <= JOINED_BYTES:
            self._pieces.append(data)
        else:
            self._pass_pieces()
            self._answers.take_body(data)

    def on_message_complete(self) -> None:
        if self.head is not None:  # it is None after an interim answer
            self.is_complete = True
            if self.trailers:
                self._llhttp = None  # a callback may have told it to expect nothing more


def _reason(fault: httptools.HttpParserError) -> str:
    """What one of the callbacks found wrong, else what llhttp did: as text, because an exception in
    a frame that it refers to stays in memory."""
    return str(fault.__context__ if isinstance(fault.__context__, InvalidAnswer) else fault)
