"""How the `rocketchat` dialect says no: refusal → status and code, and the bodies around the code.

The words are its document's, slips included. Who is banned is told no more than who mistyped the
password; whoever is disabled is told so after the right one, as documented.
"""

import math
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from doorward.accounts import refusals
from doorward.accounts.challenge import Challenge
from doorward.accounts.refusals import (
    InvalidCredentials,
    LockedOut,
    ProofRequired,
    SecondFactorRequired,
)
from doorward.dialects import context as contexts
from doorward.dialects.context import Answer, ApiError, ErrorFormat
from doorward.dialects.rocketchat.shapes import (
    RocketchatDetails,
    RocketchatFailure,
    RocketchatRefusal,
)
from doorward.dialects.shapes import Shape
from doorward.web.refusal_headers import refusal_headers

TABLE: dict[type[ApiError], Answer] = {
    refusals.InvalidCredentials: Answer(401, "unauthorized"),
    refusals.UserBanned: Answer(401, "unauthorized"),
    refusals.LockedOut: Answer(429, "error-too-many-requests"),
    refusals.PasswordChangeRequired: Answer(401, "error-password-change-required"),
    refusals.PasswordChangeNotNeeded: Answer(400, "error-action-not-allowed"),
    refusals.SessionNotFound: Answer(404, "Session not found"),
    refusals.UserNotFound: Answer(400, "error-invalid-user"),
    refusals.ReadOnlyUser: Answer(400, "error-action-not-allowed"),
    refusals.NameTaken: Answer(400, "error-field-unavailable"),
    refusals.InvalidName: Answer(400, "error-invalid-name"),
    refusals.InvalidEmail: Answer(400, "error-invalid-user"),
    refusals.InvalidGroup: Answer(400, "error-invalid-role"),
    refusals.WeakPassword: Answer(400, "error-password-policy-not-met"),
    refusals.InvalidHash: Answer(400, "error-invalid-password"),
    refusals.NotPermitted: Answer(403, "error-unauthorized"),
    refusals.SecondFactorRequired: Answer(400, "totp-required"),
    refusals.ProofRequired: Answer(400, "totp-required"),
    refusals.SecondFactorInvalid: Answer(400, "totp-invalid"),
    refusals.TooManyCodes: Answer(400, "totp-max-attempts"),
    refusals.TotpAlreadyOn: Answer(400, "error-2fa-already-enabled"),
    refusals.TotpNotOn: Answer(400, "invalid-totp"),
    refusals.InvalidTotpSecret: Answer(400, "invalid-totp"),
    refusals.EnrolmentExpired: Answer(400, "invalid-totp"),
    refusals.MailFailed: Answer(503, "error-email-send-failed"),
    refusals.Overloaded: Answer(503, "error-overloaded"),
    refusals.StorageUnavailable: Answer(503, "error-storage-unavailable"),
    contexts.Malformed: Answer(400, "invalid-params"),
    contexts.TooLarge: Answer(413, "error-too-large"),
    contexts.ForeignOrigin: Answer(403, "error-foreign-origin"),
    contexts.MethodNotAllowed: Answer(405, "method-not-allowed"),
    contexts.Unauthenticated: Answer(401, "unauthenticated"),
    contexts.RateLimited: Answer(429, "error-too-many-requests"),
    contexts.Unavailable: Answer(400, "error-action-not-allowed"),
    contexts.Broken: Answer(500, "Internal server error"),
}

# At login what is wrong with the person, not with the request, is a 401.
LOGIN_TABLE: dict[type[ApiError], Answer] = TABLE | {
    refusals.InvalidCredentials: Answer(401, "Unauthorized"),
    refusals.UserBanned: Answer(401, "Unauthorized"),
    refusals.LockedOut: Answer(401, "error-login-blocked-for-user"),
    refusals.SecondFactorRequired: Answer(401, "totp-required"),
    refusals.SecondFactorInvalid: Answer(401, "totp-invalid"),
    refusals.TooManyCodes: Answer(401, "totp-max-attempts"),
}

REASONS = {
    "error-unauthorized": "User does not have the permissions required for this action",
    "totp-required": "TOTP Required",
    "totp-invalid": "TOTP Invalid",
    "totp-max-attempts": "TOTP Maximun Failed Attempts Reached",
}
NO_TYPE = frozenset(("error-unauthorized", "error-too-many-requests"))  # the text alone
ASKING = (SecondFactorRequired, ProofRequired)  # a code was missing
BARE = frozenset(("Session not found", "Internal server error"))
WAIT = (
    "Error, too many requests. Please slow down. You must wait {} seconds before trying this"
    " endpoint again."
)


def render_error(answer: Answer, error: ApiError) -> Response:
    if answer.code == "unauthenticated":
        said = "You must be logged in to do this."
        return _answered(RocketchatRefusal(status="error", message=said), answer, error)
    body = failure(answer.code, _reason(answer.code, error), **_details_of(error))
    return _answered(body, answer, error)


def _details_of(error: ApiError) -> dict[str, Any]:
    if (challenge := getattr(error, "challenge", None)) is not None:
        return {"details": details(challenge, asked=isinstance(error, ASKING))}
    return {}


def failure(code: str, reason: str | None = None, **more: Any) -> RocketchatFailure:
    """`reason [code]`, or only a text where there is no code."""
    if code in BARE or reason is None:
        return RocketchatFailure(success=False, error=code, **more)
    typed: dict[str, Any] = {} if code in NO_TYPE else {"errorType": code}
    error = f"{reason} [{code}]".lstrip()
    return RocketchatFailure(success=False, error=error, **typed, **more)


def draw_login_error(answer: Answer, error: ApiError) -> Response:
    if answer.status != 401 or isinstance(error, contexts.Unauthenticated):
        return render_error(answer, error)
    code, message = _at_login(answer.code, error)
    more = _details_of(error)
    if isinstance(error, LockedOut):
        more = {"details": RocketchatDetails(function="Accounts.validateLoginAttempt")}
    body = RocketchatRefusal(status="error", error=code, message=message, **more)
    return _answered(body, answer, error)


def _at_login(code: str, error: ApiError) -> tuple[str, str]:
    if isinstance(error, InvalidCredentials) and error.reason == "disabled":
        return "error-user-is-not-activated", "User is not activated"
    if isinstance(error, LockedOut):
        whom, word = ("user", "User") if error.scope == "user" else ("ip", "IP")
        blocked = f"Login has been temporarily blocked For {word}"
        return f"error-login-blocked-for-{whom}", blocked
    if code == "Unauthorized":
        return code, code
    return code, _reason(code, error)


def _reason(code: str, error: ApiError) -> str:
    if code == "error-too-many-requests":
        return WAIT.format(refusals.retry_after(error) or 1)
    if code == "invalid-totp":
        return ""
    return REASONS.get(code, str(error))


def _answered(body: Shape, answer: Answer, error: ApiError) -> Response:
    response = JSONResponse(body.content(), answer.status)
    response.raw_headers.extend(refusal_headers(answer.status, refusals.retry_after(error)))
    return response


def details(challenge: Challenge, *, asked: bool) -> RocketchatDetails:
    """What a client is told to ask for; `availableMethods` only where a code was missing."""
    told: dict[str, Any] = {
        "method": challenge.method,
        "codeGenerated": challenge.code_generated,
    }
    if challenge.method == "email":
        told["emailOrUsername"] = challenge.email_or_username
        if not challenge.code_generated and challenge.code_expires is not None:
            told["codeCount"] = 1
            told["codeExpires"] = [iso(challenge.code_expires)]
    if asked:
        told["availableMethods"] = list(challenge.available)
    return RocketchatDetails(**told)


def iso(at: float) -> str:
    """UTC with milliseconds and `Z`."""
    moment = datetime.fromtimestamp(math.floor(at * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


ERRORS = (RocketchatFailure, RocketchatRefusal)
ERROR_FORMAT = ErrorFormat(TABLE, render_error, ERRORS)
LOGIN_ERROR_FORMAT = ErrorFormat(LOGIN_TABLE, draw_login_error, ERRORS)
