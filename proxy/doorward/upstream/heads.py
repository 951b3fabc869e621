"""Heads of answers as llhttp read them. One that comes again, byte for byte, is not read again.

Must not know the connection that it came over, or the reader of the answer.
"""

from dataclasses import dataclass

from doorward.http1.repeats import Repeats, make_room
from doorward.http1.response_head import ResponseHead
from doorward.upstream.framing import Header

# Two MiB at most, with what was made of them.
REMEMBERED = 512
REMEMBERED_BYTES = 2048

BODILESS = frozenset((204, 304))  # RFC 9112 6.3
# A cookie is for one client; a coding does not go with a length.
_NEVER = frozenset((b"set-cookie", b"transfer-encoding"))
_NEVER_LENGTHS = frozenset(len(name) for name in _NEVER)


@dataclass(slots=True)
class Head:
    """What the head of a final answer says; `length`: of its body in bytes, -1 when it does not
    tell. `binds`, `kept_s`: see `terms_of`.
    `prepared` keeps what a carrier made of one that is remembered."""

    status: int
    headers: list[Header]
    length: int
    keep_alive: bool
    binds: bool = False
    kept_s: int | None = None
    is_remembered: bool = False
    prepared: dict[bool, ResponseHead] | None = None

    @property
    def has_end(self) -> bool:
        """Whether it says by itself where its answer ends."""
        return self.length >= 0 or self.status in BODILESS


_known: dict[bytes, Head] = {}
_seen = Repeats()


def known(data: bytes) -> tuple[Head, int] | None:
    """The head at the start of `data` and its size in bytes, when it came before."""
    end = data.find(b"\r\n\r\n") + 4
    head = _known.get(data[:end])
    return None if head is None else (head, end)


def remember(data: bytes, head: Head) -> None:
    """Keep `head`, which llhttp read out of the start of `data`, when that is the second time, and
    it is written in the one way that ends where `known` will look for its end."""
    text = data[: data.find(b"\r\n\r\n") + 4]
    if len(text) > REMEMBERED_BYTES or not head.has_end or head.binds or not _seen.before(text):
        return
    if not text.startswith(b"HTTP/1.1 %d" % head.status):
        return  # an answer before the answer, or an empty line
    if not text.count(b"\r\n") == text.count(b"\n") == len(head.headers) + 2:
        return
    for name, _ in head.headers:
        if len(name) in _NEVER_LENGTHS and name.lower() in _NEVER:
            return
    make_room(_known, REMEMBERED)
    head.is_remembered = True
    _known[text] = head
