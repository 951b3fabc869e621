"""How much of bodies in chunks is parsed before other connections have their turn.

Knows what parsing costs; must not know who parses, or what the bodies are for. A sender may put a
single byte into each chunk, and libuv reads up to 32 times 256 KiB of one connection in a turn.
"""

from collections.abc import Callable

# Parsed before its cost is known: 4 ms if each chunk has a byte.
PARSED_BYTES = 32 * 1024
# Bytes that are not body, in one turn. A thousand small chunks have 5,000.
OVERHEAD_BYTES = 5000


class ParseBudget:
    """How much of bodies in chunks one connection may parse in one turn of the event loop."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = OVERHEAD_BYTES

    @property
    def is_spent(self) -> bool:
        return self._left <= 0

    def parse(self, data: bytes, parse: Callable[[bytes], int | None]) -> bytes:
        """Parse `data` in pieces until the budget is spent, and return what is left. `parse` gets
        each piece, and returns how many bytes of it are body, or None if the body has ended."""
        at = 0
        while at < len(data) and self._left > 0:
            piece = data[at : at + PARSED_BYTES]
            at += len(piece)
            body_bytes = parse(piece)
            if body_bytes is None:
                break
            self._left -= len(piece) - body_bytes
        return data[at:]
