"""The order in which the requests of one client are read and answered.

Knows which request is being answered, which wait for it, and when no more may be read; must not
know framing, what answers, or how a connection ends. Requests are answered one at a time, in their
order (RFC 9112 9.3.2). However many a client sends before it reads the answers, memory holds one
read of them.
"""

import asyncio
from collections import deque
from typing import Protocol as Typed
from typing import cast

from doorward.http1.heads import RequestHead
from doorward.http1.joining import JOINED_BYTES
from doorward.http1.known_requests import KnownRequests
from doorward.http1.parse_budget import ParseBudget
from doorward.http1.turns import Turns
from doorward.server.connection_timers import ConnectionTimers
from doorward.server.exchange import Exchange
from doorward.server.flow import Flow
from doorward.server.request_parser import BadRequest, RequestParser
from doorward.server.tunnel import PendingUpgrade
from doorward.settings import LimitSettings

# How many pipelined requests, and how many bytes of them, are taken before other connections have
# their turn. Every request in a piece costs copies of what is behind it.
TURNS = 64
PIECE_BYTES = 4096


class PipelinedConnection(Typed):
    """What the requests came over."""

    loop: asyncio.AbstractEventLoop
    turns: Turns
    flow: Flow
    limits: LimitSettings
    known: KnownRequests
    page_bytes: int

    @property
    def ignores_input(self) -> bool:
        """Whether nothing that the client still sends will be answered."""

    @property
    def is_over(self) -> bool:
        """Whether no further answer may be sent."""

    def answer(self, exchange: Exchange) -> None:
        """Have the request answered."""

    def refuse(self, status: int, reason: str) -> None:
        """Answer bytes that are not a request, and close."""


class Pipeline:
    """The requests of one connection. The answer to the last of `requests_left` closes it; a
    negative number is no limit."""

    __slots__ = (
        "_connection",
        "_flow",
        "_is_answering",
        "_requests_left",
        "_timers",
        "_turns_left",
        "kept",
        "parser",
        "running",
        "waiting",
    )

    def __init__(
        self, connection: PipelinedConnection, timers: ConnectionTimers, requests_left: int
    ) -> None:
        self._connection = connection
        self._flow = flow = connection.flow
        self._timers = timers
        self._requests_left = requests_left
        self.parser = RequestParser(
            self, connection, flow, connection.limits, connection.known, connection.page_bytes
        )
        self.running: Exchange | None = None  # being answered, or answered last
        self.waiting: deque[Exchange] = deque()  # for their turn, newest first
        self.kept = b""  # bytes of requests that are read once those before them are answered
        self._is_answering = False  # in `answer_waiting`
        self._turns_left = TURNS

    @property
    def is_free(self) -> bool:
        """Whether every request whose head was read is answered."""
        last = self.parser.last
        return last is None or last.response_complete

    @property
    def is_idle(self) -> bool:
        return not (self.parser.in_head or self.kept) and self.is_free

    def close(self) -> None:
        """The connection is closed: tell the requests. Drop what refers back to it, so that its
        memory is free at once. The collector does not look again at what has lived for seconds
        (see `app._settle_memory`)."""
        for exchange in (self.parser.last, self.running, *self.waiting):
            if exchange is not None:
                exchange.client_gone()
        self.running, self.kept = None, b""
        self.waiting.clear()
        self.parser.release()
        del self._connection

    # Reading

    def receive(self, data: bytes) -> None:
        """Read the requests in `data`, or keep them until it is their turn."""
        parser = self.parser
        if not self.kept and parser.pass_on(data):
            self._timers.note_body()
            return
        if self.kept or (self._flow.write_paused and not parser.in_message):
            self._keep(data)
            return
        last = parser.last
        if not (parser.in_message or parser.held) and (last is None or last.response_complete):
            exchange = parser.read_ordinary(data)
            if exchange is not None:
                self._timers.end_head()
                if exchange.more_body:
                    self._run_with_body(exchange, data)
                else:
                    self._run(exchange)
                return
        self._read(data)

    def _run_with_body(self, exchange: Exchange, data: bytes) -> None:
        start, rest = len(cast(RequestHead, exchange.parsed).text), b""
        if len(data) > start:  # so that head and body can be forwarded in one write
            is_large = len(data) - start > JOINED_BYTES
            body = memoryview(data)[start:] if is_large else data[start:]
            rest = self.parser.take_counted(body)
        self._run(exchange)
        self._read(rest)

    def _read(self, data: bytes) -> None:
        """Read the rest of a message, and other requests behind it."""
        try:
            self._read_messages(data)
            self.parser.check_unread()
        except BadRequest as fault:
            self._connection.refuse(fault.status, fault.reason)
        else:
            self._limit_wait()

    def _read_messages(self, rest: bytes) -> None:
        behind = b""
        parser, connection = self.parser, self._connection
        self._turns_left = TURNS
        parser.budget = ParseBudget()
        while rest and not connection.ignores_input:
            if parser.in_message:
                rest = parser.go_on(rest)
            elif self.waiting or self._flow.write_paused:
                break
            elif len(rest) > PIECE_BYTES and not behind:
                rest, behind = rest[:PIECE_BYTES], rest[PIECE_BYTES:]
            else:
                rest = parser.begin(rest)
            if parser.last is not None and parser.last.taker is not None:
                parser.last.give_more()
            if parser.in_message and parser.budget.is_spent:
                break
        if rest or behind:
            self._put_off(rest + behind)

    def _limit_wait(self) -> None:
        """Limit the wait for the rest of a message."""
        if self.parser.in_head or self.parser.held:
            self._timers.await_head()
        elif self.parser.in_message:
            self._timers.note_body()

    def _put_off(self, data: bytes) -> None:
        """Leave for later what came behind a request, or behind many chunks of its body."""
        last = self.parser.last
        waiting = None if last is None else last.waiting
        if waiting is not None and not self.is_free:
            waiting.data_received(data)  # the request asked for an upgrade
        elif not self._connection.ignores_input:
            self._keep(data)
            if self.parser.in_message:
                self._connection.turns.wait(self._continue)
            else:
                self._connection.loop.call_soon(self.read_kept)

    def _continue(self) -> None:
        """It is the turn of a body that was put off, if its connection still exists."""
        if self.kept:
            self.read_kept()

    def _keep(self, data: bytes) -> None:
        """Keep requests for later, and read no more."""
        self.kept += data
        self._flow.hold_reading()

    def read_kept(self) -> None:
        """Read the requests that were kept, if it is their turn."""
        if not self.parser.in_message and (self.waiting or self._flow.write_paused):
            return
        kept, self.kept = self.kept, b""
        self._flow.release_reading()
        if kept and not self._connection.ignores_input:
            self.receive(kept)

    def read_on(self) -> None:
        """Read what comes next: what was kept, or what the client sends."""
        if self.kept:
            # Not at once: answers that need no waiting would be given within each other.
            self._connection.loop.call_soon(self.read_kept)
        else:
            self._flow.release_reading()

    # What the parser has read

    def take_head(self, exchange: Exchange, previous: Exchange | None) -> None:
        self._timers.end_head()
        if previous is not None and not (self._turns_left and self._may_follow(previous)):
            self._flow.hold_reading()
            self.waiting.appendleft(exchange)
            if self._may_follow(previous):
                self._connection.loop.call_soon(self.answer_waiting)
        elif not exchange.plain:  # others run once their message is whole, which is at once
            self._run(exchange)

    def take_plain(self, exchange: Exchange) -> None:
        if not self.waiting:
            self._turns_left -= 1
            self._run(exchange)

    def take_upgrade(self, exchange: Exchange, early: bytes) -> None:
        exchange.waiting = waiting = PendingUpgrade(self._connection)
        exchange.on_response = waiting.stand_back
        if early:
            waiting.data_received(early)

    # Answering

    def _run(self, exchange: Exchange) -> None:
        """It is this request's turn to be answered."""
        self.running = exchange
        self._requests_left -= 1
        if not self._requests_left:
            exchange.keep_alive = False
        self._connection.answer(exchange)

    def answer_waiting(self) -> None:
        """Answer the requests that wait, until an answer takes time or the client reads too slowly.
        One after another instead of within each other: the stack is not that deep."""
        if self._is_answering:
            return
        self._is_answering = True
        try:
            for _ in range(TURNS):
                if not (self.waiting and self._may_answer()):
                    return
                following = self.waiting.pop()
                if not self.waiting:
                    self.read_on()  # its body, or the next request
                self._run(following)
        finally:
            self._is_answering = False
        self._connection.loop.call_soon(self.answer_waiting)

    def _may_answer(self) -> bool:
        if self._connection.is_over:
            return False
        return self.running is None or self._may_follow(self.running)

    def _may_follow(self, previous: Exchange) -> bool:
        """Whether another answer may begin: the one before it is complete, and the client reads."""
        return previous.response_complete and not self._flow.write_paused
