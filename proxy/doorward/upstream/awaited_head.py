"""Reads an answer of which only the head matters, for Doorward's own requests.

Must not know the question.
"""

import asyncio

from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.framing import Header
from doorward.upstream.heads import Head


class AwaitedHead:
    """Implements `Sink`. Awaiting `head` raises UpstreamFailure. Always call `leave`."""

    def __init__(self) -> None:
        self.head: asyncio.Future[Head] = asyncio.get_running_loop().create_future()

    def leave(self, connection: Connection) -> None:
        """Give the connection back, even if more of the answer is still to come."""
        self.head.cancel()
        if connection.serves(self):
            connection.abandon()

    def on_interim(self, status: int, headers: list[Header]) -> None:
        pass

    def on_head(self, head: Head) -> None:
        if not self.head.done():
            self.head.set_result(head)

    def on_body(self, data: bytes) -> None:
        pass

    def on_whole(self, head: Head, body: bytes) -> None:
        self.on_head(head)

    def on_end(self, trailers: tuple[Header, ...]) -> None:
        pass

    def on_failure(self, failure: UpstreamFailure) -> None:
        if not self.head.done():
            self.head.set_exception(failure)

    def on_writable(self) -> None:
        pass

    def on_sweep(self, now: float) -> None:
        pass
