"""The errors of the administration API: a status and a code for each, in one shape."""

from starlette.responses import JSONResponse, Response

from doorward.accounts import refusals
from doorward.dialects import context as contexts
from doorward.dialects.api import shapes
from doorward.dialects.context import ApiError, ErrorAnswer, ErrorFormat
from doorward.web.refusal_headers import refusal_headers

_CONFLICT, _WRONG = 409, 400
_STATUSES: dict[type[ApiError], int] = {
    refusals.InvalidCredentials: 401,
    refusals.UserBanned: 403,
    refusals.LockedOut: 429,
    refusals.PasswordChangeRequired: 403,
    refusals.PasswordChangeNotNeeded: _CONFLICT,
    refusals.SessionNotFound: 404,
    refusals.UserNotFound: 404,
    refusals.TokenNotFound: 404,
    refusals.CredentialNotFound: 404,
    refusals.ReadOnlyUser: _CONFLICT,
    refusals.NameTaken: _CONFLICT,
    refusals.InvalidName: _WRONG,
    refusals.InvalidEmail: _WRONG,
    refusals.InvalidGroup: _WRONG,
    refusals.InvalidToken: _WRONG,
    refusals.InvalidCredential: _WRONG,
    refusals.WeakPassword: _WRONG,
    refusals.InvalidHash: _WRONG,
    refusals.NotPermitted: 403,
    refusals.SecondFactorRequired: 403,
    refusals.ProofRequired: 403,
    refusals.SecondFactorInvalid: 403,
    refusals.TooManyCodes: 429,
    refusals.TotpAlreadyOn: _CONFLICT,
    refusals.TotpNotOn: _CONFLICT,
    refusals.InvalidTotpSecret: _WRONG,
    refusals.EnrolmentExpired: _CONFLICT,
    refusals.MailFailed: 503,
    refusals.Overloaded: 503,
    refusals.StorageUnavailable: 503,
    contexts.Malformed: _WRONG,
    contexts.TooLarge: 413,
    contexts.ForeignOrigin: 403,
    contexts.MethodNotAllowed: 405,
    contexts.RateLimited: 429,
    contexts.Unauthenticated: 401,
    contexts.Unavailable: 503,
    contexts.Broken: 500,
}
# The codes are the errors' own.
ERROR_TABLE = {error: ErrorAnswer(status, error.code) for error, status in _STATUSES.items()}


def render_error(answer: ErrorAnswer, error: ApiError) -> Response:
    content = shapes.ApiError(error=answer.code, message=str(error)).content()
    response = JSONResponse(content, answer.status)
    response.raw_headers.extend(refusal_headers(answer.status, refusals.retry_after(error)))
    return response


ERROR_FORMAT = ErrorFormat(ERROR_TABLE, render_error, (shapes.ApiError,))
