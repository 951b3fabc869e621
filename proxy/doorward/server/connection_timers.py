"""The timeouts of one client connection in each of its states.

Knows clocks and limits; must not know what is sent, or what happens after a timeout. Most
connections never need more than two of the timers, so each is made when it is first needed.
"""

import asyncio
from typing import Protocol

from doorward.server.limits import (
    BodyClock,
    HalfClosed,
    ProbedConnection,
    ReaderClock,
    TimedConnection,
)
from doorward.settings import LimitSettings


class TimedClient(TimedConnection, ProbedConnection, Protocol):
    """A client connection, for its timers."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered, and no head is being read."""

    def close(self) -> None: ...


class ConnectionTimers:
    """One timer for an unfinished head, and one for idle connections that checks again, instead of
    one that each request cancels; clocks for bodies, slow readers and half-closed clients."""

    __slots__ = (
        "_body",
        "_connection",
        "_half_closed",
        "_head",
        "_idle",
        "_idle_since",
        "_limits",
        "_loop",
        "_reader",
        "_transport",
    )

    def __init__(
        self, connection: TimedClient, transport: asyncio.Transport, limits: LimitSettings
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection: TimedClient | None = connection  # until it is closed
        self._transport = transport
        self._limits = limits
        self._head: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._body: BodyClock | None = None
        self._reader: ReaderClock | None = None
        self._half_closed: HalfClosed | None = None

    def stop(self) -> None:
        """The connection is closed. Nothing refers to it any more, and no timer starts."""
        self.end_head()
        for clock in (self._body, self._reader, self._half_closed):
            if clock is not None:
                clock.stop()
        if self._idle is not None:
            self._idle.cancel()
        self._connection = self._body = self._reader = self._half_closed = None

    # A head

    def await_head(self) -> None:
        """Close the connection unless a head is complete within `header_timeout`, counted from the
        first call."""
        if self._head is None:
            seconds = self._limits.header_timeout.total_seconds()
            self._head = self._loop.call_later(seconds, self._head_late)

    def _head_late(self) -> None:
        self._head = None
        if self._connection is not None:
            self._connection.close()

    def end_head(self) -> None:
        """The head is complete, or no longer awaited."""
        if self._head is not None:
            self._head.cancel()
            self._head = None

    # Idle connections

    def start_idle(self) -> None:
        """The connection is idle from now on."""
        self._idle_since = self._loop.time()
        if self._idle is None:
            self._look_again(self._limits.idle_timeout.total_seconds())

    def _look_again(self, seconds: float) -> None:
        self._idle = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Close a connection that was idle for `idle_timeout`."""
        if self._connection is None:
            return
        timeout_s = self._limits.idle_timeout.total_seconds()
        left = self._idle_since + timeout_s - self._loop.time()
        if not self._connection.is_idle:
            self._look_again(timeout_s)
        elif left > 0:
            self._look_again(left)
        else:
            self._connection.close()

    # Pauses within a message

    def note_body(self) -> None:
        """Part of an incomplete message has arrived."""
        if self._body is None and self._connection is not None:
            self._body = BodyClock(self._connection, self._limits.body_timeout.total_seconds())
        if self._body is not None:
            self._body.came()

    def await_reader(self) -> None:
        """The client has to read before more can be sent."""
        if self._reader is None and self._connection is not None:
            seconds = self._limits.write_timeout.total_seconds()
            self._reader = ReaderClock(self._connection, self._transport, seconds)
        if self._reader is not None:
            self._reader.start()

    def note_reader(self) -> None:
        """The client has caught up."""
        if self._reader is not None:
            self._reader.moved()

    def watch_half_closed(self) -> None:
        """The client has closed its sending side and waits for an answer."""
        if self._half_closed is None and self._connection is not None:
            self._half_closed = HalfClosed(self._connection, self._transport)
