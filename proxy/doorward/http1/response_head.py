"""The head of an answer as bytes: the status line and the headers that are passed on.

Must not know the connection or the body.
"""

import http
from collections.abc import Collection, Iterable
from itertools import repeat

from doorward.http1.headers import Header

# Lengths of the names of headers that matter here, so that other names need not be lower-cased.
_LENGTHS = {len(name) for name in ("date", "connection", "content-length", "transfer-encoding")}


def status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {status: status_line(status) for status in range(200, 600)}


class InvalidResponseHead(Exception):
    """The application's answer is invalid. If part of it was already sent, the client's connection
    is cut."""


class ResponseHead:
    """The part of an answer's head that does not depend on client or time. `length`: of the body in
    bytes, -1 if no header states it; `closes`: whether the connection closes after the answer."""

    __slots__ = ("closes", "is_dated", "length", "status", "text")

    def __init__(self, status: int, headers: Collection[Header]) -> None:
        """Raises InvalidAnswer."""
        self.status = status
        self.length = -1
        self.closes = self.is_dated = False
        lines = [_STATUS_LINES.get(status) or status_line(status)]
        for name, value in headers:
            if len(name) in _LENGTHS and self._is_left_out(name.lower(), value):
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        self.text = check_lines(lines)

    @classmethod
    def of_lines(cls, status: int, lines: bytes, length: int, *, is_dated: bool) -> "ResponseHead":
        """A head made of finished lines, none of which controls the connection."""
        made = cls.__new__(cls)
        made.status, made.length, made.is_dated, made.closes = status, length, is_dated, False
        made.text = (_STATUS_LINES.get(status) or status_line(status)) + lines
        return made

    @property
    def headers(self) -> list[Header]:
        """Names in lower case, and values."""
        lines = self.text.split(b"\r\n")[1:-1]
        split = map(bytes.partition, lines, repeat(b": "))
        return [(name.lower(), value) for name, _, value in split]

    @property
    def is_event_stream(self) -> bool:
        return b"\ncontent-type: text/event-stream" in self.text.lower()

    def _is_left_out(self, name: bytes, value: bytes) -> bool:
        """True for a header that is decided per connection instead of passed on."""
        self.is_dated = self.is_dated or name == b"date"
        if name == b"content-length":
            self.length = int(value)
            return self.status == 204  # RFC 9110 8.6
        if name == b"connection":
            self.closes = self.closes or b"close" in value.lower()
        return name in (b"connection", b"transfer-encoding")


def write_lines(headers: Iterable[Header]) -> bytes:
    """These headers as lines. Raises InvalidResponseHead for a line break within one."""
    return check_lines([b"%b: %b\r\n" % line for line in headers])


def check_lines(lines: list[bytes]) -> bytes:
    """A head. Raises InvalidAnswer for a line break that is not the end of a line."""
    head = b"".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines):
        raise InvalidResponseHead("a line break in a header")  # CVE-2020-7695
    return head
