"""The CORS headers by which scripts of other sites may call a dialect (Fetch, CORS protocol).

It adds headers and decides about no session. Without origins in the settings it does nothing.
"""

from starlette.requests import Request
from starlette.responses import Response

from doorward.gate.same_origin import Sender
from doorward.settings import Settings
from doorward.web.endpoint import Handler, get_sender

ANY = "*"
MAX_AGE_S = 600  # browsers cut at 7200 (Chromium) and 86400 (Firefox)

# What scripts can send and read in addition to what is always allowed: every dialect's carriers,
# the second factor's headers, and what counting says.
REQUEST_HEADERS = (
    "Authorization, Content-Type, X-Requested-With, X-User-Id, X-Auth-Token, X-2fa-Code,"
    " X-2fa-Method"
)
EXPOSED_HEADERS = (
    "Retry-After, WWW-Authenticate, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
)


class CorsPolicy:
    """One dialect's. `*` lets everybody in, and nobody with a cookie: nothing that a browser sends
    by itself counts then, and no cookie is set."""

    __slots__ = ("_origins",)

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self._origins = frozenset(origins)

    def names(self, request: Request) -> bool:
        """Whether the settings name the one site whose script sent this."""
        return _origin(request) in self._origins

    def is_open(self, request: Request) -> bool:
        """Whether this comes from another site that the settings do not name, but let in."""
        return ANY in self._origins and _origin(request) is not None

    def around(self, answer: Handler, settings: Settings) -> Handler:
        """The handler, its answers with the headers that the request's origin is due."""
        if not self._origins:
            return answer
        own = settings.public_origin

        async def respond(request: Request) -> Response:
            response = await answer(request)
            response.headers.add_vary_header("Origin")
            if get_sender(request, own) is Sender.OTHER:
                self._tell(request, response)
            return response

        return respond

    def _tell(self, request: Request, response: Response) -> None:
        if self.names(request):
            response.headers["access-control-allow-origin"] = _origin(request) or ""
            response.headers["access-control-allow-credentials"] = "true"
        elif self.is_open(request):
            response.headers["access-control-allow-origin"] = ANY
            del response.headers["set-cookie"]
        else:
            return
        if is_preflight(request):
            response.headers["access-control-allow-methods"] = response.headers.get("allow", "")
            response.headers["access-control-allow-headers"] = REQUEST_HEADERS
            response.headers["access-control-max-age"] = str(MAX_AGE_S)
        else:
            response.headers["access-control-expose-headers"] = EXPOSED_HEADERS


def is_preflight(request: Request) -> bool:
    """A browser's question before the request: it carries no session and is asked for none."""
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


def _origin(request: Request) -> str | None:
    """The origin that the request names, if it names one. `null` is of no site."""
    origins = request.headers.getlist("origin")
    return origins[0].lower() if len(origins) == 1 and origins[0] != "null" else None
