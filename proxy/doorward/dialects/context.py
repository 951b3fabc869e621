"""The steps that all dialects share: checking origins, counting requests, rendering errors.

Knows HTTP, sessions and the errors of an API; must not know how any dialect renders an answer.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions.access_token import has_form
from doorward.accounts.sessions.sessions import FULL, Session
from doorward.accounts.sessions.tokens import is_token
from doorward.dialects.cors import CorsPolicy
from doorward.gate.cookies import Header
from doorward.settings import Settings
from doorward.settings.dialects import Dialect
from doorward.storage.rates import Count
from doorward.web import endpoint
from doorward.web.endpoint import Handler, NotAllowed
from doorward.web.session_service import SessionService

_log = structlog.get_logger("doorward.dialects")


class RequestFault(Exception):
    """Errors of a request before the core is called: a closed tree like the refusals."""

    code: ClassVar[str] = "fault"
    message: ClassVar[str] = "This request cannot be answered."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


class Malformed(RequestFault):
    """`fields`: the names of fields that are missing or have a wrong type, if known; `sentences`:
    what is wrong with each, in dialects with wording of their own."""

    code = "bad_request"
    message = "The body is not in the form that this endpoint expects."

    def __init__(
        self,
        message: str | None = None,
        fields: tuple[str, ...] = (),
        sentences: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.fields = fields
        self.sentences = sentences


class TooLarge(RequestFault):
    code = "body_too_large"
    message = "The body is larger than 64 KiB."


class ForeignOrigin(RequestFault):
    code = "foreign_origin"
    message = "A page of another site sent this request."


class MethodNotAllowed(RequestFault):
    code = "method_not_allowed"
    message = "This path does not support this method."


class Unauthenticated(RequestFault):
    """The request has no session that is valid for this endpoint. `reason`: missing, expired or
    wrong. Expired and wrong are only known for a token that the dialect itself looked up."""

    code = "unauthenticated"
    message = "Log in first."

    def __init__(self, reason: str = "missing") -> None:
        super().__init__()
        self.reason = reason


class RateLimited(RequestFault):
    """The request exceeds the rate limit."""

    code = "rate_limited"
    message = "Too many requests. Wait a while and try again."

    def __init__(self, count: Count, retry_after_s: float) -> None:
        super().__init__()
        self.count = count
        self.retry_after_s = retry_after_s


class Unavailable(RequestFault):
    """This login method is not configured here."""

    code = "unavailable"
    message = "This way to log in is not available here."


class Broken(RequestFault):
    """An unexpected error, which is in the log."""

    code = "internal_error"
    message = "Something went wrong on the server."


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A row of a dialect's table: the status and code of an error."""

    status: int
    code: str


ApiError = Refusal | RequestFault
RenderError = Callable[[ErrorAnswer, ApiError], Response]


@dataclass(frozen=True, slots=True)
class ErrorFormat:
    """A dialect's errors: a table with a row for every leaf of both trees, and the function that
    renders a row."""

    table: Mapping[type[ApiError], ErrorAnswer]
    render_row: RenderError
    shapes: tuple[type[BaseModel], ...]  # an error may have any of them

    def render(self, error: ApiError) -> Response:
        row = next((self.table[kind] for kind in type(error).__mro__ if kind in self.table), None)
        response = self.render_row(row or self.table[Broken], error)
        response.headers["cache-control"] = "no-store"
        return response


class Limiter(Protocol):
    """A dialect's rate limit, and the headers that report it."""

    async def count(self, request: Request, method: str) -> Count | None:
        """None if the request is not counted. `method` is always one of the endpoint's: otherwise
        every invented method would have its own count."""

    def lines(self, count: Count) -> list[Header]: ...


class Context:
    """The services that every dialect uses."""

    def __init__(self, settings: Settings, service: SessionService) -> None:
        self.settings = settings
        self.service = service
        self.clock = service.clock
        self.cors = CorsPolicy()

    def of(self, dialect: Dialect) -> "Context":
        """The same for one dialect, with the origins that may call it."""
        own = copy.copy(self)
        own.cors = CorsPolicy(dialect.cors.origins)
        return own

    async def session(self, request: Request) -> Session:
        """The live session of any level that this request carries. Raises Unauthenticated."""
        session = await self.service.session(request)
        if session is None:
            raise Unauthenticated
        return session

    async def full_session(self, request: Request) -> Session:
        """Raises Unauthenticated, also for a session whose second factor is due
        (CVE-2026-32246)."""
        session = await self.session(request)
        if session.level is not FULL:
            raise Unauthenticated
        return session

    def check_origin(self, request: Request) -> None:
        """Raises ForeignOrigin if another site's page uses its visitor's cookie.

        If every site may call, none may use a cookie."""
        if (
            is_by_header(request)
            or self.service.is_from_own_site(request)
            or self.cors.names(request)
        ):
            return
        if not self.cors.is_open(request) or "cookie" in request.headers:
            raise ForeignOrigin

    def endpoint(
        self,
        path: str,
        error_format: ErrorFormat,
        limiter: Limiter | None = None,
        **handlers: Handler,
    ) -> Route:
        """As `endpoint.endpoint`. Exceptions of handlers are rendered in this error format; the
        rate limit applies to every method."""

        def around(answer: Handler) -> Handler:
            if limiter is not None:
                answer = self._limit(answer, error_format, limiter, tuple(caught))
            return self.cors.around(answer, self.settings)

        caught = {method: self.catch(handler, error_format) for method, handler in handlers.items()}
        refuses = _refuses_methods(error_format)
        route = endpoint.endpoint(path, not_allowed=refuses, around=around, **caught)
        route.error_format = error_format
        return route

    def _limit(
        self, answer: Handler, error_format: ErrorFormat, limiter: Limiter, methods: tuple[str, ...]
    ) -> Handler:
        async def counted(request: Request) -> Response:
            if request.method == "OPTIONS":  # a preflight; the request after it is counted
                return await answer(request)
            try:
                count = await limiter.count(request, _get_counted_method(request.method, methods))
            except Refusal as refusal:
                return error_format.render(refusal)
            if count is None:
                return await answer(request)
            if count.is_exceeded:
                response = error_format.render(RateLimited(count, count.resets_at - self.clock()))
            else:
                response = await answer(request)
            names = {name for name, _ in response.raw_headers}  # by a stricter limit
            lines = (line for line in limiter.lines(count) if line[0] not in names)
            response.raw_headers.extend(lines)
            return response

        return counted

    def catch(self, handler: Handler, error_format: ErrorFormat) -> Handler:
        """The handler, with its exceptions rendered in this error format."""

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except (Refusal, RequestFault) as error:
                response = error_format.render(error)
            except endpoint.BodyCut:
                raise
            except Exception:
                _log.exception("endpoint_failed", path=request.url.path)
                response = error_format.render(Broken())
            response.raw_headers.extend(self.service.cookie.clearing_lines(request))
            return response

        return answered


def is_by_header(request: Request) -> bool:
    """Whether the session's token is in `Authorization`, which browsers never add by themselves."""
    line = request.headers.get("authorization", "").rstrip(" ")
    scheme, _, rest = line.partition(" ")
    value = (rest.lstrip(" ") if scheme.lower() == "bearer" else line).encode("latin-1")
    return is_token(value) or has_form(value)


def _get_counted_method(method: str, methods: tuple[str, ...]) -> str:
    """The endpoint's method under which a request is counted: its own, GET for HEAD, and the first
    one for a method that the endpoint does not have."""
    if method == "HEAD":
        method = "GET"
    named = method.lower()
    return named.upper() if named in methods else methods[0].upper()


def _refuses_methods(error_format: ErrorFormat) -> NotAllowed:
    def refuse(request: Request, allowed: tuple[str, ...]) -> Response:
        return error_format.render(MethodNotAllowed())

    return refuse
