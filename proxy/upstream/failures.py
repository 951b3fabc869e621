"""What can go wrong between Doorward and an upstream, and which status says so.

Must not know how the answer is drawn.
"""


class UpstreamFailure(Exception):
    """An exchange that got no answer; `status` is what the client is told (RFC 9110 15.6)."""

    status = 502
    code = "bad_gateway"


class ConnectFailed(UpstreamFailure):
    """Refused, unreachable or unknown: nothing was sent."""


class ConnectTimeout(ConnectFailed):
    """No connection within `timeouts.connect`."""

    status = 504
    code = "gateway_timeout"


class ConnectionLost(UpstreamFailure):
    """The upstream closed before its answer was whole."""


class InvalidAnswer(UpstreamFailure):
    """Bytes that are not an HTTP/1 answer, or one that nobody asked for."""


class ResponseTimeout(UpstreamFailure):
    """No answer head within `timeouts.response`, or silence for `timeouts.idle` after it."""

    status = 504
    code = "gateway_timeout"
