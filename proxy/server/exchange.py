"""One request and its answer on a client connection: what the application says becomes bytes.

Knows HTTP/1 framing of answers; must not know what is answered. It is uvicorn's request cycle with
a writer of its own: head and first piece of body leave in one write, and what plain ASGI cannot
say (the target as received, word of a client that went away, a cut) is here.
"""

import asyncio
import http
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# The key of a scope's extensions under which an Exchange stands.
EXTENSION = "doorward.exchange"


_FRAMING_LENGTHS = {len("connection"), len("content-length"), len("transfer-encoding")}

START, BODY = "http.response.start", "http.response.body"


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in range(200, 600)}


class InvalidAnswer(Exception):
    """The application said something that is no answer; what was sent of it is cut."""


class Flag:
    """What uvicorn asks of an `asyncio.Event`, at a fraction of the cost of making one."""

    __slots__ = ("_set", "_waiter")

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        self._set = False

    async def wait(self) -> None:
        """Wait until it is set. Only one coroutine may, as only one receives."""
        while not self._set:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


class Exchange(RequestResponseCycle):
    """One request and its answer."""

    target: bytes = b""
    _gone: Callable[[], None] | None = None
    _head: bytes | None = None  # made, and waiting for the first piece of the body
    _left: int = -1  # of a body of known length
    _has_body: bool = True

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` once if the client goes away before the answer is complete."""
        if self.disconnected:
            callback()
        else:
            self._gone = callback

    def client_gone(self) -> None:
        """The connection is closed."""
        callback, self._gone = self._gone, None
        self.disconnected = self.disconnected or not self.response_complete
        self.message_event.set()
        if callback is not None and not self.response_complete:
            callback()

    def cut(self) -> None:
        """Close the connection in mid-answer, so that the client sees that it is not whole."""
        self.disconnected = True
        self.transport.close()

    async def send(self, message: Any) -> None:
        """Take the application's next message; waits while the client is slow."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start(message)
        elif self.response_complete:
            raise InvalidAnswer("a message after the end of the answer")
        else:
            self._continue(message)

    def whole(self, answer: Any, headers: list[tuple[bytes, bytes]]) -> bool:
        """Send an answer that is complete already (`status`, `take()`), without the messages.

        False, and nothing done, when the client is slow or something was sent before.
        """
        if self.flow.write_paused or self.disconnected or self.response_started:
            return False
        self._start({"type": START, "status": answer.status, "headers": headers})
        self._continue({"type": BODY, "body": answer.take()})
        return True

    def _start(self, message: Any) -> None:
        if message["type"] != START:
            raise InvalidAnswer(f"{message['type']} before the head")
        if self.waiting_for_100_continue:
            # The body may never come (RFC 9110 10.1.1): what does must not be taken for it.
            self.keep_alive = False
        self._head = self._make_head(message["status"], message.get("headers", ()))
        self.response_started = True
        self.waiting_for_100_continue = False

    def _make_head(self, status: int, headers: Any) -> bytes:
        lines = [_STATUS_LINES.get(status) or _status_line(status)]
        for name, value in headers:
            # Only names of these lengths matter here; others need not be lowered to see that.
            if len(name) in _FRAMING_LENGTHS and self._frames(name.lower(), value):
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        self._has_body = self.scope["method"] != "HEAD" and status not in (204, 304)
        self.chunked_encoding = self._has_body and self._left < 0
        if self.chunked_encoding:
            self._frame(lines)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines):
            raise InvalidAnswer("a line break in a header")  # CVE-2020-7695
        return head

    def _frames(self, name: bytes, value: bytes) -> bool:
        """True for a header that is decided here rather than passed on."""
        if name == b"content-length":
            self._left = int(value)
        elif name == b"connection":
            self.keep_alive = self.keep_alive and b"close" not in value.lower()
        return name in (b"connection", b"transfer-encoding")

    def _frame(self, lines: list[bytes]) -> None:
        """A body of unknown length: in chunks, or ended by the close for HTTP/1.0."""
        if self.scope["http_version"] == "1.0":
            self.chunked_encoding = self.keep_alive = False
        else:
            lines.append(b"transfer-encoding: chunked\r\n")

    def _continue(self, message: Any) -> None:
        if message["type"] != BODY:
            raise InvalidAnswer(f"{message['type']} in mid-answer")
        body, more = message.get("body", b""), message.get("more_body", False)
        head, self._head = self._head or b"", None
        data = head + self._framed(body, more) if self._has_body else head
        if data:
            self.transport.write(data)
        if not more:
            self._complete()

    def _framed(self, body: bytes, more: bool) -> bytes:
        if self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if self._left >= 0:
            self._left -= len(body)
            if self._left < 0 or (self._left > 0 and not more):
                raise InvalidAnswer("a body of another length than the head said")
        return body

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
