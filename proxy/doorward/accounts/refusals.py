"""Every way the core says no: a closed tree, so that each dialect can answer it from a table.

A refusal knows a code for programs and a sentence for people; which status or body it becomes is
the business of the layer that translates it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from doorward.accounts.challenge import Challenge
    from doorward.accounts.user import User


class Refusal(Exception):
    """What the core refuses. `str()` is a sentence that may be shown to the client."""

    code: ClassVar[str] = "refused"
    message: ClassVar[str] = "This is not allowed."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


def retry_after(refusal: Exception) -> int | None:
    """For one that time mends by itself: in how many whole seconds, as in RFC 9110 10.2.3."""
    wait = getattr(refusal, "retry_after_s", None)
    return None if wait is None else max(1, math.ceil(wait))


class InvalidCredentials(Refusal):
    """Wrong name or password, or a user that may not log in; the answer never tells which."""

    code = "invalid_credentials"
    message = "The name or the password is not right."

    def __init__(self, reason: str = "unknown") -> None:
        super().__init__()
        # For the log alone: unknown, password, disabled, changed, too_long, locked_out,
        # second_factor.
        self.reason = reason


class UserBanned(Refusal):
    """Raised only after a right password."""

    code = "user_banned"
    message = "This user is banned."


class LockedOut(Refusal):
    """Too many wrong passwords; right ones are refused alike (429). `scope` is user or network."""

    code = "locked_out"
    message = "Too many failed logins; try again later."

    def __init__(self, retry_after_s: float, scope: str) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s
        self.scope = scope


class PasswordChangeRequired(Refusal):
    """Raised only after a right password; `user` is whose password has to change."""

    code = "password_change_required"
    message = "The password has to be changed before this user can log in."

    def __init__(self, user: User) -> None:
        super().__init__()
        self.user = user


class PasswordChangeNotNeeded(Refusal):
    """Raised only after a right password: changing it then is a matter for its user's session."""

    code = "password_change_not_needed"
    message = "This user's password does not have to be changed."


class SessionNotFound(Refusal):
    code = "session_not_found"
    message = "There is no such session."


class TokenNotFound(Refusal):
    code = "token_not_found"
    message = "There is no such token."


class InvalidToken(Refusal):
    """A token that nobody can have. `field` is what is wrong with it: name, route, method, network,
    expiry, admin, or most where a user has too many."""

    code = "invalid_token"
    message = "This token cannot be created."

    def __init__(self, message: str | None = None, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class CredentialNotFound(Refusal):
    """The route takes no credentials of users, or there are none to remove."""

    code = "credential_not_found"
    message = "There are no such credentials."


class InvalidCredential(Refusal):
    """A name or password that no application could be sent."""

    code = "invalid_credential"
    message = "These credentials cannot be stored."


class UserNotFound(Refusal):
    code = "user_not_found"
    message = "There is no such user."


class NameTaken(Refusal):
    """The name or address already leads to another user, of whatever source."""

    code = "name_taken"
    message = "Another user already has this name or address."


class InvalidName(Refusal):
    code = "invalid_name"
    message = (
        "A user name has 1 to 190 characters, no control characters and no space at its edges."
    )


class InvalidEmail(Refusal):
    code = "invalid_email"
    message = "This is not an e-mail address."


class InvalidGroup(Refusal):
    """Groups are joined with commas in identity headers: one with a comma would be two."""

    code = "invalid_group"
    message = (
        "A group or role has 1 to 190 characters, no comma, no control characters "
        "and no space at its edges."
    )


class WeakPassword(Refusal):
    code = "weak_password"
    message = "The password is too short."


class InvalidHash(Refusal):
    """A hash of another program of an unknown kind, or that costs too much to verify."""

    code = "invalid_hash"
    message = "Doorward cannot verify this kind of password hash."


class NotPermitted(Refusal):
    """The user lacks the permission; the answer names it."""

    code = "not_permitted"
    message = "This user does not have permission to do this."


class ReadOnlyUser(Refusal):
    code = "read_only_user"
    message = "This user comes from the configuration file; change it there."

    def __init__(self, source: str = "config") -> None:
        place = {"config": "the configuration file"}.get(source, f"the {source} file")
        super().__init__(f"This user comes from {place}; change it there.")


class SecondFactorRequired(Refusal):
    """The password (or session) is right, and a second factor is due. `challenge` says which.

    If no method is available, the login cannot be completed.
    """

    code = "totp_required"
    message = "A second factor is required."

    def __init__(self, challenge: Challenge) -> None:
        super().__init__()
        self.challenge = challenge


class ProofRequired(Refusal):
    """The session is right, but no password or code of its user was given in it lately, and this
    changes what guards the account. `challenge` says which to give: the factor that is on, or the
    password."""

    code = "proof_required"
    message = "To change this, log in again, or enter your password or a code."

    def __init__(self, challenge: Challenge) -> None:
        super().__init__()
        self.challenge = challenge


class SecondFactorInvalid(Refusal):
    code = "totp_invalid"
    message = "The code is not right."

    def __init__(self, challenge: Challenge) -> None:
        super().__init__()
        self.challenge = challenge


class TooManyCodes(Refusal):
    """The user's budget of wrong codes is spent; right ones are refused, too, until then.
    `judged`: this code was looked at, and was the wrong one that spent it."""

    code = "totp_max_attempts"
    message = "Too many wrong codes; wait a while."

    def __init__(self, challenge: Challenge, retry_after_s: float, *, judged: bool = False) -> None:
        super().__init__()
        self.challenge = challenge
        self.retry_after_s = retry_after_s
        self.judged = judged


class TotpAlreadyOn(Refusal):
    """A factor is never replaced silently: it is removed first, which needs a code."""

    code = "totp_already_on"
    message = "An authenticator app is already set up. Remove it first."


class TotpNotOn(Refusal):
    code = "totp_not_on"
    message = "No authenticator app is set up."


class InvalidTotpSecret(Refusal):
    code = "invalid_totp_secret"
    message = "This is not an authenticator secret: base32 of at least 112 bits."


class EnrolmentExpired(Refusal):
    """Nothing was begun in this session, it was too long ago, or another one was begun since."""

    code = "enrolment_expired"
    message = "This key is no longer valid. Start again."


class MailFailed(Refusal):
    """There is no mail server, or it did not take the mail (503)."""

    code = "mail_failed"
    message = "The e-mail could not be sent; try again in a moment."


class Overloaded(Refusal):
    """Too many passwords are waiting to be hashed (503)."""

    code = "overloaded"
    message = "Too many logins at once; try again in a moment."


class StorageUnavailable(Refusal):
    """The database did not answer (503)."""

    code = "storage_unavailable"
    message = "The database does not answer; try again in a moment."
