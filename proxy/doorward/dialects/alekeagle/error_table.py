"""The errors of the `alekeagle` dialect, refusal → status and body: `{"code", "message"}`.

Knows the document's codes; must not know when something is refused. Refusals for which the document
has no code are GENERIC_ERROR with a message of Doorward's own.
"""

import math

from starlette.responses import JSONResponse, Response

from doorward.accounts import refusals
from doorward.dialects import context as contexts
from doorward.dialects.alekeagle.shapes import AlekeagleError
from doorward.dialects.context import ApiError, ErrorAnswer, ErrorFormat, Malformed
from doorward.dialects.shapes import Shape
from doorward.gate.cookies import Header
from doorward.storage.rates import Count
from doorward.web.refusal_headers import refusal_headers, set_retry_after

INVALID_SESSION = "INVALID_SESSION_ERROR"
SESSION_MISSING = "SESSION_NOT_FOUND_ERROR"
INVALID_USER = "INVALID_USER_ERROR"
INVALID_PASSWORD = "INVALID_PASSWORD_ERROR"  # noqa: S105  (a word of the document)
MISSING_FIELDS = "MISSING_FIELDS_ERROR"
BANNED = "BANNED_ERROR"
RATELIMITED = "RATELIMITED_ERROR"
INTERNAL = "INTERNAL_SERVER_ERROR"
INVALID_ENDPOINT = "ENDPOINT_NOT_FOUND_ERROR"
PERMISSIONS = "INSUFFICIENT_PERMISSIONS_ERROR"
TOO_LARGE = "BODY_TOO_LARGE_ERROR"
CHALLENGE = "SECOND_FACTOR_CHALLENGE_REQUIRED_ERROR"
GENERIC = "GENERIC_ERROR"

MESSAGES = {
    INVALID_SESSION: "Invalid Session",
    SESSION_MISSING: "Session Not Found",
    INVALID_USER: "Invalid User",
    INVALID_PASSWORD: "Invalid Password",
    MISSING_FIELDS: "Missing Fields",
    BANNED: "Account Banned",
    RATELIMITED: "You Have Been Ratelimited. Please Try Again Later.",
    INTERNAL: "Internal Server Error",
    INVALID_ENDPOINT: "Endpoint Not Found",
    PERMISSIONS: "Missing Permissions",
    TOO_LARGE: "Request Body Too Large",
    CHALLENGE: "Second Factor Challenge Required",
}

ERROR_TABLE: dict[type[ApiError], ErrorAnswer] = {
    refusals.InvalidCredentials: ErrorAnswer(401, INVALID_PASSWORD),
    refusals.UserBanned: ErrorAnswer(403, BANNED),
    refusals.LockedOut: ErrorAnswer(429, RATELIMITED),
    refusals.PasswordChangeRequired: ErrorAnswer(403, GENERIC),
    refusals.PasswordChangeNotNeeded: ErrorAnswer(400, GENERIC),
    refusals.SessionNotFound: ErrorAnswer(404, SESSION_MISSING),
    refusals.UserNotFound: ErrorAnswer(404, INVALID_USER),
    refusals.ReadOnlyUser: ErrorAnswer(403, GENERIC),
    refusals.NameTaken: ErrorAnswer(400, GENERIC),
    refusals.InvalidName: ErrorAnswer(400, GENERIC),
    refusals.InvalidEmail: ErrorAnswer(400, GENERIC),
    refusals.InvalidGroup: ErrorAnswer(400, GENERIC),
    refusals.WeakPassword: ErrorAnswer(400, GENERIC),
    refusals.InvalidHash: ErrorAnswer(400, GENERIC),
    refusals.NotPermitted: ErrorAnswer(403, PERMISSIONS),
    refusals.SecondFactorRequired: ErrorAnswer(403, GENERIC),  # and there is no way to enter one
    refusals.ProofRequired: ErrorAnswer(403, GENERIC),
    refusals.SecondFactorInvalid: ErrorAnswer(401, INVALID_PASSWORD),
    refusals.TooManyCodes: ErrorAnswer(429, RATELIMITED),
    refusals.TotpAlreadyOn: ErrorAnswer(400, GENERIC),
    refusals.TotpNotOn: ErrorAnswer(400, GENERIC),
    refusals.TokenNotFound: ErrorAnswer(400, GENERIC),
    refusals.InvalidToken: ErrorAnswer(400, GENERIC),
    refusals.CredentialNotFound: ErrorAnswer(400, GENERIC),
    refusals.InvalidCredential: ErrorAnswer(400, GENERIC),
    refusals.InvalidTotpSecret: ErrorAnswer(400, GENERIC),
    refusals.EnrolmentExpired: ErrorAnswer(400, GENERIC),
    refusals.MailFailed: ErrorAnswer(500, INTERNAL),
    refusals.Overloaded: ErrorAnswer(500, INTERNAL),
    refusals.StorageUnavailable: ErrorAnswer(500, INTERNAL),
    contexts.Malformed: ErrorAnswer(400, MISSING_FIELDS),
    contexts.TooLarge: ErrorAnswer(413, TOO_LARGE),
    contexts.ForeignOrigin: ErrorAnswer(403, PERMISSIONS),
    contexts.MethodNotAllowed: ErrorAnswer(404, INVALID_ENDPOINT),
    contexts.RateLimited: ErrorAnswer(429, RATELIMITED),
    contexts.Unauthenticated: ErrorAnswer(401, INVALID_SESSION),
    contexts.Unavailable: ErrorAnswer(403, GENERIC),
    contexts.Broken: ErrorAnswer(500, INTERNAL),
}
PASSING = (refusals.MailFailed, refusals.Overloaded, refusals.StorageUnavailable)
PASSING_S = 5  # how long the client has to wait


class Json(JSONResponse):
    media_type = "application/json; charset=utf-8"


def render(shape: Shape, status: int = 200) -> Response:
    return Json(shape.content(), status, headers={"cache-control": "no-store"})


def lines(count: Count) -> list[Header]:
    """The headers of every counted answer. `Reset` is a time: Unix seconds, rounded up."""
    return [
        (b"x-ratelimit-limit", b"%d" % count.limit),
        (b"x-ratelimit-remaining", b"%d" % count.left),
        (b"x-ratelimit-reset", b"%d" % math.ceil(count.resets_at)),
    ]


def render_error(answer: ErrorAnswer, error: ApiError) -> Response:
    message = MESSAGES.get(answer.code, str(error))
    fields = {"fields": list(error.fields)} if isinstance(error, Malformed) else {}
    said = AlekeagleError(code=answer.code, message=message, **fields)
    response = render(said, answer.status)
    response.raw_headers.extend(refusal_headers(answer.status))
    if isinstance(error, contexts.RateLimited):
        response.raw_headers.extend(lines(error.count))
    set_retry_after(response, _wait_s(error))
    return response


def _wait_s(error: ApiError) -> int | None:
    if isinstance(error, contexts.RateLimited):
        # The original API sends the whole window here; its clients use the reset.
        return math.ceil(error.count.window_s)
    return PASSING_S if isinstance(error, PASSING) else refusals.retry_after(error)


ERROR_FORMAT = ErrorFormat(ERROR_TABLE, render_error, (AlekeagleError,))
# Reading a session that does not exist has a different code from ending it.
NOT_READABLE = ErrorAnswer(404, INVALID_SESSION)
