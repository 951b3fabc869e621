"""Writes lines in the background: they are queued, and a thread writes them.

Knows queues and failures of writing; must not know the content of lines. A caller never waits for
the disk or a reader, and is not affected by their failures: lines that cannot be written are
counted.
"""

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread

# A few MiB at most: a line of the access log has some hundred bytes, at most a few KiB.
LINES = 10_000
# How long lines are collected, so that a busy loop does not wake the thread for each one.
GATHER_S = 0.01
# How long writing the last lines may take when the process ends.
CLOSE_S = 1.0

Lines = deque[bytes]
# Writes lines and removes each one once it is written. The flag: whether it may wait. Raises
# OSError.
Write = Callable[[Lines, bool], None]


class Channel:
    """A queue in front of `write`, in a thread between `start` and `close`; otherwise the caller
    writes the line.

    `when_failed` gets the reason of the first failure, `when_back` the number of lost lines, once a
    line can be written again.
    """

    def __init__(
        self,
        write: Write,
        when_failed: Callable[[str], None] = lambda reason: None,
        when_back: Callable[[int], None] = lambda lost: None,
        most: int = LINES,
    ) -> None:
        self._write = write
        self._when_failed = when_failed
        self._when_back = when_back
        self._most = most
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._dropped = self._failed = self._told = 0
        self._is_failing = False

    @property
    def lost(self) -> int:
        """The number of lines that were not written."""
        return self._dropped + self._failed

    def put(self, line: str) -> None:
        """Write a line, in one piece. Never waits and never raises."""
        data = line.encode("utf-8", "backslashreplace")
        if self._thread is None:
            self._deliver(deque((data,)), may_wait=False)
        elif self._queue.qsize() >= self._most:
            self._dropped += 1
        else:
            self._queue.put(data)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A thread writes lines while this is open."""
        self._thread = Thread(target=self._work, name="doorward-channel", daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self._queue.put(None)
            self._thread.join(CLOSE_S)  # a stuck reader does not keep the process alive
            if not self._thread.is_alive():
                self._thread = None
            elif not self._is_failing:
                self._when_failed("they could not be written before the end")

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            time.sleep(GATHER_S)
            lines, ended = deque((first,)), False
            with contextlib.suppress(Empty):
                while not ended:
                    line = self._queue.get_nowait()
                    ended = line is None
                    if line is not None:
                        lines.append(line)
            self._deliver(lines, may_wait=True)
            if ended:
                return

    def _deliver(self, lines: Lines, *, may_wait: bool) -> None:
        try:
            self._write(lines, may_wait)
        except Exception as fault:  # whatever it is: it must not end the thread or the caller
            self._failed += len(lines)
            if not self._is_failing:
                self._is_failing = True
                self._when_failed(str(fault))
            return
        self._is_failing = False
        if (lost := self.lost) > self._told:
            lost, self._told = lost - self._told, lost
            self._when_back(lost)


class Descriptor:
    """Writes to an open file, such as standard error."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._poll = select.poll()
        self._poll.register(file, select.POLLOUT)
        self._has_half = False  # part of a line: the next line must not continue it

    def __call__(self, lines: Lines, may_wait: bool) -> None:
        while lines:
            if not (may_wait or self._poll.poll(0)):
                raise BlockingIOError("no process reads the output")
            self._line(lines[0])
            lines.popleft()

    def _line(self, line: bytes) -> None:
        left = b"\n" + line if self._has_half else line
        while left:
            try:
                count = os.write(self._file, left)
            except BlockingIOError:  # another process that has this file open made it non-blocking
                self._poll.poll(1000)
                continue
            self._has_half = count < len(left)
            left = left[count:]


def to_nothing(lines: Lines, may_wait: bool) -> None:
    """A channel that discards lines, for a process whose standard error is closed."""
    raise OSError("it is closed")
