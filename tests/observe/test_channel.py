"""Lines written in the background: no caller waits for them, and lost lines are counted and
reported once."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from doorward.observe.channel import Channel, Descriptor, Lines, to_nothing

from tests.support.waiting import PATIENCE_S, until


class Disk:
    """Accepts lines except while it is full."""

    def __init__(self) -> None:
        self.is_full = False
        self.lines: list[bytes] = []

    def __call__(self, lines: Lines, may_wait: bool) -> None:
        while lines:
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.lines.append(lines.popleft())


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("by_thread", [False, True])
def test_lost_lines_are_counted_and_reported_after_recovery(by_thread: bool) -> None:
    disk, told = Disk(), list[object]()
    channel = Channel(disk, told.append, told.append)

    def put(*lines: str) -> None:
        for line in lines:
            channel.put(line)

    def play() -> None:
        put("a\n")
        until(lambda: disk.lines == [b"a\n"])
        disk.is_full = True
        put("b\n")
        until(lambda: channel.lost == 1)
        put("c\n")
        until(lambda: channel.lost == 2)
        disk.is_full = False
        put("d\n", "e\n")
        until(lambda: disk.lines == [b"a\n", b"d\n", b"e\n"])
        until(lambda: len(told) == 2)

    if by_thread:
        with channel.running():
            play()
    else:
        play()
    assert told == ["[Errno 28] No space left on device", 2]
    assert channel.lost == 2


def test_lines_that_are_put_are_written_before_the_end() -> None:
    disk = Disk()
    channel = Channel(disk)
    with channel.running():
        for number in range(1000):
            channel.put(f"{number}\n")
    assert disk.lines == [b"%d\n" % number for number in range(1000)]


def test_a_full_pipe_does_not_block_the_caller() -> None:
    with pipe() as (reading, writing):
        told: list[int] = []
        channel = Channel(Descriptor(writing), when_back=told.append, most=100)
        with channel.running():
            for _ in range(1000):
                channel.put("x" * 999 + "\n")
            assert channel.lost > 0
            seen = bytearray()
            done = threading.Event()

            def read() -> None:
                while not done.is_set() or len(seen) < (1000 - channel.lost) * 1000:
                    seen.extend(os.read(reading, 65536))

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            until(lambda: len(seen) >= (1000 - channel.lost) * 1000)
            until(lambda: told, "for what was lost to be told")
            done.set()
            channel.put("end\n")
            reader.join(PATIENCE_S)
        assert sum(told) == channel.lost
        assert set(bytes(seen).split(b"\n")) <= {b"x" * 999, b"end", b""}, "lines are whole"


def test_a_process_without_a_thread_does_not_wait_either() -> None:
    with pipe() as (_, writing):
        channel = Channel(Descriptor(writing))
        for _ in range(1000):
            channel.put("x" * 999 + "\n")
        assert channel.lost > 900


@pytest.mark.parametrize("by_thread", [False, True])
def test_a_closed_reader_or_file_raises_no_error(
    by_thread: bool,
) -> None:
    reading, writing = os.pipe()
    channels = [Channel(Descriptor(writing)), Channel(to_nothing)]
    os.close(reading)
    for channel in channels:
        if by_thread:
            with channel.running():
                channel.put("x\n")
        else:
            channel.put("x\n")
        assert channel.lost == 1
    os.close(writing)
    channels[0].put("x\n")
    assert channels[0].lost == 2


def test_a_stuck_reader_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doorward.observe.channel.CLOSE_S", 0.1)
    with pipe() as (_, writing):
        channel = Channel(Descriptor(writing))
        with channel.running():
            for _ in range(200):
                channel.put("x" * 999 + "\n")
        channel.put("after the end\n")


@pytest.mark.parametrize("by_thread", [False, True])
def test_an_unexpected_failure_ends_neither_the_thread_nor_the_caller(by_thread: bool) -> None:
    written: list[bytes] = []
    told: list[str | int] = []

    def write(lines: Lines, may_wait: bool) -> None:
        if lines[0] == b"odd\n":
            raise ValueError("a bug")
        written.extend(lines)
        lines.clear()

    channel = Channel(write, told.append, told.append)
    with channel.running() if by_thread else contextlib.nullcontext():
        channel.put("odd\n")
        until(lambda: told == ["a bug"])
        channel.put("even\n")
        until(lambda: len(told) == 2)
    assert written == [b"even\n"] and told == ["a bug", 1] and channel.lost == 1
