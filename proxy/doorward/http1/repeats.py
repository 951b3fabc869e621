"""What may be kept of bytes that come again: not what came once only, and never more than so much.

Must not know what the bytes mean.
"""

from typing import Any

SEEN = 4096


def make_room(kept: dict[Any, Any], limit: int) -> None:
    """Let what was kept first go, so that one more makes `limit` at most."""
    while len(kept) >= limit:
        del kept[next(iter(kept))]


class Repeats:
    """Whether bytes came before, of the last few thousand; by their hashes, so that it now and then
    takes something for something else."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def before(self, text: bytes) -> bool:
        """Whether `text` came before. From now on it did."""
        number = hash(text)
        if number in self._hashes:
            return True
        if len(self._hashes) >= SEEN:
            self._hashes.clear()
        self._hashes.add(number)
        return False
