"""Heads of final answers, whichever way they were read.

Must not know the connection that they came over, or the reader of the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from doorward.http1.heads import AnswerHead
from doorward.upstream.framing import Header

BODILESS = frozenset((204, 304))  # RFC 9112 6.3

# Reads the plain head at the start of some bytes in one pass; None for any that llhttp is to read.
ReadPlain = Callable[[bytes], AnswerHead | None]


@dataclass(slots=True)
class Head:
    """What the head of a final answer says; `length`: of its body in bytes, -1 when it does not
    tell. `binds`, `kept_s`: see `terms_of`. `plain` is what the head reader made of it, if it did.
    """

    status: int
    headers: list[Header]
    length: int
    keep_alive: bool
    binds: bool = False
    kept_s: int | None = None
    plain: AnswerHead | None = None
