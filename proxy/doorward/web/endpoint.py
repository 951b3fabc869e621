"""Internal endpoints: exact paths, methods, limited bodies.

Shared by pages and dialects; must not know what any of them does.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import SplitResult, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.audit.audit_log import Origin, act_as
from doorward.gate.accept import Client
from doorward.gate.authority import BadAuthority, parse_authority
from doorward.gate.same_origin import Sender, detect_sender

BODY_LIMIT_BYTES = 64 * 1024

Handler = Callable[[Request], Awaitable[Response]]
NotAllowed = Callable[[Request, tuple[str, ...]], Response]


class BodyTooLarge(Exception):
    """The body of one of Doorward's own endpoints is over its limit: 413."""


class BodyCut(Exception):
    """The client left, or was too slow, before the end of its body. The server has answered, or
    nobody reads an answer."""


def get_client(request: Request) -> Client:
    """The client, as `accept` determined it."""
    client: Client = request.state.client
    return client


def get_host(request: Request) -> str:
    """The requested host in lower case, without port and final dot."""
    try:
        return parse_authority(get_client(request).host.encode()).host
    except BadAuthority:
        return ""


def get_sender(request: Request, public_origin: str) -> Sender:
    """The sender of a request to an internal endpoint."""
    client = get_client(request)
    return detect_sender(request.headers.raw, client.scheme, client.host, public_origin)


def _origin(request: Request) -> Origin:
    """The origin of this for records; the one path that answers under any Host has no client."""
    client = getattr(request.state, "client", None)
    return Origin() if client is None else Origin("", client.address, client.request_id)


def plain_not_allowed(request: Request, allowed: tuple[str, ...]) -> Response:
    return PlainTextResponse("method not allowed\n", 405)


def unchanged(answer: Handler) -> Handler:
    return answer


class Endpoint(Route):
    """A route of Doorward's own; `answered` are the methods with handlers, `error_format` is that
    of its dialect, if it has one."""

    answered: tuple[str, ...] = ()
    error_format: object = None


def endpoint(
    path: str,
    *,
    not_allowed: NotAllowed = plain_not_allowed,
    around: Callable[[Handler], Handler] = unchanged,
    **handlers: Handler,
) -> Endpoint:
    """The route for `path`; keywords are lower-case methods. `around` wraps all handlers.

    HEAD answers where GET does, OPTIONS is 204, any other method goes to `not_allowed` and gets
    `Allow` (RFC 9110 15.5.6). The path is Doorward's for every method, so no request for it reaches
    an upstream.
    """
    table = {method.upper(): handler for method, handler in handlers.items()}
    if "GET" in table:
        table.setdefault("HEAD", table["GET"])
    allowed = (*table, "OPTIONS")

    async def answer(request: Request) -> Response:
        handler = table.get(request.method)
        if handler is not None:
            try:
                with act_as(_origin(request)):
                    return await handler(request)
            except BodyCut:
                return Response(status_code=408)
        options = request.method == "OPTIONS"
        response = Response(status_code=204) if options else not_allowed(request, allowed)
        response.headers["allow"] = ", ".join(allowed)
        return response

    route = Endpoint(path, around(answer))
    route.answered = tuple(table)
    route.methods = set()  # it takes every method; `answer` sorts them
    return route


_PREFIX = paths.PREFIX.encode()


def internal_paths(routes: Iterable[Route]) -> Callable[[bytes], bool]:
    """Tells raw paths of these routes from those of an application.

    Called for every proxied request, so it first looks in a set; only routes with parameters need a
    match of their pattern.
    """
    routes = tuple(routes)
    plain = frozenset(route.path.encode() for route in routes if not route.param_convertors)
    patterns = tuple(
        re.compile(route.path_regex.pattern.encode())
        for route in routes
        if route.param_convertors and not route.path.encode().startswith(_PREFIX)
    )

    def is_internal(path: bytes) -> bool:
        if path in plain or path.startswith(_PREFIX):
            return True
        return bool(patterns) and any(pattern.match(path) for pattern in patterns)

    return is_internal


def shadowed_paths(routes: Iterable[Route], prefixes: Iterable[str]) -> list[str]:
    """The paths of these routes that an upstream would otherwise get; `prefixes` are the paths of
    upstreams."""
    slashed = tuple({prefix.rstrip("/") + "/" for prefix in prefixes})
    return sorted(route.path for route in routes if (route.path + "/").startswith(slashed))


async def body(request: Request, limit: int = BODY_LIMIT_BYTES) -> bytes:
    """The whole body. Raises BodyTooLarge before more than `limit` bytes are kept, and BodyCut,
    which only `endpoint` catches."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise BodyTooLarge
    kept = bytearray()
    try:
        async for chunk in request.stream():
            kept += chunk
            if len(kept) > limit:
                raise BodyTooLarge
    except ClientDisconnect:
        raise BodyCut from None
    return bytes(kept)


def media_type(request: Request) -> str:
    """The media type of the body, without parameters, in lower case; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def referer(request: Request) -> SplitResult:
    """The page that led here, according to the browser; empty if it is not a URL."""
    try:
        return urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return urlsplit("")
