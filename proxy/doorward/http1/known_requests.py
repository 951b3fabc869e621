"""A cache of facts about request heads that were received before, byte for byte the same.

Everything that depends on the time, above all the session, is decided again for each request.
"""

from typing import Any

from doorward.bounds import make_room
from doorward.http1.heads import RequestHead
from doorward.http1.repeats import Repeats

# At most four KiB of head each, with the facts; usually a quarter of that.
LIMIT = 1024
HEAD_BYTES = 4096


class KnownRequest:
    """`facts` depend only on the head and on `link`, the connection that it came over; see
    `Gate.facts`."""

    __slots__ = ("facts", "head", "link")

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.link: tuple[str, str] | None = None
        self.facts: Any = None


class KnownRequests:
    """Known requests by their bytes. The settings that facts depend on do not change; `clear`
    removes everything."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownRequest] = {}
        self._repeats = Repeats()
        self.find = self._known.get

    def note(self, head: RequestHead) -> None:
        """Store a head that was received a second time."""
        text = head.text
        if len(text) <= HEAD_BYTES and self._repeats.before(text):
            make_room(self._known, LIMIT)
            self._known[text] = KnownRequest(head)

    def clear(self) -> None:
        self._known.clear()
