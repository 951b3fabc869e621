"""Whether bytes came before: what comes once only is not worth being kept.

Knows hashes alone, and a few thousand of them.
"""

SEEN = 4096


class Seen:
    """Of the last few thousand; now and then it takes something for something else."""

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
