"""How often somebody asked within a window of time: counters in a file that all workers map.

Knows keys and windows; what a key stands for, and what happens to whoever asked too often, it must
not know.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from doorward.accounts.refusals import StorageUnavailable

RATES_FILE = "doorward.rates"

# One counter: which key, when its window ends in Unix seconds, how often it was used.
SLOT = struct.Struct("=16sdQ")
# Half a million counters live at once in 16 MiB of a file with holes. Neighbours of a full bucket
# push out the window that ends first, so memory stays bounded whoever asks.
BUCKETS = 1 << 16
SLOTS_PER_BUCKET = 8
BUCKET_BYTES = SLOT.size * SLOTS_PER_BUCKET
FILE_BYTES = BUCKETS * BUCKET_BYTES


@dataclass(frozen=True, slots=True)
class Count:
    """What one more use made of a counter. `window_s`: the length of the whole window."""

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
    """The counters of this host: each count is one step that no other process comes between.

    A window begins with its first use. What is lost with the file is a few minutes of counting.
    """

    __slots__ = ("_descriptor", "_map", "_path")

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / RATES_FILE
        self._descriptor = -1
        self._map: mmap.mmap | None = None

    def count(self, key: str, limit: int, window_s: float, now: float) -> Count:
        """Counts one use of `key`; measured at 5 µs. Raises StorageUnavailable."""
        counters = self._opened()
        digest = blake2b(key.encode(), digest_size=16).digest()
        bucket = int.from_bytes(digest[:4], "big") % BUCKETS * BUCKET_BYTES
        # Held for microseconds; the system lets go when a process dies.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            at = _slot_of(counters, bucket, digest)
            kept, ends_at, used = SLOT.unpack_from(counters, at)
            if (
                kept != digest or not now < ends_at <= now + window_s
            ):  # over, or the clock went back
                ends_at, used = now + window_s, 0
            SLOT.pack_into(counters, at, digest, ends_at, used + 1)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return Count(limit, used + 1, ends_at, window_s)

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            os.close(self._descriptor)
            self._map = None

    def _opened(self) -> mmap.mmap:
        """Maps the file at the first use, after a fork: locks are between open files."""
        if self._map is None:
            try:
                self._open()
            except OSError as error:
                raise StorageUnavailable from error
        assert self._map is not None
        return self._map

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            # Only ever made longer: a map of what was cut off kills its readers (SIGBUS).
            if os.fstat(descriptor).st_size < FILE_BYTES:
                os.ftruncate(descriptor, FILE_BYTES)
            self._map = mmap.mmap(descriptor, FILE_BYTES)
        except BaseException:
            with suppress(OSError):
                os.close(descriptor)
            raise
        self._descriptor = descriptor


def _slot_of(counters: mmap.mmap, bucket: int, digest: bytes) -> int:
    """Where this key is counted: its slot, else the one whose window ends first; empty ones have
    ended long ago."""
    first, first_ends = bucket, float("inf")
    for at in range(bucket, bucket + BUCKET_BYTES, SLOT.size):
        kept, ends_at, _ = SLOT.unpack_from(counters, at)
        if kept == digest:
            return at
        if ends_at < first_ends:
            first, first_ends = at, ends_at
    return first
