"""What to do if an upstream gave no answer: one table, and pure.

Knows what was sent and what was tried; must not know connections.
"""

from dataclasses import dataclass
from enum import Enum, auto

from doorward.upstream.failures import ConnectFailed, ConnectionLost, UpstreamFailure

# RFC 9110 9.2.2, without methods that are not in use: sent again if there was no answer.
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND"))


class Next(Enum):
    SAME_UPSTREAM_FRESH = auto()  # over a new connection
    OTHER_UPSTREAM = auto()
    GIVE_UP = auto()


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One attempt at an answer of which nothing has reached the client."""

    method: bytes
    has_body: bool  # it was forwarded as it arrived, and is not kept
    over_kept: bool  # the connection had been used before
    has_other: bool  # another upstream has not been tried yet
    was_stale: bool = False  # a kept connection was already closed once
    is_own: bool = False  # Doorward's own: its body is kept, and it means the same when repeated


def next_step(attempt: SentRequest, failure: UpstreamFailure) -> Next:
    """A kept connection that closes unanswered lost a race (RFC 9112 9.3.1): send once more to the
    same upstream. A fresh one that does has refused it."""
    if isinstance(failure, ConnectFailed):
        return Next.GIVE_UP  # a new connection has tried every address
    if not attempt.is_own and (attempt.has_body or attempt.method not in IDEMPOTENT):
        return Next.GIVE_UP
    if isinstance(failure, ConnectionLost) and attempt.over_kept and not attempt.was_stale:
        return Next.SAME_UPSTREAM_FRESH
    return Next.OTHER_UPSTREAM if attempt.has_other else Next.GIVE_UP
