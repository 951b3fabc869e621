"""The marker: a few memory-mapped bytes that every process of this host compares on each request,
and that each change of the feed replaces. It knows no database.

The map is only read. New marks are written to the file: with a full disk that is an OSError,
whereas writing through the map would kill the process (SIGBUS).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import mmap
import os
import struct
import time
from pathlib import Path

from doorward.accounts import randomness

MARK_BYTES = 16
# After the mark: when the file was made, in seconds of the host's monotonic clock; 0 if no process
# can have been running then.
MADE = struct.Struct("d")
FILE_BYTES = MARK_BYTES + MADE.size
# A worker looks once a second whether its file is still the file. Until all have, a mark in a new
# file reaches no process, so a process that writes one waits.
SETTLE_S = 1.1
CLOSED = -1  # in place of a file descriptor


class Marker:
    """The file at `path`, created if missing. `fresh`: no other process can be running yet.

    Truncating the file kills its readers (SIGBUS), so it has mode 0600; removing or replacing it is
    noticed.
    """

    __slots__ = ("_file", "_identity", "_map", "_path")

    def __init__(self, path: Path, fresh: bool = False) -> None:
        """Raises OSError."""
        self._path = path
        self._map: mmap.mmap | bytes = b""
        self._file = CLOSED
        self._identity: tuple[int, int] | None = None
        if not self._open():
            self._make(0.0 if fresh else time.monotonic())

    def read(self) -> bytes:
        """The current mark, which takes 0.1 µs; empty while the file is missing."""
        return self._map[:MARK_BYTES]

    def check(self) -> None:
        """Opens the file again if it was replaced; `read` is empty while it is missing."""
        if self._identity is None or self._identity != self._found():
            with contextlib.suppress(OSError):  # a file that cannot be opened counts as missing
                self._open()

    async def replace(self) -> None:
        """Writes a new mark, and waits until all running processes can see it. Raises OSError."""
        if self._identity is None or self._identity != self._found():
            if not self._open():
                self._make(time.monotonic())
        _write(self._file, randomness.marker_bytes())
        (made,) = MADE.unpack(self._map[MARK_BYTES:FILE_BYTES])
        age_s = time.monotonic() - made
        if made and 0 <= age_s < SETTLE_S:  # a monotonic time in the future is from before a reboot
            await asyncio.sleep(SETTLE_S - age_s)

    def close(self) -> None:
        self._map, self._identity = b"", None
        if self._file != CLOSED:
            os.close(self._file)
            self._file = CLOSED

    def _found(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _open(self) -> bool:
        """Maps the existing file; False, and an empty mark, if there is no valid one."""
        self.close()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        status = os.fstat(self._file)
        if status.st_size != FILE_BYTES:
            self.close()
            return False
        self._map = mmap.mmap(self._file, FILE_BYTES, access=mmap.ACCESS_READ)
        self._identity = status.st_dev, status.st_ino
        return True

    def _make(self, made: float) -> None:
        """Puts a complete file in place at once, so that no process ever sees a part of one."""
        draft = self._path.with_name(f"{self._path.name}.{randomness.public_id()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(draft, flags, 0o600)
        try:
            _write(descriptor, randomness.marker_bytes() + MADE.pack(made))
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        self._place(draft)

    def _place(self, draft: Path) -> None:
        try:
            # unlike rename, this keeps the file that another process made meanwhile
            os.link(draft, self._path)
        except FileExistsError:
            if not self._open():  # not a valid marker, so nobody uses it
                os.replace(draft, self._path)
        finally:
            draft.unlink(missing_ok=True)
        if self._identity is None and not self._open():
            raise OSError(f"{self._path} vanishes as it is made")


def _write(file: int, content: bytes) -> None:
    """Writes all of it at the beginning of the file. Raises OSError."""
    if os.pwrite(file, content, 0) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
