"""The gateway as an ASGI application, for any server but our own.

`AsgiExchange` fills `ClientExchange` with ASGI's messages: what is written waits in a queue, which
the server's pace empties, and a client that leaves is noticed by whoever receives. ASGI knows no
trailers, no answers before the answer and no tunnels; a cut is an exception, on which every server
closes the connection.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from doorward.http1.arrival import Arrival
from doorward.http1.client_exchange import ClientTunnel, Closable
from doorward.http1.headers import Header
from doorward.http1.known_requests import KnownRequest
from doorward.http1.response_head import ResponseHead
from doorward.observe.observer import LEFT
from doorward.relay.gateway import Gateway, Receive, Scope, Send

# What may wait for a slow client before its upstream is made to wait.
HIGH_WATER_BYTES = 256 * 1024


class AnswerCut(Exception):
    """An answer that ends in the middle: the client must see a cut, not an end."""


async def answer(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. Raises AnswerCut."""
    await AsgiExchange(scope, receive, send).run(gateway)


class AsgiExchange:
    """One request of an ASGI server and its answer."""

    known: KnownRequest | None = None
    attached: Closable | None = None
    keep_alive = True  # which is the server's to decide
    turned_away = 0
    gone_for = LEFT

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.arrival = arrival = _arrival(scope)
        self.method = arrival.method
        self.link = arrival.peer, arrival.scheme
        self.trailers: list[Header] = []
        self.disconnected = self.response_started = self.response_complete = False
        self.status = self.sent_bytes = 0
        self._receive = receive
        self._send = send
        self._body_left = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._gone: Callable[[], object] | None = None
        self._drained: Callable[[], None] | None = None
        self._queue: deque[dict[str, Any]] = deque()
        self._queued_bytes = 0
        self._news = asyncio.Event()
        self._is_cut = False
        self._fault: BaseException | None = None

    async def run(self, gateway: Gateway) -> None:
        """Answer by `gateway`, and return once the server has all of it."""
        try:
            waiting = gateway.begin(self)
            if waiting is not None:
                self.spawn(waiting)
            await self._send_queue()
        finally:
            for task in (*self._tasks, *filter(None, [self._listening])):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            if not self.response_complete:
                self._client_gone()

    async def _send_queue(self) -> None:
        while True:
            while self._queue and not self._is_cut:
                message = self._queue.popleft()
                self._queued_bytes -= len(message.get("body", b""))
                await self._send(message)
                if not self.is_slow and self._drained is not None and not self.response_complete:
                    self._drained()
            if self._fault is not None:
                raise self._fault
            if self._is_cut:
                raise AnswerCut
            if not self._queue and (self.response_complete or self.disconnected):
                return
            self._news.clear()
            await self._news.wait()

    def attach(self, attached: Closable) -> bool:
        return False  # the server's connections are not known

    def spawn(self, waiting: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(waiting)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault
            self._news.set()

    # The client

    async def receive(self) -> dict[str, Any]:
        """What the server receives; only one coroutine may ask at a time."""
        if self._listening is not None and not self._listening.done():
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._client_gone()
        elif not message.get("more_body", False):
            self._body_left = False
            self._listen()
        return message

    def when_gone(self, callback: Callable[[], object]) -> None:
        self._gone = callback
        if self.disconnected:
            self._client_gone()
        elif not self._has_body():
            self._listen()

    def _has_body(self) -> bool:
        """Whether somebody else may still receive the body; who does hears of the client, too."""
        names = {name for name, value in self.arrival.headers if value != b"0"}
        return self._body_left and not names.isdisjoint((b"content-length", b"transfer-encoding"))

    def _listen(self) -> None:
        if self._listening is None or self._listening.done():
            self._listening = asyncio.ensure_future(self._hear())

    async def _hear(self) -> None:
        """Wait for the client to go away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._client_gone()

    def _client_gone(self) -> None:
        callback, self._gone = self._gone, None
        self.disconnected = self.disconnected or not self.response_complete
        self._news.set()
        if callback is not None and not self.response_complete:
            callback()

    @property
    def is_slow(self) -> bool:
        return self._queued_bytes > HIGH_WATER_BYTES

    def when_drained(self, callback: Callable[[], None]) -> None:
        self._drained = callback

    # The answer

    def interim(self, status: int, headers: list[Header]) -> None:
        pass

    def start_with(self, head: ResponseHead) -> None:
        self.response_started = True
        self.status = head.status
        headers = list(head.headers)
        self._put({"type": "http.response.start", "status": head.status, "headers": headers})

    def write(self, data: bytes) -> None:
        self._put_body(data, more=True)

    def end(self, data: bytes = b"", trailers: bytes = b"") -> None:
        self._put_body(data, more=False)
        self.response_complete = True
        self._gone = self._drained = None

    def _put_body(self, data: bytes, *, more: bool) -> None:
        if self.method != b"HEAD":
            self.sent_bytes += len(data)
        self._put({"type": "http.response.body", "body": data, "more_body": more})

    def _put(self, message: dict[str, Any]) -> None:
        if not self.disconnected:
            self._queue.append(message)
            self._queued_bytes += len(message.get("body", b""))
            self._news.set()

    def cut(self, *, at_once: bool = False) -> None:
        self.disconnected = self._is_cut = True
        self._news.set()

    def switch(
        self,
        headers: Iterable[Header],
        upstream: asyncio.Transport,
        early: bytes,
        upstream_lost: Callable[[Exception | None], None],
        idle_timeout_s: float,
    ) -> ClientTunnel:
        raise AssertionError("no upgrade is asked for over ASGI's http scopes")

    # The same in ASGI's words

    async def send(self, message: Any) -> None:
        """Pass an application's message on, in order with what is written."""
        if message["type"] == "http.response.start":
            self.response_started, self.status = True, message["status"]
            self._put(message)
        else:
            more = message.get("more_body", False)
            self._put_body(message.get("body", b""), more=more)
            self.response_complete = not more
        while self.is_slow and not self.disconnected:
            drained = asyncio.Event()
            self._drained = drained.set
            await drained.wait()


def _arrival(scope: Scope) -> Arrival:
    """An ASGI scope as bytes. The target is put together again."""
    raw_path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    client = scope.get("client")
    return Arrival(
        method=scope["method"].encode("latin-1"),
        target=raw_path + b"?" + query if query else raw_path,
        headers=scope["headers"],
        peer=client[0] if client else "",
        scheme=scope["scheme"],
        is_http_1_0=scope.get("http_version") == "1.0",
    )
