"""Requests that came before, byte for byte, with what was made of them: the one memo of the way.

Everything that depends on the moment, the session above all, is decided again each time.
"""

from typing import Any

from doorward.http1.heads import RequestHead
from doorward.http1.repeats import Repeats, make_room

# Four KiB of head each at most, and what was made of it; as a rule a quarter of that.
LIMIT = 1024
HEAD_BYTES = 4096


class KnownRequest:
    """`facts` follow from the head alone for a request that came over `link`; see `Gate.facts`."""

    __slots__ = ("facts", "head", "link")

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.link: tuple[str, str] | None = None
        self.facts: Any = None


class KnownRequests:
    """By their bytes. The settings that facts follow from do not change; `clear` forgets all."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownRequest] = {}
        self._repeats = Repeats()
        self.find = self._known.get

    def note(self, head: RequestHead) -> None:
        """Keep a head that came a second time."""
        text = head.text
        if len(text) <= HEAD_BYTES and self._repeats.before(text):
            make_room(self._known, LIMIT)
            self._known[text] = KnownRequest(head)

    def clear(self) -> None:
        self._known.clear()
