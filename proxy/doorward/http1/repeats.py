"""Limits for caches by bytes: store from the second occurrence on, and up to a maximum.

Must not know what the bytes mean.
"""

from typing import Any

SEEN = 4096


def make_room(kept: dict[Any, Any], limit: int) -> None:
    """Remove the oldest entries, so that with one more there are at most `limit`."""
    while len(kept) >= limit:
        del kept[next(iter(kept))]


class Repeats:
    """Remembers the last few thousand byte strings, by hash, so it is sometimes wrong."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def before(self, text: bytes) -> bool:
        """Whether `text` occurred before. Records it."""
        number = hash(text)
        if number in self._hashes:
            return True
        if len(self._hashes) >= SEEN:
            self._hashes.clear()
        self._hashes.add(number)
        return False
