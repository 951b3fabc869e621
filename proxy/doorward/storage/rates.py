"""How often something was requested within a window of time: counters in a file that all workers
share.

Knows keys and windows; it must not know what a key stands for, or what happens to clients that ask
too often. The file is read and written, never mapped: writing into a hole of a mapped file when the
disk is full kills the process (SIGBUS), whereas a failed write is an ordinary error.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import structlog

from doorward.accounts.keys import Keys
from doorward.accounts.refusals import StorageUnavailable
from doorward.settings.file_lock import lock_file, unlock_file

_log = structlog.get_logger("doorward.storage")

_Result = TypeVar("_Result")

PURPOSE = "rate counters"
RATES_FILE = "doorward.rates"

# One counter: its key, the end of its window in Unix seconds, and its number of uses.
SLOT = struct.Struct("=16sdQ")
# At most half a million counters, in 16 MiB of a sparse file. A new key in a full bucket replaces
# the window that ends first, so the file stays bounded.
BUCKETS = 1 << 16
SLOTS_PER_BUCKET = 8
_NS = 1_000_000_000
# How long the event loop waits for the lock. Workers hold it for microseconds, but one of them may
# be interrupted meanwhile on a busy machine. After a wait in vain there is none until the lock is
# free again, so that a process that keeps it holds up the loop only once.
LOCK_WAIT_S = 0.05
BUCKET_BYTES = SLOT.size * SLOTS_PER_BUCKET


@dataclass(frozen=True, slots=True)
class Count:
    """The state of a counter after one more use. `window_s`: the length of the whole window."""

    limit: int
    used: int
    resets_at: float
    window_s: float

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def is_exceeded(self) -> bool:
        return self.used > self.limit


class Rates:
    """The counters of this host. Each count is one step that no other process interrupts.

    A window begins with its first use. If the file is lost, a few minutes of counting are lost.
    Keys are stored as keyed hashes, so the file reveals nothing, and clients cannot choose which
    counters share a bucket.
    """

    __slots__ = ("_descriptor", "_is_kept_locked", "_key", "_path")

    def __init__(self, data_dir: Path, keys: Keys) -> None:
        self._path = data_dir / RATES_FILE
        self._key = keys.follow(lambda derive: derive(PURPOSE)[0])
        self._descriptor = -1
        self._is_kept_locked = False

    def count(self, key: str, limit: int, window_s: float, now: float) -> Count:
        """Counts one use of `key`, which takes 12 µs. Raises StorageUnavailable, also if the disk
        is full or another process keeps the file locked."""
        digest = blake2b(key.encode(), digest_size=16, key=self._key()).digest()
        used, ends_at = self._locked(_count, digest, window_s, now)
        return Count(limit, used, ends_at, window_s)

    def pace(self, key: str, limit: int, window_s: float, now: float) -> float:
        """Counts one use of `key` unless there were too many: the seconds to wait then, else 0.

        `limit` uses may come at once, and each comes back after a `limit`-th of the window (GCRA):
        no boundary at which twice as many pass. A refused use costs nothing. Measured at 5 µs.
        Raises StorageUnavailable, as `count` does."""
        digest = blake2b(key.encode(), digest_size=16, key=self._key()).digest()
        window_ns, now_ns = int(window_s * _NS), int(now * _NS)
        step_ns = window_ns // limit
        return self._locked(_pace, digest, step_ns, window_ns, now_ns) / _NS

    def _locked(self, use: Callable[..., _Result], *values: object) -> _Result:
        """Calls `use` with the file and these values while no other process uses the file."""
        try:
            file = self._opened()
            self._lock(file)
            try:
                return use(file, *values)
            finally:
                unlock_file(file)  # the system does, when a process ends
        except OSError as error:
            raise StorageUnavailable from error

    def _lock(self, file: int) -> None:
        try:
            lock_file(file, 0.0 if self._is_kept_locked else LOCK_WAIT_S)
        except BlockingIOError as error:
            if not self._is_kept_locked:
                self._is_kept_locked = True
                _log.error("rates_locked", file=str(self._path), reason=error.strerror)
            raise
        if self._is_kept_locked:
            self._is_kept_locked = False
            _log.warning("rates_free_again")

    def close(self) -> None:
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1

    def _opened(self) -> int:
        """Opens the file at the first use, after a fork: locks are between open files."""
        if self._descriptor == -1:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor


def _pace(file: int, digest: bytes, step_ns: int, window_ns: int, now_ns: int) -> int:
    """A counter's number is the time at which all uses so far are forgotten, in whole nanoseconds:
    sums of floats would let one too many pass."""
    start = _find_bucket(digest)
    bucket = os.pread(file, BUCKET_BYTES, start).ljust(BUCKET_BYTES, b"\0")
    at = _find_slot(bucket, digest)
    kept: bytes
    forgotten_ns: int
    kept, _, forgotten_ns = SLOT.unpack_from(bucket, at)
    # Over, or the clock was set back.
    if kept != digest or not now_ns < forgotten_ns <= now_ns + window_ns:
        forgotten_ns = now_ns
    forgotten_ns += step_ns
    if (wait_ns := forgotten_ns - now_ns - window_ns) > 0:
        return wait_ns
    _write(file, start + at, SLOT.pack(digest, forgotten_ns / _NS, forgotten_ns))
    return 0


def _count(file: int, digest: bytes, window_s: float, now: float) -> tuple[int, float]:
    """The uses in this window, this one included, and when it ends."""
    start = _find_bucket(digest)
    bucket = os.pread(file, BUCKET_BYTES, start).ljust(BUCKET_BYTES, b"\0")
    at = _find_slot(bucket, digest)
    kept, ends_at, used = SLOT.unpack_from(bucket, at)
    # Over, or the clock was set back.
    if kept != digest or not now < ends_at <= now + window_s:
        ends_at, used = now + window_s, 0
    _write(file, start + at, SLOT.pack(digest, ends_at, used + 1))
    return used + 1, ends_at


def _write(file: int, at: int, slot: bytes) -> None:
    if os.pwrite(file, slot, at) != SLOT.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _find_bucket(digest: bytes) -> int:
    """Where this key's bucket begins."""
    return int.from_bytes(digest[:4], "big") % BUCKETS * BUCKET_BYTES


def _find_slot(bucket: bytes, digest: bytes) -> int:
    """The offset of this key's slot, else of the one whose window ends first; empty slots count as
    ended long ago."""
    first, first_ends = 0, float("inf")
    for at in range(0, BUCKET_BYTES, SLOT.size):
        kept, ends_at, _ = SLOT.unpack_from(bucket, at)
        if kept == digest:
            return at
        if ends_at < first_ends:
            first, first_ends = at, ends_at
    return first
