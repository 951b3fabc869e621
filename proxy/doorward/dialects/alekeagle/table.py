"""Refusal → status and body, as the `alekeagle` dialect says no: `{"code", "message"}`.

It knows the document's words; when something is refused it must not know. What the document has no
word for is GENERIC_ERROR with our sentence.
"""

import math

from starlette.responses import JSONResponse, Response

from doorward.accounts import refusals
from doorward.dialects import context as contexts
from doorward.dialects.alekeagle.shapes import AlekeagleError
from doorward.dialects.context import Answer, ApiError, ErrorFormat, Malformed
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

TABLE: dict[type[ApiError], Answer] = {
    refusals.InvalidCredentials: Answer(401, INVALID_PASSWORD),
    refusals.UserBanned: Answer(403, BANNED),
    refusals.LockedOut: Answer(429, RATELIMITED),
    refusals.PasswordChangeRequired: Answer(403, GENERIC),
    refusals.PasswordChangeNotNeeded: Answer(400, GENERIC),
    refusals.SessionNotFound: Answer(404, SESSION_MISSING),
    refusals.UserNotFound: Answer(404, INVALID_USER),
    refusals.ReadOnlyUser: Answer(403, GENERIC),
    refusals.NameTaken: Answer(400, GENERIC),
    refusals.InvalidName: Answer(400, GENERIC),
    refusals.InvalidEmail: Answer(400, GENERIC),
    refusals.InvalidGroup: Answer(400, GENERIC),
    refusals.WeakPassword: Answer(400, GENERIC),
    refusals.InvalidHash: Answer(400, GENERIC),
    refusals.NotPermitted: Answer(403, PERMISSIONS),
    refusals.SecondFactorRequired: Answer(403, GENERIC),  # and no way to ask for one
    refusals.ProofRequired: Answer(403, GENERIC),
    refusals.SecondFactorInvalid: Answer(401, INVALID_PASSWORD),
    refusals.TooManyCodes: Answer(429, RATELIMITED),
    refusals.TotpAlreadyOn: Answer(400, GENERIC),
    refusals.TotpNotOn: Answer(400, GENERIC),
    refusals.InvalidTotpSecret: Answer(400, GENERIC),
    refusals.EnrolmentExpired: Answer(400, GENERIC),
    refusals.MailFailed: Answer(500, INTERNAL),
    refusals.Overloaded: Answer(500, INTERNAL),
    refusals.StorageUnavailable: Answer(500, INTERNAL),
    contexts.Malformed: Answer(400, MISSING_FIELDS),
    contexts.TooLarge: Answer(413, TOO_LARGE),
    contexts.ForeignOrigin: Answer(403, PERMISSIONS),
    contexts.MethodNotAllowed: Answer(404, INVALID_ENDPOINT),
    contexts.RateLimited: Answer(429, RATELIMITED),
    contexts.Unauthenticated: Answer(401, INVALID_SESSION),
    contexts.Unavailable: Answer(403, GENERIC),
    contexts.Broken: Answer(500, INTERNAL),
}
PASSING = (refusals.MailFailed, refusals.Overloaded, refusals.StorageUnavailable)
PASSING_S = 5  # after which one of these may be over


class Json(JSONResponse):
    media_type = "application/json; charset=utf-8"


def draw(shape: Shape, status: int = 200) -> Response:
    return Json(shape.content(), status, headers={"cache-control": "no-store"})


def lines(count: Count) -> list[Header]:
    """What every counted answer says. `Reset` is a time: Unix seconds, rounded up."""
    return [
        (b"x-ratelimit-limit", b"%d" % count.limit),
        (b"x-ratelimit-remaining", b"%d" % count.left),
        (b"x-ratelimit-reset", b"%d" % math.ceil(count.resets_at)),
    ]


def render_error(answer: Answer, error: ApiError) -> Response:
    message = MESSAGES.get(answer.code, str(error))
    fields = {"fields": list(error.fields)} if isinstance(error, Malformed) else {}
    said = AlekeagleError(code=answer.code, message=message, **fields)
    response = draw(said, answer.status)
    response.raw_headers.extend(refusal_headers(answer.status))
    if isinstance(error, contexts.RateLimited):
        response.raw_headers.extend(lines(error.count))
    set_retry_after(response, _wait_s(error))
    return response


def _wait_s(error: ApiError) -> int | None:
    if isinstance(error, contexts.RateLimited):
        # The document's origin says the whole window here; its clients go by the reset.
        return math.ceil(error.count.window_s)
    return PASSING_S if isinstance(error, PASSING) else refusals.retry_after(error)


ERROR_FORMAT = ErrorFormat(TABLE, render_error, (AlekeagleError,))
# Reading a session that is not there has another word than ending it.
NOT_READABLE = Answer(404, INVALID_SESSION)
