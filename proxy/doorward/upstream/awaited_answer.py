"""Reads an answer to one of Doorward's own requests: its head, and a short body if asked to.

Must not know the question.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.framing import Header
from doorward.upstream.heads import Head

# How many bytes of an answer's body to read at most, by its head.
Measure = Callable[[Head], int]


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """`body` is empty if none was read, and None if it is longer than the limit."""

    head: Head
    body: bytes | None


class AwaitedAnswer:
    """Implements `Sink`. Awaiting `answer` raises UpstreamFailure. Always call `leave`."""

    def __init__(self, measure: Measure | None = None) -> None:
        """Without `measure` only the head is read."""
        self.answer: asyncio.Future[OwnAnswer] = asyncio.get_running_loop().create_future()
        self._measure = measure
        self._head: Head | None = None
        self._body = bytearray()
        self._limit = 0

    def leave(self, connection: Connection) -> None:
        """Give the connection back, even if more of the answer is still to come."""
        self.answer.cancel()
        if connection.serves(self):
            connection.abandon()

    def on_interim(self, status: int, headers: list[Header]) -> None:
        pass

    def on_head(self, head: Head) -> None:
        self._head = head
        self._limit = 0 if self._measure is None else self._measure(head)
        if not self._limit:
            self._end(b"")

    def on_body(self, data: bytes) -> None:
        if self.answer.done():
            return
        if len(self._body) + len(data) > self._limit:
            self._end(None)
        else:
            self._body += data

    def on_whole(self, head: Head, body: bytes) -> None:
        self.on_head(head)
        self.on_body(body)
        self.on_end(())

    def on_end(self, trailers: tuple[Header, ...]) -> None:
        self._end(bytes(self._body))

    def _end(self, body: bytes | None) -> None:
        if not self.answer.done():
            assert self._head is not None
            self.answer.set_result(OwnAnswer(self._head, body))

    def on_failure(self, failure: UpstreamFailure) -> None:
        if not self.answer.done():
            self.answer.set_exception(failure)

    def on_writable(self) -> None:
        pass

    def on_sweep(self, now: float) -> None:
        pass
