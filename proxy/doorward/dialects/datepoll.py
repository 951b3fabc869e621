"""The `datepoll` dialect: an access token in the query, valid for an hour, and a refresh secret.

    POST    /api/auth/signin                     → 200 {"token"[, "session_token"]}
    POST    /api/auth/IamLoggedIn                → 202 {"msg", "token"}: the refresh
    POST    /api/auth/changePasswordAfterSignin  → 200 as signin
    GET     /api/v1/user/myself/session          → 200 {"msg", "sessions": […]}
    DELETE  /api/v1/user/myself/session/{id}     → 200 {"msg"}
    POST    /api/v1/user/myself/session/logoutCurrentSession  {"session_token"} → 200 {"msg"}

Knows these shapes; must not know who may log in, or which sessions exist. Errors are `{"msg",
"error_code"}`; those about fields are a map from field to sentences (422).
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from doorward.accounts import refusals
from doorward.accounts.logins import LoginRequest
from doorward.accounts.passwords.hashing import LEAST_CHARACTERS
from doorward.accounts.sessions.access import AccessSecrets
from doorward.accounts.sessions.sessions import (
    LISTED,
    Lifetimes,
    NewSession,
    Session,
    Sessions,
)
from doorward.accounts.sessions.tokens import is_token
from doorward.dialects import context as contexts
from doorward.dialects.context import ApiError, Context, ErrorAnswer, ErrorFormat
from doorward.dialects.datepoll_shapes import (
    DatepollDone,
    DatepollError,
    DatepollFields,
    DatepollLink,
    DatepollRefreshed,
    DatepollSession,
    DatepollSessions,
    DatepollToken,
)
from doorward.dialects.fields import read_fields
from doorward.dialects.validation import Validation
from doorward.gate.access_tokens import PARAMETER, AccessCarrier
from doorward.settings.dialects import DialectDatepoll
from doorward.text import CHARACTERS
from doorward.web.refusal_headers import refusal_headers
from doorward.web.session_service import dialect_lifetimes

SESSIONS = "/api/v1/user/myself/session"
_ID = re.compile(r"[1-9][0-9]{0,17}")


# Where it looks for a token: the last `token` in the query, then the one in the body, as the
# original does; an empty one and `0` are ignored. Then the places that all dialects use: Bearer,
# then the cookie.
def get_token(request: Request, body: Mapping[str, object]) -> str | None:
    given = request.query_params.getlist(PARAMETER)
    for token in (given[-1] if given else None, body.get(PARAMETER)):
        if isinstance(token, str) and token not in ("", "0"):
            return token
    return None


# Refusal → status and code. A ban and a lock-out are answered like a wrong password.
_WRONG = ErrorAnswer(400, "username_or_password_incorrect")
ERROR_TABLE: dict[type[ApiError], ErrorAnswer] = {
    refusals.InvalidCredentials: _WRONG,
    refusals.UserBanned: _WRONG,
    refusals.LockedOut: _WRONG,
    refusals.PasswordChangeRequired: ErrorAnswer(400, "change_password"),
    refusals.PasswordChangeNotNeeded: ErrorAnswer(400, "no_password_change_needed_for_user"),
    refusals.WeakPassword: ErrorAnswer(422, "weak_password"),
    refusals.SecondFactorRequired: ErrorAnswer(400, "totp_required"),
    refusals.ProofRequired: ErrorAnswer(400, "proof_required"),
    refusals.SecondFactorInvalid: ErrorAnswer(400, "totp_invalid"),
    refusals.TooManyCodes: ErrorAnswer(400, "totp_max_attempts"),
    refusals.SessionNotFound: ErrorAnswer(404, "session_token_not_found"),
    refusals.UserNotFound: _WRONG,
    refusals.NotPermitted: ErrorAnswer(403, "not_permitted"),
    refusals.ReadOnlyUser: ErrorAnswer(400, "read_only_user"),
    refusals.NameTaken: ErrorAnswer(400, "name_taken"),
    refusals.InvalidName: ErrorAnswer(400, "invalid_name"),
    refusals.InvalidEmail: ErrorAnswer(400, "invalid_email"),
    refusals.InvalidGroup: ErrorAnswer(400, "invalid_group"),
    refusals.InvalidHash: ErrorAnswer(400, "invalid_hash"),
    refusals.TotpAlreadyOn: ErrorAnswer(400, "totp_already_on"),
    refusals.TotpNotOn: ErrorAnswer(400, "totp_not_on"),
    refusals.TokenNotFound: ErrorAnswer(404, "token_not_found"),
    refusals.InvalidToken: ErrorAnswer(400, "invalid_token"),
    refusals.CredentialNotFound: ErrorAnswer(404, "credential_not_found"),
    refusals.InvalidCredential: ErrorAnswer(400, "invalid_credential"),
    refusals.InvalidTotpSecret: ErrorAnswer(400, "invalid_totp_secret"),
    refusals.EnrolmentExpired: ErrorAnswer(400, "enrolment_expired"),
    refusals.MailFailed: ErrorAnswer(503, "mail_failed"),
    refusals.Overloaded: ErrorAnswer(503, "overloaded"),
    refusals.StorageUnavailable: ErrorAnswer(503, "storage_unavailable"),
    contexts.Unauthenticated: ErrorAnswer(401, "token_not_provided"),
    contexts.Malformed: ErrorAnswer(422, "bad_request"),
    contexts.TooLarge: ErrorAnswer(413, "body_too_large"),
    contexts.ForeignOrigin: ErrorAnswer(403, "foreign_origin"),
    contexts.MethodNotAllowed: ErrorAnswer(405, "method_not_allowed"),
    contexts.RateLimited: ErrorAnswer(429, "rate_limit_exceeded"),
    contexts.Unavailable: ErrorAnswer(400, "unavailable"),
    contexts.Broken: ErrorAnswer(500, "internal_error"),
}

# Errors that an endpoint words differently; the first two have a sentence and no code in the
# document.
_NOT_SAVED = ErrorAnswer(500, "not_saved")
_NOT_DELETED = ErrorAnswer(500, "not_deleted")
_LOGGED_OUT = ErrorAnswer(400, "session_token_incorrect")
_NOT_MINE = ErrorAnswer(404, "session_token_incorrect")

SIGN_IN_ERROR_TABLE = ERROR_TABLE | {
    refusals.StorageUnavailable: _NOT_SAVED,
    refusals.SessionNotFound: _NOT_SAVED,  # the session ended before the answer
}
REFRESH_ERROR_TABLE = ERROR_TABLE | {refusals.SessionNotFound: _LOGGED_OUT}
DELETE_ERROR_TABLE = ERROR_TABLE | {refusals.StorageUnavailable: _NOT_DELETED}
LOG_OUT_ERROR_TABLE = DELETE_ERROR_TABLE | {refusals.SessionNotFound: _NOT_MINE}

# Answers to more specific cases: a disabled user's right password, or a token that was checked.
_REASONS = {
    "disabled": ErrorAnswer(400, "not_activated"),
    "expired": ErrorAnswer(401, "token_expired"),
    "wrong": ErrorAnswer(401, "token_incorrect"),
}
_SENTENCES = {
    "username_or_password_incorrect": "Username or password is wrong",
    "not_activated": "Account is not activated",
    "change_password": "You have to change your password",
    "no_password_change_needed_for_user": "User does not need to change his password",
    "totp_required": "Two factor code required",
    "totp_invalid": "Two factor code is incorrect",
    "session_token_not_found": "Session token does not exist!",
    "token_not_provided": "Token not provided.",
    "token_expired": "Provided token is expired.",
    "token_incorrect": "Your token is incorrect!",
    "not_saved": "An error occurred during session token saving..",
    "not_deleted": "Could not delete session",
}
_BY_STATUS = {
    _LOGGED_OUT: "You have been logged out of this session or this session token is incorrect",
    _NOT_MINE: "Session token is incorrect",
}


def render_error(answer: ErrorAnswer, error: ApiError) -> Response:
    answer = _REASONS.get(getattr(error, "reason", ""), answer)
    if isinstance(error, contexts.Malformed) and error.sentences:
        sentences = {name: list(said) for name, said in error.sentences.items()}
        return render(DatepollFields(sentences), answer.status)
    if isinstance(error, refusals.WeakPassword):
        return render(DatepollFields({"new_password": [str(error)]}), answer.status)
    code = answer.code
    sentence = _BY_STATUS.get(answer) or _SENTENCES.get(code, str(error))
    coded = {} if answer in (_NOT_SAVED, _NOT_DELETED) else {"error_code": code}
    response = render(DatepollError(msg=sentence, **coded), answer.status)
    wait_s = None if answer is _WRONG else refusals.retry_after(error)  # lock-outs are not revealed
    response.raw_headers.extend(refusal_headers(answer.status, wait_s))
    return response


def render(shape: BaseModel, status: int = 200) -> Response:
    content = shape.model_dump(exclude_unset=True)
    return JSONResponse(content, status, headers={"cache-control": "no-store"})


ERRORS = (DatepollError, DatepollFields)
ERROR_FORMAT = ErrorFormat(ERROR_TABLE, render_error, ERRORS)
SIGN_IN = ErrorFormat(SIGN_IN_ERROR_TABLE, render_error, ERRORS)
REFRESH = ErrorFormat(REFRESH_ERROR_TABLE, render_error, ERRORS)
DELETE = ErrorFormat(DELETE_ERROR_TABLE, render_error, ERRORS)
LOG_OUT = ErrorFormat(LOG_OUT_ERROR_TABLE, render_error, ERRORS)


def _render_list(used: Iterable[tuple[float, int, Session]]) -> Response:
    """`used`: the time of the last use, a number that is ignored, and the session."""
    rendered = [render_session(session, at) for at, _, session in used]
    return render(DatepollSessions(msg="List of all sessions", sessions=rendered))


def render_session(session: Session, last_used_at: float) -> DatepollSession:
    """`last_used` has six digits after the seconds; `information` is always a text."""
    used = datetime.fromtimestamp(last_used_at, UTC)
    path = f"{SESSIONS}/{session.number}".removeprefix("/")
    return DatepollSession(
        id=session.number,
        information=session.description,
        last_used=used.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        delete_session=DatepollLink(href=path, method="DELETE"),
    )


@dataclass(frozen=True, slots=True)
class Datepoll:
    context: Context
    settings: DialectDatepoll
    carrier: AccessCarrier
    access: AccessSecrets
    sessions: Sessions
    last_used_at: Callable[[Session], float]

    async def _require_caller(self, request: Request, body: Mapping[str, object]) -> Session:
        """The caller. Raises Unauthenticated, and ForeignOrigin if the session's token is in a
        cookie."""
        value = get_token(request, body)
        if value is not None:
            return await self._find_by_token(value)
        if request.method not in ("GET", "HEAD"):
            self.context.check_origin(request)
        return await self.context.full_session(request)

    async def _find_by_token(self, value: str) -> Session:
        now = self.context.clock()
        token = self.access.tokens.read(value.encode("utf-8", "surrogatepass"))
        if token is None or token.issued_at > now:
            raise contexts.Unauthenticated("wrong")
        if token.is_expired(now):
            raise contexts.Unauthenticated("expired")
        session = (await self.carrier.find(token, now)).session
        if session is None:
            raise contexts.Unauthenticated("wrong")
        self.context.service.identify.use(session, now)
        return session

    # Logging in

    async def sign_in(self, request: Request) -> Response:
        given = Validation(await read_body(request))
        name = given.required("username", most=CHARACTERS)
        return await self._sign_in(request, given, name, given.required("password"))

    async def change_password(self, request: Request) -> Response:
        given = Validation(await read_body(request))
        name = given.required("username", most=CHARACTERS)
        old = given.required("old_password")
        new = given.required("new_password", least=LEAST_CHARACTERS)
        return await self._sign_in(request, given, name, old, new)

    async def _sign_in(
        self, request: Request, given: Validation, name: str, password: str, new: str | None = None
    ) -> Response:
        """A session with a refresh secret for a client that wants to stay and describes itself;
        otherwise one that ends with its only token."""
        description = given.optional("session_information", most=CHARACTERS)
        stays = given.flag("stay_logged_in") and description != ""
        code = given.optional("code")
        given.check()
        # CVE-2017-1000069: another site must not log a visitor in
        self.context.check_origin(request)
        session = NewSession("datepoll", self._lifetimes(stays), stays, description)
        login = LoginRequest(name, password, session, code=code or None, new_password=new)
        opened = await self.context.service.open(request, login)
        fields = {"token": self._issue_token(opened.session)}
        if stays:
            fields["session_token"] = await self.access.make_secret(
                opened.session, self.context.clock()
            )
        response = render(DatepollToken(**fields))
        if self.settings.cookie:
            self.context.service.cookie.set(response, request, opened, request.url.path)
        return response

    def _lifetimes(self, stays: bool) -> Lifetimes:
        """Without `stay_logged_in` a session lives as long as its token."""
        found = dialect_lifetimes(self.context.settings, self.settings)
        once = self.settings.token_lifetime.total_seconds()
        return found if stays else replace(found, lifetime_s=once)

    def _issue_token(self, session: Session) -> str:
        life_s = self.settings.token_lifetime.total_seconds()
        return self.access.tokens.issue(session, life_s, self.context.clock())

    async def refresh(self, request: Request) -> Response:
        """The next token. The session's lifetime begins again, with a new description if one was
        sent."""
        given = Validation(await read_body(request))
        secret = given.required("session_token")
        description = given.optional("session_information", most=CHARACTERS)
        given.check()
        now = self.context.clock()
        session = (await self.access.by_secret(secret, now)).session
        if session is None:
            raise refusals.SessionNotFound
        lifetimes, description = self._lifetimes(True), description or session.information
        await self.access.renew(session, lifetimes=lifetimes, information=description, now=now)
        return render(
            DatepollRefreshed(msg="Session token is good", token=self._issue_token(session)), 202
        )

    # Sessions

    async def list(self, request: Request) -> Response:
        """The caller's sessions, at most LISTED, the most recently used one last."""
        caller = await self._require_caller(request, await read_body(request))
        sessions = await self.sessions.list(caller.user, self.context.clock(), LISTED)
        used = sorted((self.last_used_at(session), session.number, session) for session in sessions)
        return await asyncio.to_thread(_render_list, used)  # so many take ten milliseconds

    async def delete(self, request: Request) -> Response:
        caller = await self._require_caller(request, await read_body(request))
        session = await self._find_own(caller, request.path_params.get("id", ""))
        if not await self.context.service.end(session):
            raise refusals.SessionNotFound
        response = render(DatepollDone(msg="Successfully deleted session"))
        if session.number != caller.number:
            return response
        return await self.context.service.complete_logout(request, response, session)

    async def _find_own(self, caller: Session, id: str) -> Session:
        """One of the caller's own sessions. Raises SessionNotFound for any other id."""
        number = int(id) if _ID.fullmatch(id) else 0
        mine = await self.sessions.list(caller.user, self.context.clock())
        for session in mine:
            if session.number == number:
                return session
        raise refusals.SessionNotFound

    async def log_out(self, request: Request) -> Response:
        body = await read_body(request)
        caller = await self._require_caller(request, body)
        given = Validation(body)
        secret = given.required("session_token")
        given.check()
        session = await self._find_by_secret(secret)
        if session is None or session.user.number != caller.user.number:
            raise refusals.SessionNotFound
        if not await self.context.service.end(session):
            raise refusals.SessionNotFound
        response = render(DatepollDone(msg="Successfully logged out and deleted session"))
        return await self.context.service.complete_logout(request, response, session)

    async def _find_by_secret(self, secret: str) -> Session | None:
        """End a session by its refresh secret, or by its token if it has none."""
        now = self.context.clock()
        if is_token(secret.encode()):
            return (await self.sessions.by_token(secret, now)).session
        return (await self.access.by_secret(secret, now)).session


async def read_body(request: Request) -> Mapping[str, object]:
    """The body's fields; none if it cannot be read, because each missing one is then reported by
    name.

    Raises TooLarge."""
    try:
        return await read_fields(request)
    except contexts.Malformed:
        return {}


def routes(
    context: Context,
    settings: DialectDatepoll,
    carrier: AccessCarrier,
    access: AccessSecrets,
    sessions: Sessions,
    last_used_at: Callable[[Session], float],
) -> list[Route]:
    datepoll = Datepoll(context, settings, carrier, access, sessions, last_used_at)
    current = f"{SESSIONS}/logoutCurrentSession"
    change = "/api/auth/changePasswordAfterSignin"
    # For DELETE, `logoutCurrentSession` is an ordinary id, which no session has.
    no_such = context.catch(datepoll.delete, DELETE)
    return [
        context.endpoint("/api/auth/signin", SIGN_IN, post=datepoll.sign_in),
        context.endpoint("/api/auth/IamLoggedIn", REFRESH, post=datepoll.refresh),
        context.endpoint(change, SIGN_IN, post=datepoll.change_password),
        context.endpoint(SESSIONS, ERROR_FORMAT, get=datepoll.list),
        context.endpoint(current, LOG_OUT, post=datepoll.log_out, delete=no_such),
        context.endpoint(SESSIONS + "/{id}", DELETE, delete=datepoll.delete),
    ]
