"""The errors of the `rocketchat` dialect: refusal → status and code, and the bodies with the code.

The wording is the document's, mistakes included. A ban is answered like a wrong password; a
disabled user is informed after the right one, as documented.
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
from doorward.dialects.context import ApiError, ErrorAnswer, ErrorFormat
from doorward.dialects.rocketchat.shapes import (
    RocketchatDetails,
    RocketchatFailure,
    RocketchatRefusal,
)
from doorward.dialects.shapes import Shape
from doorward.web.refusal_headers import refusal_headers

ERROR_TABLE: dict[type[ApiError], ErrorAnswer] = {
    refusals.InvalidCredentials: ErrorAnswer(401, "unauthorized"),
    refusals.UserBanned: ErrorAnswer(401, "unauthorized"),
    refusals.LockedOut: ErrorAnswer(429, "error-too-many-requests"),
    refusals.PasswordChangeRequired: ErrorAnswer(401, "error-password-change-required"),
    refusals.PasswordChangeNotNeeded: ErrorAnswer(400, "error-action-not-allowed"),
    refusals.SessionNotFound: ErrorAnswer(404, "Session not found"),
    refusals.UserNotFound: ErrorAnswer(400, "error-invalid-user"),
    refusals.ReadOnlyUser: ErrorAnswer(400, "error-action-not-allowed"),
    refusals.NameTaken: ErrorAnswer(400, "error-field-unavailable"),
    refusals.InvalidName: ErrorAnswer(400, "error-invalid-name"),
    refusals.InvalidEmail: ErrorAnswer(400, "error-invalid-user"),
    refusals.InvalidGroup: ErrorAnswer(400, "error-invalid-role"),
    refusals.WeakPassword: ErrorAnswer(400, "error-password-policy-not-met"),
    refusals.InvalidHash: ErrorAnswer(400, "error-invalid-password"),
    refusals.NotPermitted: ErrorAnswer(403, "error-unauthorized"),
    refusals.SecondFactorRequired: ErrorAnswer(400, "totp-required"),
    refusals.ProofRequired: ErrorAnswer(400, "totp-required"),
    refusals.SecondFactorInvalid: ErrorAnswer(400, "totp-invalid"),
    refusals.TooManyCodes: ErrorAnswer(400, "totp-max-attempts"),
    refusals.TotpAlreadyOn: ErrorAnswer(400, "error-2fa-already-enabled"),
    refusals.TotpNotOn: ErrorAnswer(400, "invalid-totp"),
    refusals.TokenNotFound: ErrorAnswer(400, "error-token-not-found"),
    refusals.InvalidToken: ErrorAnswer(400, "error-invalid-token"),
    refusals.CredentialNotFound: ErrorAnswer(400, "error-credential-not-found"),
    refusals.InvalidCredential: ErrorAnswer(400, "error-invalid-credential"),
    refusals.InvalidTotpSecret: ErrorAnswer(400, "invalid-totp"),
    refusals.EnrolmentExpired: ErrorAnswer(400, "invalid-totp"),
    refusals.MailFailed: ErrorAnswer(503, "error-email-send-failed"),
    refusals.Overloaded: ErrorAnswer(503, "error-overloaded"),
    refusals.StorageUnavailable: ErrorAnswer(503, "error-storage-unavailable"),
    contexts.Malformed: ErrorAnswer(400, "invalid-params"),
    contexts.TooLarge: ErrorAnswer(413, "error-too-large"),
    contexts.ForeignOrigin: ErrorAnswer(403, "error-foreign-origin"),
    contexts.MethodNotAllowed: ErrorAnswer(405, "method-not-allowed"),
    contexts.Unauthenticated: ErrorAnswer(401, "unauthenticated"),
    contexts.RateLimited: ErrorAnswer(429, "error-too-many-requests"),
    contexts.Unavailable: ErrorAnswer(400, "error-action-not-allowed"),
    contexts.Broken: ErrorAnswer(500, "Internal server error"),
}

# At login, errors that concern the user and not the request are 401.
LOGIN_ERROR_TABLE: dict[type[ApiError], ErrorAnswer] = ERROR_TABLE | {
    refusals.InvalidCredentials: ErrorAnswer(401, "Unauthorized"),
    refusals.UserBanned: ErrorAnswer(401, "Unauthorized"),
    refusals.LockedOut: ErrorAnswer(401, "error-login-blocked-for-user"),
    refusals.SecondFactorRequired: ErrorAnswer(401, "totp-required"),
    refusals.SecondFactorInvalid: ErrorAnswer(401, "totp-invalid"),
    refusals.TooManyCodes: ErrorAnswer(401, "totp-max-attempts"),
}

REASONS = {
    "error-unauthorized": "User does not have the permissions required for this action",
    "totp-required": "TOTP Required",
    "totp-invalid": "TOTP Invalid",
    "totp-max-attempts": "TOTP Maximun Failed Attempts Reached",
}
NO_TYPE = frozenset(("error-unauthorized", "error-too-many-requests"))  # only the text
ASKING = (SecondFactorRequired, ProofRequired)  # a code was missing
BARE = frozenset(("Session not found", "Internal server error"))
WAIT = (
    "Error, too many requests. Please slow down. You must wait {} seconds before trying this"
    " endpoint again."
)


def render_error(answer: ErrorAnswer, error: ApiError) -> Response:
    if answer.code == "unauthenticated":
        said = "You must be logged in to do this."
        return _respond(RocketchatRefusal(status="error", message=said), answer, error)
    body = build_failure(answer.code, _reason(answer.code, error), **_build_details(error))
    return _respond(body, answer, error)


def _build_details(error: ApiError) -> dict[str, Any]:
    if (challenge := getattr(error, "challenge", None)) is not None:
        return {"details": build_details(challenge, asked=isinstance(error, ASKING))}
    return {}


def build_failure(code: str, reason: str | None = None, **more: Any) -> RocketchatFailure:
    """`reason [code]`, or only a text if there is no code."""
    if code in BARE or reason is None:
        return RocketchatFailure(success=False, error=code, **more)
    typed: dict[str, Any] = {} if code in NO_TYPE else {"errorType": code}
    error = f"{reason} [{code}]".lstrip()
    return RocketchatFailure(success=False, error=error, **typed, **more)


def render_login_error(answer: ErrorAnswer, error: ApiError) -> Response:
    if answer.status != 401 or isinstance(error, contexts.Unauthenticated):
        return render_error(answer, error)
    code, message = _at_login(answer.code, error)
    more = _build_details(error)
    if isinstance(error, LockedOut):
        more = {"details": RocketchatDetails(function="Accounts.validateLoginAttempt")}
    body = RocketchatRefusal(status="error", error=code, message=message, **more)
    return _respond(body, answer, error)


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


def _respond(body: Shape, answer: ErrorAnswer, error: ApiError) -> Response:
    response = JSONResponse(body.content(), answer.status)
    response.raw_headers.extend(refusal_headers(answer.status, refusals.retry_after(error)))
    return response


def build_details(challenge: Challenge, *, asked: bool) -> RocketchatDetails:
    """The challenge for a client, with `availableMethods` only if the code was missing."""
    fields: dict[str, Any] = {
        "method": challenge.method,
        "codeGenerated": challenge.code_generated,
    }
    if challenge.method == "email":
        fields["emailOrUsername"] = challenge.email_or_username
        if not challenge.code_generated and challenge.code_expires is not None:
            fields["codeCount"] = 1
            fields["codeExpires"] = [format_time(challenge.code_expires)]
    if asked:
        fields["availableMethods"] = list(challenge.available)
    return RocketchatDetails(**fields)


def format_time(at: float) -> str:
    """UTC with milliseconds and `Z`."""
    moment = datetime.fromtimestamp(math.floor(at * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


ERRORS = (RocketchatFailure, RocketchatRefusal)
ERROR_FORMAT = ErrorFormat(ERROR_TABLE, render_error, ERRORS)
LOGIN_ERROR_FORMAT = ErrorFormat(LOGIN_ERROR_TABLE, render_login_error, ERRORS)
