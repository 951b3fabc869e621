"""Reads the requests that a client sends, and refuses bytes that are not one.

Knows the framing of HTTP/1 and the limits of a head; must not know whose turn it is to be answered,
or what happens to the connection. Ordinary heads are read by `http1/heads.py`, and bodies of known
length are counted. llhttp reads everything else.
"""

from functools import cached_property
from typing import Any, cast
from typing import Protocol as Typed

import httptools

from doorward import paths
from doorward.http1.headers import Header
from doorward.http1.heads import RequestHead, read_request
from doorward.http1.joining import Piece
from doorward.http1.known_requests import HEAD_BYTES as KNOWN_BYTES
from doorward.http1.known_requests import KnownRequests
from doorward.http1.methods import KNOWN, METHOD, NEVER
from doorward.http1.parse_budget import ParseBudget
from doorward.server.exchange import NO_TRAILERS, Exchange
from doorward.server.flow import HIGH_WATER_BYTES, Flow
from doorward.server.tunnel import asked_protocols
from doorward.settings import LimitSettings

_OWN_PAGES = paths.PREFIX.encode()
FRAMING = (b"content-length", b"transfer-encoding")
SPECIAL = frozenset((*FRAMING, b"expect", b"upgrade"))


class BadRequest(Exception):
    """Bytes that are not a request; `status` and `reason` are the answer to them."""

    def __init__(self, status: int = 400, reason: str = "this is not a valid HTTP request") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class HeadTooLarge(BadRequest):
    """A request head over `limits.header_bytes` or with too many lines (RFC 6585 5)."""

    def __init__(self) -> None:
        super().__init__(431, "the request head is too large")


class TargetTooLong(BadRequest):
    """A request target over `limits.target_bytes` (RFC 9110 15.5.15)."""

    def __init__(self) -> None:
        super().__init__(414, "the request target is too long")


class Requests(Typed):
    """Takes the requests that llhttp has read, in their order."""

    def take_head(self, exchange: Exchange, previous: Exchange | None) -> None:
        """The head of a request is complete. `previous` is the one before it."""

    def take_plain(self, exchange: Exchange) -> None:
        """A request without a body is complete."""

    def take_upgrade(self, exchange: Exchange, early: bytes) -> None:
        """A request asks for an upgrade; `early` was sent after its head."""


class RequestParser:
    """Makes an exchange of each request on one connection and fills in its body. `begin`, `go_on`
    and `check_unread` raise BadRequest."""

    def __init__(
        self,
        requests: Requests,
        connection: Any,
        flow: Flow,
        limits: LimitSettings,
        known: KnownRequests,
        page_bytes: int,
    ) -> None:
        """`connection` is the one that the exchanges answer on. `known` are the known requests of
        all connections; `page_bytes` is the longest target of Doorward's own pages."""
        self._requests = requests
        self._connection = connection
        self._flow = flow
        self._limits = limits
        self._known = known
        self._page_bytes = page_bytes
        self.last: Exchange | None = None  # the last request whose head is complete
        self.in_head = self.in_message = False
        self.held = b""  # the start of a request, until its first line is complete
        self.unread = 0  # bytes since the last head or piece of a body
        self.budget = ParseBudget()  # of this turn of the event loop
        self._url = b""
        self._headers: list[Header] = []
        self._head_bytes = 0  # of the head that is being read
        self._expects = self._has_body = self._plain = False
        self._tail, self._body_left = b"", 0  # of the head and of the body that is being read
        self._body_bytes = 0  # of all bodies
        self._raw_left = 0  # of a body that llhttp does not see
        self._rereading = False
        self._stand_in: bytes | None = None  # a method that llhttp does not know

    @cached_property
    def _llhttp(self) -> httptools.HttpRequestParser:
        """Made when it is first needed: most connections never do."""
        llhttp = httptools.HttpRequestParser(self)
        # After a request that says that it is the last, others may follow, which are ignored.
        llhttp.set_dangerous_leniencies(lenient_data_after_close=True)
        return llhttp

    def release(self) -> None:
        """Drop what refers back to the connection, which is closed."""
        vars(self).pop("_llhttp", None)
        self.last = None
        del self._requests, self._connection

    # Ordinary requests

    def read_ordinary(self, data: bytes) -> Exchange | None:
        """The request that `data` contains, if it ends there or has a body of known length. None
        for others, which `begin` reads. No other request may be incomplete."""
        known = self._known.find(data) if len(data) <= KNOWN_BYTES else None
        if known is None:
            limits = self._limits
            head = read_request(
                data, 0, limits.header_bytes, limits.target_bytes, limits.header_count
            )
            if head is None:
                return None
            if head.has_body:
                return self._begin_counted(head)
            if len(head.text) != len(data):
                return None
            self._known.note(head)
        else:
            head = known.head
        self.last = exchange = Exchange(
            self._connection, head.method, head.target, None, True, head
        )
        exchange.more_body = False
        if not head.keep_alive:
            exchange.keep_alive = False
        if known is not None:
            exchange.known = known
        return exchange

    def _begin_counted(self, head: RequestHead) -> Exchange | None:
        """Begin a request whose body is counted, not parsed. None for one in chunks."""
        if head.content_length is None:
            return None
        self.last = exchange = Exchange(
            self._connection, head.method, head.target, None, False, head
        )
        exchange.keep_alive = head.keep_alive
        self.in_message, self._raw_left = True, int(head.content_length)
        return exchange

    def pass_on(self, piece: bytes) -> bool:
        """Give a piece in the middle of a counted body to its taker, if that has all before it and
        is ready. Most pieces of large bodies need nothing else."""
        if len(piece) >= self._raw_left or not cast(Exchange, self.last).pass_on(piece):
            return False
        self._raw_left -= len(piece)
        return True

    def take_counted(self, data: Piece) -> bytes:
        """Take the next piece of a counted body, and return what came behind it."""
        piece = data if len(data) <= self._raw_left else data[: self._raw_left]
        self._raw_left -= len(piece)
        self.on_body(piece)
        if not self._raw_left:
            self.in_message = False
            exchange = cast(Exchange, self.last)
            exchange.more_body = False
            exchange.message_event.set()
        return bytes(data[len(piece) :])

    # All others

    def begin(self, data: bytes) -> bytes:
        """Read a head, or what there is of it once its first line is complete. Return what came
        behind it: a body, or another head."""
        data = self.held + data if self.held else data
        self.held = b""
        if data[:1] in (b"\r", b"\n"):  # RFC 9112 2.2: a robust server skips them
            data = data.lstrip(b"\r\n")
        method, space, _ = data.partition(b" ")
        may_be = METHOD.fullmatch(method) is not None
        if b"\n" not in data and len(data) <= self._limits.target_bytes and (may_be or not data):
            self.held = data
            return b""
        if b"  " in data.partition(b"\r\n")[0]:  # which llhttp takes for one
            raise BadRequest
        if may_be and space and method not in KNOWN and method not in NEVER:
            self._stand_in = method  # llhttp gets another one, which it knows
            data = b"PUT" + data[len(method) :]
        self._tail = b""
        return self._feed_head(data)

    def go_on(self, data: bytes) -> bytes:
        """Read more of a message, up to where its head or a body of known length ends. Return what
        came behind it, which is for `begin`."""
        if self._raw_left:
            return self.take_counted(data)
        if self.in_head:
            return self._feed_head(data)
        if self._body_left > 0:
            return self._parse(data[: self._body_left], data[self._body_left :])
        return self._parse_chunks(data)

    def _parse_chunks(self, data: bytes) -> bytes:
        """Read as many chunks of a body as the budget allows, and return what is behind them."""
        left = b""

        def parse(piece: bytes) -> int | None:
            nonlocal left
            before = self._body_bytes
            left = self._parse(piece)
            return self._body_bytes - before if self.in_message and not left else None

        rest = self.budget.parse(data, parse)
        return left + rest if self.in_message else self._leave_behind(left + rest)

    def _leave_behind(self, rest: bytes) -> bytes:
        """What is behind a body; if a request behind it asked for an upgrade, that gets it."""
        waiting = cast(Exchange, self.last).waiting
        if waiting is None:
            return rest
        waiting.data_received(rest)
        return b""

    def check_unread(self) -> None:
        """Limit what is not part of a body. llhttp's binding keeps a line of a head or a trailer
        until its end has come, and copies it with every piece (CVE-2024-22019)."""
        if self.unread > 2 * self._limits.header_bytes:
            raise HeadTooLarge

    def _feed_head(self, data: bytes) -> bytes:
        seen, start = self._tail + data, len(self._tail)
        end = seen.find(b"\r\n\r\n") + 4 - start
        end = end if end > 0 else len(data)
        self._tail = seen[-3:]
        return self._parse(data[:end], data[end:])

    def _parse(self, data: bytes, rest: bytes = b"") -> bytes:
        """Feed llhttp and return the rest, with what it left of the data behind a request that
        asked for an upgrade."""
        self.unread += len(data)
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            return self._upgrade_asked(data[pause.args[0] :] + rest)
        except httptools.HttpParserError as fault:
            if isinstance(fault.__context__, BadRequest):
                raise fault.__context__ from None
            raise BadRequest from None
        return rest

    def _upgrade_asked(self, rest: bytes) -> bytes:
        """What to parse of the bytes behind a head with Upgrade. llhttp's binding stops there, with
        a body or without; a request with a body, or for a protocol that is not tunnelled, is one
        like any other."""
        exchange = cast(Exchange, self.last)
        if self._has_body:
            self._reread()
            return rest
        protocols = asked_protocols(self._headers)
        if self._llhttp.get_http_version() == "1.0":
            protocols = b""
        if not protocols:
            return rest
        exchange.upgrade = protocols
        self._requests.take_upgrade(exchange, rest)
        return b""

    def _reread(self) -> None:
        """Feed the framing to llhttp again, without Upgrade, so that it reads the body as one.

        It is a new one: after the head of a last request, the old one ignores everything."""
        del self._llhttp
        self._rereading = True
        framing = [line for line in self._headers if line[0] in FRAMING]
        if not cast(Exchange, self.last).keep_alive:
            framing.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % line for line in framing)
        self._parse(b"PUT / HTTP/1.1\r\n%b\r\n" % lines)

    # llhttp's callbacks. An exception ends the parsing; `_parse` raises it again

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._expects = self._has_body = False
        self._plain = self.in_head = self.in_message = True
        self._head_bytes = self._body_left = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.target_bytes and not self._carries_another():
            raise TargetTooLong
        self._count(len(url))

    def _carries_another(self) -> bool:
        """Whether this is the target of one of Doorward's pages, which may contain the target to
        return to."""
        return self._url.startswith(_OWN_PAGES) and len(self._url) <= self._page_bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        name = name.lower()
        if not self.in_head:
            self._note_trailer(name, value)
            return
        if name in SPECIAL:
            value = value.rstrip(b" \t")  # RFC 9110 5.5: not part of it, but llhttp leaves it
            self._note(name, value)
        self._headers.append((name, value))

    def _note_trailer(self, name: bytes, value: bytes) -> None:
        """A trailer, never a header of the request (RFC 9110 6.5.1). Their lines count as the
        head's do, so that a million short ones are refused."""
        exchange = cast(Exchange, self.last)
        if exchange.trailers is NO_TRAILERS:
            exchange.trailers = []
        exchange.trailers.append((name, value))
        if len(exchange.trailers) > self._limits.header_count:
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
        if self._head_bytes > self._limits.header_bytes:
            raise HeadTooLarge

    def on_headers_complete(self) -> None:
        self.in_head = False
        self.unread = 0
        if self._rereading:
            self._rereading = False
            return
        if len(self._headers) > self._limits.header_count:
            raise HeadTooLarge
        method, version = self._llhttp.get_method(), self._llhttp.get_http_version()
        if self._stand_in is not None:
            method, self._stand_in = self._stand_in, None
        if method == b"CONNECT" or version not in ("1.0", "1.1"):
            raise BadRequest  # neither tunnels nor later versions are served here
        if version == "1.0" and self._has_body:
            _refuse_codings(self._headers)
        if version == "1.0" and self._expects:  # RFC 9110 10.1.1
            self._expects = False
            self._headers = [line for line in self._headers if line[0] != b"expect"]
        previous = self.last
        self.last = exchange = Exchange(
            self._connection, method, self._url, self._headers, self._plain
        )
        exchange.is_http_1_0 = version == "1.0"
        exchange.keep_alive = version == "1.1" and self._llhttp.should_keep_alive()
        exchange.waiting_for_100_continue = self._expects
        self._requests.take_head(exchange, previous)

    def on_body(self, body: Piece) -> None:
        self.unread = 0
        self._body_bytes += len(body)
        self._body_left = max(self._body_left - len(body), 0)
        exchange = cast(Exchange, self.last)
        if exchange.response_complete:
            return
        if exchange.take_body(body) > HIGH_WATER_BYTES:
            self._flow.pause_reading()
        exchange.message_event.set()

    def on_message_complete(self) -> None:
        if self._has_body and self._llhttp.should_upgrade():
            return  # its body is still to be read
        self.in_message = False
        exchange = cast(Exchange, self.last)
        exchange.more_body = False
        if exchange.plain:
            self._requests.take_plain(exchange)
            return
        exchange.message_event.set()
        if exchange.taker is not None:
            exchange.give_more()  # before a request behind it is read


def _refuse_codings(headers: list[Header]) -> None:
    """HTTP/1.0 has no transfer codings: with one, the end of the body is unclear (RFC 9112 6.1)."""
    if any(name == b"transfer-encoding" for name, _ in headers):
        raise BadRequest
