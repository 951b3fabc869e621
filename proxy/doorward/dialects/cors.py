"""The CORS headers that let scripts of other sites call a dialect (Fetch, CORS protocol).

Adds headers; must not decide about sessions. Does nothing without origins in the settings.
"""

from starlette.requests import Request
from starlette.responses import Response

from doorward.gate.same_origin import Sender
from doorward.settings import Settings
from doorward.web.endpoint import Handler, get_sender

ANY = "*"
MAX_AGE_S = 600  # Chromium limits it to 7200, Firefox to 86400

# Headers that scripts can send and read in addition to those that are always allowed: every
# dialect's carriers, the second factor's headers, and those of rate limits.
REQUEST_HEADERS = (
    "Authorization, Content-Type, X-Requested-With, X-User-Id, X-Auth-Token, X-2fa-Code,"
    " X-2fa-Method"
)
EXPOSED_HEADERS = (
    "Retry-After, WWW-Authenticate, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
)


class CorsPolicy:
    """The rules of one dialect. `*` allows every site, but not with a cookie: credentials that
    browsers send by themselves are ignored then, and no cookie is set."""

    __slots__ = ("_origins",)

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self._origins = frozenset(origins)

    def names(self, request: Request) -> bool:
        """Whether the settings name the site whose script sent this."""
        return _origin(request) in self._origins

    def is_open(self, request: Request) -> bool:
        """Whether this comes from another site that the settings allow without naming it."""
        return ANY in self._origins and _origin(request) is not None

    def around(self, answer: Handler, settings: Settings) -> Handler:
        """The handler, with the CORS headers for the request's origin in its answers."""
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
    """A preflight request. It carries no session, and needs none."""
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


def _origin(request: Request) -> str | None:
    """The origin in the request, if there is one. `null` does not identify a site."""
    origins = request.headers.getlist("origin")
    return origins[0].lower() if len(origins) == 1 and origins[0] != "null" else None
