"""What an exchange over ASGI sends: messages in order, at the pace of the server that takes them,
and the tasks that make them.

Knows how a server learns of an end and of a cut; must not know the content.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]

# How much may wait for a slow client before its upstream has to wait.
HIGH_WATER_BYTES = 256 * 1024
# What a queued message takes in memory besides its body. A WebSocket may have one for each byte.
MESSAGE_BYTES = 400


def _ignore() -> None:
    pass


class AnswerCut(Exception):
    """An answer that ends in the middle. A server that gets this from its application closes the
    connection, so that the client sees a cut instead of an end."""


class Outbox:
    """`run`, in the task that the server made for the exchange, sends what `put` has queued until
    `finish`, `cut`, `fail` or the client leaves, which it learns from `when_gone`."""

    # Class attributes, so that values that most exchanges share cost nothing.
    _queued_bytes = 0
    _news: asyncio.Future[None] | None = None  # for `run`, while it waits
    _runner: asyncio.Task[Any] | None = None
    _guest: asyncio.Task[None] | None = None
    _is_sending = _is_finished = _is_cut = _is_void = False
    _fault: BaseException | None = None
    drained: Callable[[], None] | None = None  # called when a slow client has caught up

    def __init__(self, send: Send, when_gone: Callable[[], None]) -> None:
        self._send = send
        self._when_gone = when_gone
        self._tasks: set[asyncio.Task[Any]] = set()
        self._queue: deque[tuple[Message, int]] = deque()

    @property
    def is_slow(self) -> bool:
        return self._queued_bytes > HIGH_WATER_BYTES

    async def wait_until_drained(self) -> None:
        """Wait while the client is slow. Only one coroutine may wait."""
        while self.is_slow and not (self._is_finished or self._is_void):
            drained = asyncio.Event()
            self.drained = drained.set
            await drained.wait()

    def put(self, message: Message, size: int = 0) -> None:
        """Queue a message that contains this many bytes of a body."""
        if self._is_void:
            return
        size += MESSAGE_BYTES
        self._queue.append((message, size))
        self._queued_bytes += size
        if self._news is not None:
            self._wake()

    @property
    def last_queued(self) -> Message | None:
        """The last queued message, as long as it is not sent."""
        return self._queue[-1][0] if self._queue else None

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def finish(self) -> None:
        """End after what is queued."""
        self._is_finished = True
        self._wake()

    def cut(self, *, at_once: bool = False) -> None:
        """End in the middle, after what is queued; `at_once`: before it."""
        self._is_cut = True
        self._wake()
        if at_once:
            self._void()

    def drop(self) -> None:
        """The client has left, so nothing queued is sent."""
        self.finish()
        self._void()

    def _void(self) -> None:
        """Send nothing more, and do not wait for a client that reads nothing."""
        self._is_void = True
        self._queue.clear()
        self._queued_bytes = 0
        if self._is_sending and self._runner is not None:
            self._runner.cancel()

    def spawn(self, waiting: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Continue in a task, which ends with `run`, and whose error `run` raises."""
        task = asyncio.ensure_future(waiting)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def host(self, guest: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Let an application answer. It may continue once everything is sent; `run` waits for
        it."""
        self._guest = task = self.spawn(guest)
        task.add_done_callback(self._guest_done)
        return task

    def _guest_done(self, guest: "asyncio.Task[None]") -> None:
        if not (self._is_finished or self._is_cut):
            self._fault = self._fault or AnswerCut()
            self._wake()

    def _task_done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault
            self._wake()

    async def run(self) -> None:
        """Send until the end. Raises AnswerCut, and any error of a task."""
        self._runner = asyncio.current_task()
        try:
            await self._send_all()
            if self._guest is not None:
                await self._end_guest(self._guest)
        except asyncio.CancelledError:
            if not self._is_void or self._runner is None or self._runner.uncancel():
                raise  # the server cancelled it
            if self._is_cut:
                raise AnswerCut from None
            if self._guest is not None:
                await self._end_guest(self._guest)
        finally:
            if self._tasks:
                await self._end_tasks()
            # Otherwise every exchange would be a reference cycle.
            self._when_gone, self.drained, self._runner = _ignore, None, None

    async def _send_all(self) -> None:
        queue = self._queue
        while True:
            while queue:
                message, size = queue.popleft()
                self._queued_bytes -= size
                self._is_sending = True
                try:
                    await self._send(message)
                except OSError:  # since ASGI 2.4, this means that the client has left
                    self._is_sending = False
                    self._when_gone()
                finally:
                    self._is_sending = False
                if self.drained is not None and not self.is_slow:
                    self.drained()
            if self._fault is not None:
                raise self._fault
            if self._is_cut:
                raise AnswerCut
            if not queue:
                if self._is_finished:
                    return
                self._news = news = asyncio.get_running_loop().create_future()
                await news

    async def _end_guest(self, guest: "asyncio.Task[None]") -> None:
        """Raises what the application raised."""
        await asyncio.wait((guest,))
        if not guest.cancelled():
            guest.result()

    async def _end_tasks(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
