"""Long work in pieces, so that other connections are served in between.

Knows the order of the pieces; must not know the work.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Calls one waiting function per turn of the event loop, first come, first served: a turn takes
    as long as one piece, however many connections have work."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` in a later turn."""
        self._waiting.append(go_on)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._take_next)

    def _take_next(self) -> None:
        go_on = self._waiting[0]
        try:
            go_on()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._take_next)
