"""What can go wrong between Doorward and an upstream, and the status for each.

Must not know how the answer is rendered.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """What is sent instead, as in the file."""

    body: bytes
    media_type: str


class UpstreamFailure(Exception):
    """An exchange that got no answer; `status` is the answer's (RFC 9110 15.6)."""

    status = 502
    code = "bad_gateway"
    word = "failed"  # its word in metrics
    message = "The application behind this address cannot be reached."
    retry_after_s: int | None = None
    page: Page | None = None


class ConnectFailed(UpstreamFailure):
    """Refused, unreachable or unknown: nothing was sent."""

    word = "connect"


class ConnectTimeout(ConnectFailed):
    """No connection within `timeouts.connect`."""

    word = "connect_timeout"
    status = 504
    code = "gateway_timeout"
    message = "The application behind this address did not answer in time."


class NoneUsable(ConnectFailed):
    """Every upstream is known to be unhealthy, so none was tried."""

    word = "none_usable"
    status = 503
    code = "unavailable"
    message = "The application behind this address is not available at the moment."
    retry_after_s = 10


class UpstreamOverloaded(UpstreamFailure):
    """The maximum number of requests is open, and the queue is full; or the wait was too long."""

    word = "overloaded"
    status = 503
    code = "overloaded"
    message = "The application behind this address has too much to do at the moment."
    retry_after_s = 5


class ConnectionLost(UpstreamFailure):
    """The upstream closed before its answer was complete."""

    word = "lost"
    message = "The application behind this address closed the connection without an answer."


class InvalidAnswer(UpstreamFailure):
    """Bytes that are not an HTTP/1 answer, or an answer without a request."""

    word = "invalid"
    message = "The application behind this address sent an answer that is not valid."


class ResponseTimeout(UpstreamFailure):
    """No answer head within `timeouts.response`, or nothing for `timeouts.idle` after it."""

    word = "timeout"
    status = 504
    code = "gateway_timeout"
    message = "The application behind this address did not answer in time."
