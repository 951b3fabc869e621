"""The heads of Doorward's own requests that log in at an application.

Knows what every such request says of the client; must not know forms.
"""

from doorward.gate.accept import Accepted
from doorward.rewrite.cookie_jar import CookieJar
from doorward.rewrite.forwarding import write_forwarding
from doorward.rewrite.route_rewriting import build_rewriting
from doorward.settings import Route


class LoginRequests:
    """Those of one route, sent as the route sends others."""

    def __init__(self, route: Route) -> None:
        self._rewriting = build_rewriting(route)

    def write(
        self, method: bytes, target: bytes, request: Accepted, lines: bytes, jar: CookieJar
    ) -> bytes:
        """A head with the cookies of `jar`, for the client of `request`. `target` is as clients ask
        for it. The client's browser is named, because applications bind sessions to it."""
        head = b"%b %b HTTP/1.1\r\n%bx-request-id: %b\r\naccept: text/html, */*;q=0.1\r\n" % (
            method,
            target,
            write_forwarding(request.hop),
            request.request_id.encode(),
        )
        if request.headers.user_agent is not None:
            head += b"user-agent: %b\r\n" % request.headers.user_agent
        head += lines + b"\r\n"
        if self._rewriting is not None:
            head = self._rewriting.head(head, request)
        return jar.write(head)
