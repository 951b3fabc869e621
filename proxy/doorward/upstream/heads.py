"""Heads of final answers, from either reader.

Must not know the connection, or the reader of the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from doorward.http1.heads import AnswerHead
from doorward.upstream.framing import Header

BODILESS = frozenset((204, 304))  # RFC 9112 6.3

# Reads the plain head at the start of some bytes in one pass; None for any other, which llhttp
# parses.
ReadPlain = Callable[[bytes], AnswerHead | None]


@dataclass(slots=True)
class Head:
    """The head of a final answer; `length`: of its body in bytes, -1 if unknown. `binds`, `kept_s`:
    see `terms_of`. `plain` is the result of the head reader, if it read the head."""

    status: int
    headers: list[Header]
    length: int
    keep_alive: bool
    binds: bool = False
    kept_s: int | None = None
    plain: AnswerHead | None = None
