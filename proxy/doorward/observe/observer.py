"""What hears of every exchange once it is over: what was decided, how it ended, how long it took.

Knows words and numbers; must not know who tells it, or what is made of them.
"""

import time
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from doorward.accounts.sessions.sessions import Session

now_s = time.perf_counter  # what `started` is read from

SWITCHED = 101
# The status that nginx notes for a client that left before it was answered.
CLIENT_GONE = 499
NO_ROUTE = -1
# Reasons why an answer was not complete, besides the codes of refusals.
ANSWER_CUT, LEFT, STOPPING = "answer_cut", "client_gone", "server_stopping"
# What is answered by status to what is no request, or stopped being one.
TURNED_AWAY = {
    400: "bad_request",
    408: "request_timeout",
    414: "target_too_long",
    431: "head_too_large",
    503: "too_many_connections",
}


@dataclass(frozen=True, slots=True, eq=False)  # by identity: a third of what hashing words takes
class Outcome:
    """What was decided on a request: `forwarded`, `verified`, `refused` or `ours`. `reason` is a
    word of ours for why it was refused, or why it was not answered in full. There is one object of
    each."""

    word: str
    reason: str = ""


FORWARDED = Outcome("forwarded")
OURS = Outcome("ours")
VERIFIED = Outcome("verified")  # a front proxy was told to let it through


@cache
def refusal_outcome(code: str) -> Outcome:
    return Outcome("refused", code)


@cache
def failure_outcome(code: str) -> Outcome:
    """It was let through, but the answer was not the upstream's, or not all of it."""
    return Outcome("forwarded", code)


class LoggedRequest(Protocol):
    """A request, as far as a log tells of it. `target` may hold what no log may."""

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def authority(self) -> str: ...
    @property
    def address_text(self) -> str: ...
    @property
    def request_id(self) -> str: ...


@dataclass(slots=True)
class UnreadRequest:
    """A request that nobody could accept: what is known of it."""

    address_text: str = ""
    method: bytes = b""
    target: bytes = b""
    authority: str = ""
    request_id: str = ""


class ExchangeRecord(Protocol):
    """What an access log asks of a carrier. `sent_bytes` is of the answer's body."""

    @property
    def request(self) -> LoggedRequest: ...
    @property
    def session(self) -> Session | None: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def is_whole(self) -> bool: ...


@dataclass(slots=True)
class BriefRecord:
    """Told of an exchange that is over at once."""

    request: LoggedRequest
    session: Session | None = None
    sent_bytes: int = 0
    is_whole: bool = True


class Observer(Protocol):
    """Called at the end of each exchange, in the request's path: it must be quick."""

    writes: bool  # whether anybody uses what it collects: otherwise it collects nothing

    def ended(
        self, outcome: Outcome, route: int, status: int, started: float, record: ExchangeRecord
    ) -> None:
        """`route` is a route's number or NO_ROUTE; `started` is of `now_s`."""
