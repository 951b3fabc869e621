"""Heads of final answers, from either reader.

Must not know the connection, or the reader of the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from doorward.http1.heads import AnswerHead
from doorward.upstream.framing import Header

BODILESS = frozenset((204, 304))  # RFC 9112 6.3

# Reads the plain head at the start of some bytes in one pass; None for any other, which llhttp
# parses.
ReadPlain = Callable[[bytes], AnswerHead | None]


class Head(Protocol):
    """The head of a final answer; `length`: of its body in bytes, -1 if unknown. `binds`: see
    `read_terms`. `headers` may be built at each call."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[Header]: ...
    @property
    def length(self) -> int: ...
    @property
    def binds(self) -> bool: ...


@dataclass(slots=True)
class ParsedHead:
    """A head that llhttp read."""

    status: int
    headers: list[Header]
    length: int
    binds: bool = False
    keep_alive: bool = False
    kept_s: int | None = None  # how long the upstream keeps the connection idle, if it says so
