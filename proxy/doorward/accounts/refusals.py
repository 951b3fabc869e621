"""Every refusal of the core: a closed tree, so that each dialect can answer it from a table.

A refusal has a code for programs and a sentence for people; the layer that translates it chooses
status and body.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from doorward.accounts.challenge import Challenge
    from doorward.accounts.user import User


class Refusal(Exception):
    """A refusal by the core. `str()` is a sentence that may be shown to the client."""

    code: ClassVar[str] = "refused"
    message: ClassVar[str] = "This is not allowed."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


def retry_after(refusal: Exception) -> int | None:
    """For a refusal that ends by itself: after how many whole seconds, as in RFC 9110 10.2.3."""
    wait = getattr(refusal, "retry_after_s", None)
    return None if wait is None else max(1, math.ceil(wait))


class InvalidCredentials(Refusal):
    """Wrong name or password, or a user who cannot log in; the answer never reveals which."""

    code = "invalid_credentials"
    message = "The name or the password is not right."

    def __init__(self, reason: str = "unknown") -> None:
        super().__init__()
        # Only for the log: unknown, password, disabled, changed, too_long, locked_out,
        # second_factor.
        self.reason = reason


class UserBanned(Refusal):
    """Raised only after a right password."""

    code = "user_banned"
    message = "This user is banned."


class LockedOut(Refusal):
    """Too many wrong passwords; right ones are refused too (429). `scope` is user or network."""

    code = "locked_out"
    message = "Too many failed logins; try again later."

    def __init__(self, retry_after_s: float, scope: str) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s
        self.scope = scope


class PasswordChangeRequired(Refusal):
    """Raised only after a right password; `user` has to change it."""

    code = "password_change_required"
    message = "The password has to be changed before this user can log in."

    def __init__(self, user: User) -> None:
        super().__init__()
        self.user = user


class PasswordChangeNotNeeded(Refusal):
    """Raised only after a right password: users change it in a session then."""

    code = "password_change_not_needed"
    message = "This user's password does not have to be changed."


class SessionNotFound(Refusal):
    code = "session_not_found"
    message = "There is no such session."


class TokenNotFound(Refusal):
    code = "token_not_found"
    message = "There is no such token."


class InvalidToken(Refusal):
    """An impossible token. `field` says what is wrong: name, route, method, network, expiry, admin,
    or most if a user has too many."""

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
    """A name or password that cannot be sent to an application."""

    code = "invalid_credential"
    message = "These credentials cannot be stored."


class UserNotFound(Refusal):
    code = "user_not_found"
    message = "There is no such user."


class NameTaken(Refusal):
    """The name or address already belongs to another user, of any source."""

    code = "name_taken"
    message = "Another user already has this name or address."


class InvalidName(Refusal):
    code = "invalid_name"
    message = (
        "A user name has 1 to 190 characters, no control characters and no space at either end."
    )


class InvalidEmail(Refusal):
    code = "invalid_email"
    message = "This is not an e-mail address."


class InvalidGroup(Refusal):
    """Groups are joined with commas in identity headers, so one with a comma would be two."""

    code = "invalid_group"
    message = (
        "A group or role has 1 to 190 characters, no comma, no control characters "
        "and no space at either end."
    )


class WeakPassword(Refusal):
    code = "weak_password"
    message = "The password is too short."


class InvalidHash(Refusal):
    """Another program's hash of an unknown kind, or one that costs too much to check."""

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
    """The password (or session) is right, and a second factor is required. `challenge` says which.

    If no method is available, the login cannot be completed.
    """

    code = "totp_required"
    message = "A second factor is required."

    def __init__(self, challenge: Challenge) -> None:
        super().__init__()
        self.challenge = challenge


class ProofRequired(Refusal):
    """The session is right, but its user has not given a password or code recently, and this
    changes what protects the account. `challenge` says which to give: the user's factor, or the
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
    """The user's budget of wrong codes is used up; until it is restored, right ones are refused
    too. `judged`: this code was checked, and was the wrong one that used it up."""

    code = "totp_max_attempts"
    message = "Too many wrong codes; wait a while."

    def __init__(self, challenge: Challenge, retry_after_s: float, *, judged: bool = False) -> None:
        super().__init__()
        self.challenge = challenge
        self.retry_after_s = retry_after_s
        self.judged = judged


class TotpAlreadyOn(Refusal):
    """A factor is never replaced silently: it has to be removed first, which needs a code."""

    code = "totp_already_on"
    message = "An authenticator app is already set up. Remove it first."


class TotpNotOn(Refusal):
    code = "totp_not_on"
    message = "No authenticator app is set up."


class InvalidTotpSecret(Refusal):
    code = "invalid_totp_secret"
    message = "This is not an authenticator secret: base32 of at least 112 bits."


class EnrolmentExpired(Refusal):
    """No enrolment was started in this session, it was too long ago, or another one was started
    since."""

    code = "enrolment_expired"
    message = "This key is no longer valid. Start again."


class MailFailed(Refusal):
    """There is no mail server, or it did not accept the mail (503)."""

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
