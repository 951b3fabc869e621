"""Combines the numbers of several processes: each keeps its own in a file that all can read.

Knows files and numbers; must not know what is counted. Totals and current values are added up; of
peaks, the largest is taken. The current values of a process that died are gone, but its totals are
kept, so that no total ever falls.
"""

import contextlib
import fcntl
import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from doorward.observe.counters import Values, largest_values, sum_values
from doorward.settings.file_lock import lock_file

FOLDER = "metrics"
SUFFIX = ".numbers"
LOCK = "lock"  # exclusive for the process that removes files, shared for readers
# How long the event loop waits for it. It is held for milliseconds.
LOCK_WAIT_S = 0.1

# The layout of a file: when its process last updated it, then two slots that are written in turn.
# If a process is killed while it writes one, the other is complete.
_LOOKED = struct.Struct("<d")
_SLOT = struct.Struct("<QII")  # turn, bytes, CRC-32
SLOT_BYTES = 8 * 1024 * 1024  # the file is sparse; enough for a hundred thousand values
STARTS = (4096, 4096 + SLOT_BYTES)


def clear_counters(data_dir: Path) -> Path:
    """Remove the files of earlier processes before new processes start. Raises OSError."""
    folder = data_dir / FOLDER
    for made in (data_dir, folder):  # `parents` would not restrict them to this user
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.glob(f"*{SUFFIX}"):
        path.unlink(missing_ok=True)
    return folder


@dataclass(slots=True)
class Numbers:
    """The numbers of one process, or of all. `peaks` are the largest values of any process;
    `processes` is the number of running ones."""

    totals: Values = field(default_factory=dict)
    moment: Values = field(default_factory=dict)
    peaks: Values = field(default_factory=dict)
    processes: int = 0


class Shared:
    """The file of this process among the others in `folder`. Methods raise OSError, also if another
    process keeps the folder locked."""

    def __init__(self, folder: Path, wait_s: float = LOCK_WAIT_S) -> None:
        self._folder = folder
        self._path = folder / f"{os.getpid()}-{time.monotonic_ns()}{SUFFIX}"
        self._turn = 0
        self._written = b""
        with _lock(folder, wait_s):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
            # released when the process ends, however it ends
            lock_file(self._file, wait_s)
            self._bury()

    def close(self) -> None:
        os.close(self._file)

    def write(self, totals: Values, moment: Values, peaks: Values) -> None:
        """Write these numbers; unchanged ones cost only a comparison."""
        whole = sum_values((self._inherited, totals))
        said = json.dumps([_encode_values(part) for part in (whole, moment, peaks)]).encode()
        if said != self._written and len(said) + _SLOT.size <= SLOT_BYTES:
            self._turn += 1
            head = _SLOT.pack(self._turn, len(said), zlib.crc32(said))
            os.pwrite(self._file, head + said, STARTS[self._turn % 2])
            self._written = said
        os.pwrite(self._file, _LOOKED.pack(time.monotonic()), 0)

    def all_looked_since(self, at: float) -> bool:
        """Whether all processes have written everything counted before this time
        (`time.monotonic`)."""
        with _lock(self._folder, shared=True):
            return all(_read_look(path) >= at for path in self._paths() if self._runs(path))

    def read(self) -> Numbers:
        """The combined numbers of all processes."""
        with _lock(self._folder, shared=True):
            found = [(_read(path), self._runs(path)) for path in self._paths()]
        return Numbers(
            sum_values(totals for (totals, _, _), _ in found),
            sum_values(moment for (_, moment, _), runs in found if runs),
            largest_values(peaks for (_, _, peaks), runs in found if runs),
            sum(runs for _, runs in found),
        )

    def _bury(self) -> None:
        """Take over the totals of dead processes, and remove their files."""
        dead = [path for path in self._paths() if not self._runs(path)]
        self._inherited = sum_values(_read(path)[0] for path in dead)
        self.write({}, {}, {})
        for path in dead:
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SUFFIX}"))

    def _runs(self, path: Path) -> bool:
        """Whether the process of a file is alive: it holds a lock on the file."""
        if path == self._path:
            return True
        with _open_file(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False


@contextlib.contextmanager
def _open_file(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _lock(folder: Path, wait_s: float = LOCK_WAIT_S, *, shared: bool = False) -> Iterator[None]:
    with _open_file(folder / LOCK, os.O_RDWR | os.O_CREAT) as file:
        lock_file(file, wait_s, shared=shared)
        yield


def _read_look(path: Path) -> float:
    with _open_file(path) as file:
        raw = os.pread(file, _LOOKED.size, 0)
    return float(_LOOKED.unpack(raw)[0]) if len(raw) == _LOOKED.size else 0.0


def _read(path: Path) -> tuple[Values, Values, Values]:
    """Totals, current values and peaks of the newest complete slot of a file; nothing if there is
    none."""
    with _open_file(path) as file:
        turn, said = max(_read_slot(file, start) for start in STARTS)
    totals, moment, peaks = json.loads(said) if turn else ([], [], [])
    return _decode_values(totals), _decode_values(moment), _decode_values(peaks)


def _read_slot(file: int, start: int) -> tuple[int, bytes]:
    head = os.pread(file, _SLOT.size, start)
    if len(head) < _SLOT.size:
        return 0, b""
    turn, size, check = _SLOT.unpack(head)
    said = os.pread(file, size, start + _SLOT.size)
    return (turn, said) if len(said) == size and zlib.crc32(said) == check else (0, b"")


def _encode_values(values: Values) -> list[tuple[list[str | int], float]]:
    return [([*key], value) for key, value in values.items()]


def _decode_values(pairs: list[tuple[list[str | int], float]]) -> Values:
    return {tuple(key): value for key, value in pairs}
