"""Recent refusals, which users can ask about with the id on a page.

Knows how refusals are stored: one line per refusal in a file of limited size, of this host only. It
must not know what a refusal means. No query is stored, because it may contain tokens.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from doorward.observe.channel import Channel, Lines

NAME = "refusals.jsonl"
KEPT_S = 24 * 3600.0
# Two files of at most this size, about twenty thousand refusals; the older one is deleted first.
FILE_BYTES = 4 * 1024 * 1024
# Per process: a flood of refused requests must not push out everything else within a minute.
MOST_PER_SECOND = 50
TARGET_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class KeptRefusal:
    """A refused request, its user (empty: none), and the answer. `at` is in Unix seconds;
    `has_factor`: the session had a second factor."""

    request_id: str
    at: float
    method: str
    scheme: str
    host: str
    path: str
    address: str
    user: str
    has_factor: bool
    status: int
    code: str
    message: str


class Refusals:
    """Stores refusals for at most a day, as space permits."""

    def __init__(self, directory: Path) -> None:
        self.channel = Channel(_Ring(directory / NAME, FILE_BYTES))
        self._second, self._left = 0, 0

    def has_room(self, now: float) -> bool:
        """Whether one more can be stored in this second; checked before a record is built."""
        second = int(now)
        if second != self._second:
            self._second, self._left = second, MOST_PER_SECOND
        return self._left > 0

    def keep(self, refusal: KeptRefusal) -> None:
        self._left -= 1
        self.channel.put(json.dumps(asdict(refusal)) + "\n")


class _Ring:
    """Appends to a file, and keeps one older file. Other processes append to it too; each opens it
    again for every line."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes

    def __call__(self, lines: Lines, may_wait: bool) -> None:
        while lines:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.fstat(file).st_size > self._most_bytes:
                    os.replace(self._path, _older(self._path))
                    continue  # other processes still write to the older file
                os.write(file, lines[0])
                lines.popleft()
            except FileNotFoundError:
                continue  # another process was faster
            finally:
                os.close(file)


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def find_refusal(directory: Path, request_id: str, now: float) -> KeptRefusal | None:
    """The refusal of the last day with this id; None if there is none."""
    newest = directory / NAME
    for path in (newest, _older(newest)):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in reversed(lines):
            if request_id in line and (found := _read(line)) is not None:
                if found.request_id == request_id and now - found.at < KEPT_S:
                    return found
    return None


def _read(line: str) -> KeptRefusal | None:
    """Parse a line. None if it is incomplete, or was written by another version."""
    try:
        return KeptRefusal(**json.loads(line))
    except (ValueError, TypeError):
        return None
