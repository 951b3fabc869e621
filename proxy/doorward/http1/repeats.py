"""For caches by bytes that store from the second occurrence on.

Must not know what the bytes mean.
"""

SEEN = 4096


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
