"""What follows when an upstream gave no answer: one table, and pure.

Knows what was sent and what was tried; must not know connections.
"""

from dataclasses import dataclass
from enum import Enum, auto

from doorward.upstream.failures import ConnectFailed, ConnectionLost, UpstreamFailure

# RFC 9110 9.2.2, less what nobody sends: sent once more when there was no answer.
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND"))


class Next(Enum):
    SAME_UPSTREAM_FRESH = auto()  # over a connection that is made for it
    OTHER_UPSTREAM = auto()
    GIVE_UP = auto()


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One try at an answer, of which nothing has reached the client."""

    method: bytes
    has_body: bool  # which was sent on as it came, and is not kept
    over_kept: bool  # the connection had carried an exchange before
    has_other: bool  # another upstream has not been tried yet
    was_stale: bool = False  # a kept connection was closed once already


def next_step(attempt: SentRequest, failure: UpstreamFailure) -> Next:
    """A kept connection that closes unanswered lost a race (RFC 9112 9.3.1): send once more to the
    same upstream. A fresh one that does has refused it."""
    if isinstance(failure, ConnectFailed):
        return Next.GIVE_UP  # a new connection has tried every address
    if attempt.has_body or attempt.method not in IDEMPOTENT:
        return Next.GIVE_UP
    if isinstance(failure, ConnectionLost) and attempt.over_kept and not attempt.was_stale:
        return Next.SAME_UPSTREAM_FRESH
    return Next.OTHER_UPSTREAM if attempt.has_other else Next.GIVE_UP
