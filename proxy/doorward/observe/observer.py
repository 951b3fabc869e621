"""The interface that is called after every exchange: the decision, the outcome, the duration.

Knows words and numbers; must not know its callers, or how the numbers are used.
"""

import time
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from doorward.accounts.sessions.sessions import Session

now_s = time.perf_counter  # the clock of `started`

SWITCHED = 101
# The status that nginx logs for a client that left before it got an answer.
CLIENT_GONE = 499
NO_ROUTE = -1
# Reasons why an answer was not complete, besides the codes of refusals.
ANSWER_CUT, LEFT, STOPPING = "answer_cut", "client_gone", "server_stopping"
# The reasons, by status, for turning away a connection or an invalid request.
TURNED_AWAY = {
    400: "bad_request",
    408: "request_timeout",
    414: "target_too_long",
    431: "head_too_large",
    503: "too_many_connections",
}


@dataclass(frozen=True, slots=True, eq=False)  # by identity: a third of the time of hashing
class Outcome:
    """The decision on a request: `forwarded`, `verified`, `refused` or `ours`. `reason` is one of
    Doorward's words for why it was refused, or not answered completely. There is one object for
    each."""

    word: str
    reason: str = ""


FORWARDED = Outcome("forwarded")
OURS = Outcome("ours")
VERIFIED = Outcome("verified")  # a front proxy was allowed to forward it


@cache
def refusal_outcome(code: str) -> Outcome:
    return Outcome("refused", code)


@cache
def failure_outcome(code: str) -> Outcome:
    """The outcome of an allowed request whose answer was not the upstream's, or incomplete."""
    return Outcome("forwarded", code)


class LoggedRequest(Protocol):
    """A request, for logs. `target` may contain secrets, which must not be logged."""

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
    """The known parts of a request that was not accepted."""

    address_text: str = ""
    method: bytes = b""
    target: bytes = b""
    authority: str = ""
    request_id: str = ""


class ExchangeRecord(Protocol):
    """The facts about an exchange that the access log needs. `sent_bytes` counts the answer's
    body."""

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
    """The record of an exchange that ended at once."""

    request: LoggedRequest
    session: Session | None = None
    sent_bytes: int = 0
    is_whole: bool = True


class Observer(Protocol):
    """Called at the end of each exchange, in the request's path: it must be quick."""

    writes: bool  # whether the data is used; otherwise it collects nothing

    def ended(
        self, outcome: Outcome, route: int, status: int, started: float, record: ExchangeRecord
    ) -> None:
        """`route` is a route's number or NO_ROUTE; `started` is of `now_s`."""
