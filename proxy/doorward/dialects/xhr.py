"""The `xhr` dialect: a cookie session for scripts, with the paths and shapes of its document.

    POST        /xhr/login                  {"username", "password"} → 200 {"session": {…}}
    POST        /xhr/totp                   {"token"} after a login that said totp: true → 204
    POST        /xhr/login/ldap             the same, over LDAP: 401 until there is a directory
    GET         /xhr/session                200 {"user": {"username", "superAdmin"}, "session": {…}}
    GET, POST   /xhr/logout                 204, and the session is over; HEAD changes nothing
    GET         /xhr/session/totp/generate  200 {"secret"}; HEAD changes nothing
    POST        /xhr/session/totp           {"secret", "token"} → 204
    DELETE      /xhr/session/totp           {"token"} → 204

Knows these shapes; must not know who may log in, or which sessions exist. A session is `{"maxAge",
"totp"}`, the former in milliseconds. Errors, which the document leaves open, are `{"error":
"<code>", "message": "<sentence>"}`.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from doorward.accounts import refusals
from doorward.accounts.factors.records import TOTP
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.logins import LoginRequest
from doorward.accounts.sessions.sessions import FULL, PENDING, NewSession, Opened, Session
from doorward.accounts.user import DATABASE
from doorward.dialects import context as contexts
from doorward.dialects.context import (
    ApiError,
    Context,
    ErrorAnswer,
    ErrorFormat,
    is_by_header,
)
from doorward.dialects.fields import get_text, read_json
from doorward.dialects.shapes import Shape
from doorward.dialects.xhr_shapes import (
    XhrError,
    XhrLife,
    XhrLogin,
    XhrSecret,
    XhrSession,
    XhrUser,
)
from doorward.settings.dialects import DialectXhr
from doorward.web.refusal_headers import refusal_headers
from doorward.web.session_service import lifetimes

# Where it looks for a token: only in the cookie and `Authorization: Bearer`, like all dialects.

# Refusal → status and code. A ban is answered like a wrong password.
ERROR_TABLE: dict[type[ApiError], ErrorAnswer] = {
    refusals.InvalidCredentials: ErrorAnswer(401, "invalid_credentials"),
    refusals.UserBanned: ErrorAnswer(401, "invalid_credentials"),
    refusals.LockedOut: ErrorAnswer(429, "locked_out"),
    refusals.PasswordChangeRequired: ErrorAnswer(401, "password_change_required"),
    refusals.PasswordChangeNotNeeded: ErrorAnswer(400, "password_change_not_needed"),
    refusals.SessionNotFound: ErrorAnswer(401, "unauthenticated"),
    refusals.UserNotFound: ErrorAnswer(401, "unauthenticated"),
    refusals.ReadOnlyUser: ErrorAnswer(401, "read_only_user"),
    refusals.NameTaken: ErrorAnswer(400, "name_taken"),
    refusals.InvalidName: ErrorAnswer(400, "invalid_name"),
    refusals.InvalidEmail: ErrorAnswer(400, "invalid_email"),
    refusals.InvalidGroup: ErrorAnswer(400, "invalid_group"),
    refusals.WeakPassword: ErrorAnswer(400, "weak_password"),
    refusals.InvalidHash: ErrorAnswer(400, "invalid_hash"),
    refusals.NotPermitted: ErrorAnswer(401, "not_permitted"),
    refusals.SecondFactorRequired: ErrorAnswer(401, "totp_required"),
    refusals.ProofRequired: ErrorAnswer(401, "proof_required"),
    refusals.SecondFactorInvalid: ErrorAnswer(401, "totp_invalid"),
    refusals.TooManyCodes: ErrorAnswer(429, "totp_max_attempts"),
    refusals.TotpAlreadyOn: ErrorAnswer(401, "totp_already_on"),
    refusals.TotpNotOn: ErrorAnswer(401, "totp_not_on"),
    refusals.TokenNotFound: ErrorAnswer(404, "token_not_found"),
    refusals.InvalidToken: ErrorAnswer(400, "invalid_token"),
    refusals.CredentialNotFound: ErrorAnswer(404, "credential_not_found"),
    refusals.InvalidCredential: ErrorAnswer(400, "invalid_credential"),
    refusals.InvalidTotpSecret: ErrorAnswer(400, "invalid_totp_secret"),
    refusals.EnrolmentExpired: ErrorAnswer(401, "enrolment_expired"),
    refusals.MailFailed: ErrorAnswer(503, "mail_failed"),
    refusals.Overloaded: ErrorAnswer(503, "overloaded"),
    refusals.StorageUnavailable: ErrorAnswer(503, "storage_unavailable"),
    contexts.Malformed: ErrorAnswer(400, "bad_request"),
    contexts.TooLarge: ErrorAnswer(413, "body_too_large"),
    contexts.ForeignOrigin: ErrorAnswer(403, "foreign_origin"),
    contexts.MethodNotAllowed: ErrorAnswer(405, "method_not_allowed"),
    contexts.RateLimited: ErrorAnswer(429, "rate_limited"),
    contexts.Unauthenticated: ErrorAnswer(401, "unauthenticated"),
    contexts.Unavailable: ErrorAnswer(401, "unavailable"),
    contexts.Broken: ErrorAnswer(500, "internal_error"),
}

_DATABASE_ONLY = "An authenticator app can be added to users of the database only."
_SENTENCES = {
    "invalid_credentials": refusals.InvalidCredentials.message,
    "unauthenticated": "Log in first.",
}


def render_error(answer: ErrorAnswer, error: ApiError) -> Response:
    sentence = _SENTENCES.get(answer.code, str(error))
    content = XhrError(error=answer.code, message=sentence).content()
    response = JSONResponse(content, answer.status)
    response.raw_headers.extend(refusal_headers(answer.status, refusals.retry_after(error)))
    return response


ERROR_FORMAT = ErrorFormat(ERROR_TABLE, render_error, (XhrError,))


def render_session(session: Session, now: float, *, totp: bool) -> XhrLife:
    """`maxAge`: milliseconds until the session expires, or would expire if it were not used after
    this request."""
    end = session.expires_at if session.level is FULL else session.ends_at()
    if session.idle_timeout_s is not None:
        end = min(end, now + session.idle_timeout_s)
    return XhrLife(maxAge=max(0, int((end - now) * 1000)), totp=totp)


def render(shape: Shape | None) -> Response:
    content = None if shape is None else shape.content()
    return JSONResponse(content, headers={"cache-control": "no-store"})


def respond_empty() -> Response:
    return Response(status_code=204, headers={"cache-control": "no-store"})


LOGIN = "/xhr/login"


@dataclass(frozen=True, slots=True)
class Xhr:
    context: Context
    settings: DialectXhr
    factors: SecondFactors

    async def login(self, request: Request) -> Response:
        name, password = await self._read_credentials(request)
        session = NewSession("xhr", lifetimes(self.context.settings))
        opened = await self.context.service.open(
            request, LoginRequest(name, password, session, pending=True)
        )
        now, due = self.context.clock(), opened.session.level is PENDING
        if due:  # mails a code if that is the factor
            await self.factors.prepare(opened.session.user, None, now=now)
        response = render(XhrLogin(session=render_session(opened.session, now, totp=due)))
        self._set_cookie(request, response, opened)
        return response

    def _set_cookie(self, request: Request, response: Response, opened: Opened) -> None:
        if self.settings.cookie:
            self.context.service.cookie.set(response, request, opened, LOGIN)

    async def totp(self, request: Request) -> Response:
        """The second step of a login: a code from the app or a mail, or a recovery code."""
        self.context.check_origin(request)
        token = get_text(await read_json(request), "token")
        session = await self.context.session(request)
        if session.level is not PENDING:
            raise refusals.SessionNotFound
        opened = await self.context.service.complete(request, session, token, None)
        response = respond_empty()
        self._set_cookie(request, response, opened)
        return response

    async def login_ldap(self, request: Request) -> Response:
        await self._read_credentials(request)
        raise contexts.Unavailable

    async def _read_credentials(self, request: Request) -> tuple[str, str]:
        # CVE-2017-1000069: another site must not log a visitor in
        self.context.check_origin(request)
        fields = await read_json(request)
        return get_text(fields, "username"), get_text(fields, "password")

    async def session(self, request: Request) -> Response:
        session = await self.context.full_session(request)
        user = XhrUser(username=session.user.username, superAdmin=session.user.super_admin)
        factors = await self.factors.list_enabled(session.user)
        inner = render_session(session, self.context.clock(), totp=TOTP in factors)
        return render(XhrSession(user=user, session=inner))

    async def logout(self, request: Request) -> Response:
        """Also ends a session whose second factor is due."""
        self.context.check_origin(request)
        session = await self.context.session(request)
        await self.context.service.end(session)
        return await self.context.service.complete_logout(
            request, respond_empty(), session, expire=not is_by_header(request)
        )

    async def peek_logout(self, request: Request) -> Response:
        """HEAD is safe: it answers like GET, but ends nothing (RFC 9110 9.2.1)."""
        await self.context.session(request)
        return respond_empty()

    async def _require_change(self, request: Request) -> Session:
        """The session whose user's factors are to be changed. Raises ForeignOrigin,
        Unauthenticated."""
        self.context.check_origin(request)
        return await self.context.full_session(request)

    async def generate(self, request: Request) -> Response:
        """A new secret for the session. Whether it may be added is decided when it is confirmed."""
        session, now = await self._require_change(request), self.context.clock()
        enrolment = await self.factors.begin_totp(session, now, even_if_on=True)
        return render(XhrSecret(secret=enrolment.secret))

    async def peek_generate(self, request: Request) -> Response:
        await self.context.full_session(request)
        return render(None)

    async def add(self, request: Request) -> Response:
        """The secret has to be the last one generated in this session."""
        session = await self._require_change(request)
        fields = await read_json(request)
        secret, token = get_text(fields, "secret"), get_text(fields, "token")
        if session.user.source != DATABASE:  # the document requires this
            raise refusals.NotPermitted(_DATABASE_ONLY)
        now = self.context.clock()
        # A program that sends a token cannot get another one here.
        renew = not is_by_header(request)
        confirmed = await self.factors.confirm_totp(session, secret, token, now, renew=renew)
        return self._respond(request, confirmed.opened)

    def _respond(self, request: Request, opened: Opened | None) -> Response:
        """204, with the cookie of the session's new token if it got one."""
        response = respond_empty()
        if opened is not None:
            self.context.service.cookie.set(response, request, opened)
        return response

    async def delete(self, request: Request) -> Response:
        """Requires a code of the app or a recovery code. One client sends DELETE without a body,
        which is refused."""
        session = await self._require_change(request)
        token = get_text(await read_json(request), "token")
        now = self.context.clock()
        opened = await self.factors.remove_totp(
            session, token, now, renew=not is_by_header(request)
        )
        return self._respond(request, opened)


def routes(context: Context, settings: DialectXhr, factors: SecondFactors) -> list[Route]:
    xhr = Xhr(context, settings, factors)
    return [
        context.endpoint(LOGIN, ERROR_FORMAT, post=xhr.login),
        context.endpoint("/xhr/totp", ERROR_FORMAT, post=xhr.totp),
        context.endpoint("/xhr/login/ldap", ERROR_FORMAT, post=xhr.login_ldap),
        context.endpoint("/xhr/session", ERROR_FORMAT, get=xhr.session),
        context.endpoint(
            "/xhr/logout", ERROR_FORMAT, get=xhr.logout, head=xhr.peek_logout, post=xhr.logout
        ),
        context.endpoint(
            "/xhr/session/totp/generate", ERROR_FORMAT, get=xhr.generate, head=xhr.peek_generate
        ),
        context.endpoint("/xhr/session/totp", ERROR_FORMAT, post=xhr.add, delete=xhr.delete),
    ]
