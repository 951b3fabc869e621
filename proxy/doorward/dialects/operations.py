"""The rows of the API description: what each endpoint of each dialect does, accepts and answers.

Knows summaries, shapes and the refusals of each operation; must not know how an endpoint works. The
routes determine which endpoints exist and how they word refusals.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from doorward.accounts import refusals as core
from doorward.dialects import context
from doorward.dialects import datepoll_shapes as datepoll
from doorward.dialects import xhr_shapes as xhr
from doorward.dialects.alekeagle import shapes as alekeagle
from doorward.dialects.api import shapes as api
from doorward.dialects.context import ApiError, ErrorAnswer
from doorward.dialects.rocketchat import shapes as rocketchat
from doorward.dialects.shapes import Shape

Refusals = tuple[type[ApiError], ...]
Shapes = tuple[type[Shape], ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row.

    `answer`: the content of a success; None: nothing. `body`: one of these; `optional_body`: or
    none at all. `public`: for clients without a session. `factor`: accepts the headers of a second
    factor. `refuses`: refusals in addition to those that follow from the rest. `more`: answers that
    are not in the route's table, with `errors`, the shapes that only this operation has for them.
    `media`: the type of a success; each event of a stream is one `answer`.
    """

    summary: str
    answer: type[Shape] | None = None
    status: int = 200
    body: Shapes = ()
    optional_body: bool = False
    query: type[Shape] | None = None
    public: bool = False
    changes: bool = False
    factor: bool = False
    refuses: Refusals = ()
    more: tuple[ErrorAnswer, ...] = ()
    errors: Shapes = ()
    media: str = "application/json"

    def list_refusals(self) -> Refusals:
        """All refusals of the operation, without a dialect's names for them."""
        body = (context.Malformed, context.TooLarge) if self.body else ()
        query = (context.Malformed,) if self.query else ()
        session = () if self.public else (context.Unauthenticated,)
        origin = (context.ForeignOrigin,) if self.changes else ()
        factor = ASKED if self.factor else ()
        always = (core.StorageUnavailable, context.Broken)
        return (*body, *query, *session, *origin, *factor, *self.refuses, *always)


PASSWORD: Refusals = (core.InvalidCredentials, core.UserBanned, core.LockedOut, core.Overloaded)
ASKED: Refusals = (
    core.SecondFactorRequired,
    core.SecondFactorInvalid,
    core.TooManyCodes,
    core.MailFailed,
    core.LockedOut,
    core.Overloaded,
)
CODE: Refusals = (core.SecondFactorInvalid, core.TooManyCodes)
LOGIN: Refusals = (*PASSWORD, *ASKED, core.PasswordChangeRequired, core.SessionNotFound)

XHR = {
    "POST /xhr/login": Operation(
        "Log in.", xhr.XhrLogin, body=(xhr.XhrCredentials,), public=True, changes=True,
        refuses=LOGIN,
    ),
    "POST /xhr/login/ldap": Operation(
        "Refused with 401 `unavailable` until a directory serves LDAP logins.",
        body=(xhr.XhrCredentials,), public=True, changes=True, refuses=(context.Unavailable,),
        status=0,
    ),
    "POST /xhr/totp": Operation(
        "Enter the code of a login.", status=204, body=(xhr.XhrCode,), changes=True,
        refuses=(*CODE, core.SessionNotFound, core.UserBanned, core.MailFailed, core.LockedOut),
    ),
    "GET /xhr/session": Operation("Get the user and the session.", xhr.XhrSession),
    "GET /xhr/logout": Operation("Log out.", status=204, changes=True),
    "POST /xhr/logout": Operation("Log out.", status=204, changes=True),
    "GET /xhr/session/totp/generate": Operation(
        "Get a new secret for an authenticator app.", xhr.XhrSecret, changes=True,
        refuses=(core.ProofRequired,),
    ),
    "POST /xhr/session/totp": Operation(
        "Turn TOTP on.", status=204, body=(xhr.XhrEnrolment,), changes=True,
        refuses=(
            *CODE, core.NotPermitted, core.TotpAlreadyOn, core.InvalidTotpSecret,
            core.EnrolmentExpired, core.ProofRequired,
        ),
    ),
    "DELETE /xhr/session/totp": Operation(
        "Turn TOTP off.", status=204, body=(xhr.XhrCode,), changes=True,
        refuses=(*CODE, core.TotpNotOn, core.SecondFactorRequired),
    ),
}  # fmt: skip

# Under the prefix in the settings, with or without /user.
_BANNED: Refusals = (core.UserBanned,)
_MISSING: Refusals = (core.UserBanned, core.SessionNotFound)
ALEKEAGLE = {
    "POST /session": Operation(
        "Log in, or enter the code of a login that asked for one.",
        alekeagle.AlekeagleToken, 201, public=True, changes=True,
        body=(alekeagle.AlekeagleCredentials, alekeagle.AlekeagleSecondStep),
        refuses=(*LOGIN, core.UserNotFound, context.Unauthenticated, context.RateLimited),
        more=(ErrorAnswer(401, "SECOND_FACTOR_CHALLENGE_REQUIRED_ERROR"),),
        errors=(alekeagle.AlekeagleChallenge,),
    ),
    "GET /session": Operation(
        "Get the caller's session.", alekeagle.AlekeagleSession, refuses=_BANNED
    ),
    "GET /session/{id}": Operation(
        "Get one of the user's sessions.", alekeagle.AlekeagleSession, refuses=_BANNED,
        more=(ErrorAnswer(404, "INVALID_SESSION_ERROR"),),
    ),
    "DELETE /session/{id}": Operation(
        "End one of the user's sessions.", alekeagle.AlekeagleDone, changes=True,
        refuses=_MISSING,
    ),
    "GET /sessions": Operation(
        "List the user's sessions.", alekeagle.AlekeagleSessions, refuses=_BANNED,
        query=alekeagle.AlekeaglePage,
    ),
    "DELETE /sessions": Operation(
        "End several sessions.", alekeagle.AlekeagleRemoved, body=(alekeagle.AlekeagleIds,),
        changes=True, refuses=_BANNED,
    ),
    "DELETE /sessions/all": Operation(
        "End all sessions.", alekeagle.AlekeagleRemoved, query=alekeagle.AlekeagleSparing,
        changes=True, refuses=_BANNED,
    ),
}  # fmt: skip

_OWN = "/api/v1/user/myself/session"
_TOKEN = (ErrorAnswer(401, "token_expired"), ErrorAnswer(401, "token_incorrect"))
_NOT_ACTIVATED = (ErrorAnswer(400, "not_activated"),)
DATEPOLL = {
    "POST /api/auth/signin": Operation(
        "Log in.", datepoll.DatepollToken, body=(datepoll.DatepollCredentials,), public=True,
        changes=True, refuses=LOGIN, more=_NOT_ACTIVATED,
    ),
    "POST /api/auth/changePasswordAfterSignin": Operation(
        "Log in with a password that has to change, and change it.", datepoll.DatepollToken,
        body=(datepoll.DatepollNewPassword,), public=True, changes=True, more=_NOT_ACTIVATED,
        refuses=(
            *LOGIN, core.WeakPassword, core.PasswordChangeNotNeeded, core.ReadOnlyUser,
        ),
    ),
    "POST /api/auth/IamLoggedIn": Operation(
        "Get a new access token for a session secret.", datepoll.DatepollRefreshed, 202,
        body=(datepoll.DatepollRefresh,), public=True, refuses=(core.SessionNotFound,),
    ),
    f"GET {_OWN}": Operation("List the user's sessions.", datepoll.DatepollSessions, more=_TOKEN),
    f"DELETE {_OWN}/{{id}}": Operation(
        "End one of the user's sessions.", datepoll.DatepollDone, changes=True, more=_TOKEN,
        refuses=(core.SessionNotFound,),
    ),
    f"POST {_OWN}/logoutCurrentSession": Operation(
        "Log out.", datepoll.DatepollDone, body=(datepoll.DatepollSecret,), changes=True,
        more=_TOKEN, refuses=(core.SessionNotFound,),
    ),
    f"DELETE {_OWN}/logoutCurrentSession": Operation(
        "Refused with 404: no session has this id.", status=0, changes=True,
        more=(*_TOKEN, ErrorAnswer(404, "session_token_not_found")),
    ),
}  # fmt: skip

# Under /api/v1/. Every endpoint has a rate limit.
_VIEW: Refusals = (core.NotPermitted,)
_END: Refusals = (core.NotPermitted, core.SessionNotFound, core.UserNotFound)
_SORT = (ErrorAnswer(400, "error-invalid-sort-keys"),)
_INVALID_TOTP = (ErrorAnswer(400, "invalid-totp"),)
# A change of factors may require a fresh password or code first.
_FRESH: Refusals = (*ASKED, core.ProofRequired)
_LOG_OUT = Operation(
    "Log out.", rocketchat.RocketchatLoggedOut, changes=True, refuses=(core.SessionNotFound,)
)
ROCKETCHAT = {
    "POST login": Operation(
        "Log in, or present a token that is already valid.", rocketchat.RocketchatLoggedIn,
        body=(rocketchat.RocketchatCredentials,), public=True, changes=True, factor=True,
        refuses=LOGIN, more=(
            ErrorAnswer(401, "error-user-is-not-activated"),
            ErrorAnswer(401, "error-login-blocked-for-ip"),
        ),
    ),
    "GET logout": _LOG_OUT,
    "POST logout": _LOG_OUT,
    "GET me": Operation("Get the user.", rocketchat.RocketchatMe),
    "GET sessions/list": Operation(
        "List the user's sessions.", rocketchat.RocketchatSessions, more=_SORT,
        query=rocketchat.RocketchatPaging,
    ),
    "GET sessions/info": Operation(
        "Get one of the user's sessions, ended or not.", rocketchat.RocketchatRecord,
        query=rocketchat.RocketchatId, refuses=(core.SessionNotFound,),
    ),
    "POST sessions/logout.me": Operation(
        "End one of the user's sessions.", rocketchat.RocketchatEnded, changes=True,
        body=(rocketchat.RocketchatId,), refuses=(core.SessionNotFound, core.NotPermitted),
    ),
    "POST sessions/logout": Operation(
        "End any user's session.", rocketchat.RocketchatEnded, changes=True, factor=True,
        body=(rocketchat.RocketchatId,), refuses=_END,
    ),
    "GET sessions/list.all": Operation(
        "List all users' sessions.", rocketchat.RocketchatOwnedSessions, factor=True, more=_SORT,
        query=rocketchat.RocketchatPaging, refuses=_VIEW,
    ),
    "GET sessions/info.admin": Operation(
        "Get any user's session.", rocketchat.RocketchatSeenSession, factor=True,
        query=rocketchat.RocketchatId, refuses=(*_VIEW, core.SessionNotFound),
    ),
    "POST users.logoutOtherClients": Operation(
        "End all sessions of the user but this one.", rocketchat.RocketchatKept, changes=True
    ),
    "POST users.logout": Operation(
        "End all sessions of a user.", rocketchat.RocketchatMessage, changes=True,
        body=(rocketchat.RocketchatUserId,), optional_body=True, refuses=_END,
        more=(ErrorAnswer(403, "unauthorized"),),
    ),
    "POST users.2fa.sendEmailCode": Operation(
        "Mail a code to a user who is logging in.", rocketchat.RocketchatDone, public=True,
        changes=True, body=(rocketchat.RocketchatAddressee,), refuses=(core.LockedOut,),
        more=(ErrorAnswer(400, "error-parameter-required"),),
    ),
    "POST users.2fa.enableEmail": Operation(
        "Turn on codes by e-mail.", rocketchat.RocketchatDone, factor=True, changes=True,
        body=(rocketchat.RocketchatNothing,), optional_body=True, refuses=(core.InvalidEmail,),
    ),
    "POST users.2fa.disableEmail": Operation(
        "Turn off codes by e-mail.", rocketchat.RocketchatDone, factor=True, changes=True,
        body=(rocketchat.RocketchatNothing,), optional_body=True,
    ),
    "POST users.totp.enable": Operation(
        "Get a new secret for an authenticator app.", rocketchat.RocketchatSecret, factor=True,
        changes=True, body=(rocketchat.RocketchatNothing,), optional_body=True,
        refuses=(core.TotpAlreadyOn,),
    ),
    "POST users.totp.validate": Operation(
        "Turn TOTP on.", rocketchat.RocketchatCodes, changes=True, more=_INVALID_TOTP,
        body=(rocketchat.RocketchatCode,),
        refuses=(*_FRESH, core.TotpAlreadyOn, core.EnrolmentExpired, core.InvalidTotpSecret),
    ),
    "POST users.totp.disable": Operation(
        "Turn TOTP off.", rocketchat.RocketchatDisabled, changes=True, more=_INVALID_TOTP,
        body=(rocketchat.RocketchatCode,), refuses=(*_FRESH, core.TotpNotOn),
    ),
    "POST users.totp.regenerateCodes": Operation(
        "Get new recovery codes.", rocketchat.RocketchatCodes, changes=True, more=_INVALID_TOTP,
        body=(rocketchat.RocketchatCode,), refuses=(*_FRESH, core.TotpNotOn),
    ),
    "GET users.totp.codesRemaining": Operation(
        "Get the number of unused recovery codes.", rocketchat.RocketchatRemaining,
        refuses=(core.TotpNotOn,),
    ),
}  # fmt: skip

# Under /.doorward/api/v1/, for tokens of administrators.
_ADMIN: Refusals = (core.NotPermitted, core.LockedOut)
_USER: Refusals = (*_ADMIN, core.UserNotFound)
_ACT: Refusals = (*_USER, core.ReadOnlyUser)
_DETAILS: Refusals = (core.InvalidName, core.InvalidEmail, core.InvalidGroup)


def _act(summary: str, *refuses: type[ApiError]) -> Operation:
    return Operation(
        summary, status=204, body=(api.ApiNothing,), optional_body=True,
        refuses=(*_ACT, *refuses),
    )  # fmt: skip


API = {
    "GET users": Operation(
        "List users by name.", api.ApiUsers, query=api.ApiUserSearch, refuses=_ADMIN
    ),
    "POST users": Operation(
        "Add a user.", api.ApiUserAdded, 201, body=(api.ApiNewUser,),
        refuses=(*_ADMIN, *_DETAILS, core.NameTaken, core.WeakPassword, core.Overloaded),
    ),
    "GET users/{id}": Operation("Get a user.", api.ApiUserDetails, refuses=_USER),
    "PATCH users/{id}": Operation(
        "Change a user's name, address, groups or roles.", status=204, body=(api.ApiChange,),
        refuses=(*_ACT, *_DETAILS, core.NameTaken),
    ),
    "DELETE users/{id}": Operation(
        "Delete a user and everything that belongs to the user.", status=204, refuses=_ACT
    ),
    "POST users/{id}/ban": _act("Ban a user: all sessions and tokens are suspended."),
    "POST users/{id}/unban": _act("Lift a ban."),
    "POST users/{id}/disable": _act("Disable a user: all sessions and tokens end."),
    "POST users/{id}/enable": _act("Let a disabled user log in again."),
    "POST users/{id}/unlock": _act("Reset a user's counts of wrong passwords and codes."),
    "POST users/{id}/reset-factors": _act(
        "Remove a user's second factors.", core.TotpNotOn
    ),
    "POST users/{id}/password": Operation(
        "Set or generate a user's password; all sessions end.", api.ApiPasswordSet,
        body=(api.ApiNewPassword,), optional_body=True,
        refuses=(*_ACT, core.WeakPassword, core.Overloaded),
    ),
    "GET users/{id}/sessions": Operation(
        "List a user's sessions, at most the 500 newest.", api.ApiUserSessions, refuses=_USER
    ),
    "DELETE users/{id}/sessions": Operation(
        "End all sessions of a user.", api.ApiEnded, refuses=_USER
    ),
    "GET users/{id}/tokens": Operation("List a user's tokens.", api.ApiUserTokens, refuses=_USER),
    "DELETE users/{id}/tokens": Operation("End all tokens of a user.", api.ApiEnded, refuses=_USER),
    "GET sessions": Operation(
        "List all sessions, the newest first.", api.ApiSessions, query=api.ApiPage,
        refuses=_ADMIN,
    ),
    "DELETE sessions/{id}": Operation(
        "End a session.", status=204, refuses=(*_ADMIN, core.SessionNotFound)
    ),
    "GET tokens": Operation(
        "List all tokens, the newest first.", api.ApiTokenList, query=api.ApiPage,
        refuses=_ADMIN,
    ),
    "GET tokens/{id}": Operation(
        "Get a token, without its secret.", api.ApiTokenInfo, refuses=(*_ADMIN, core.TokenNotFound)
    ),
    "DELETE tokens/{id}": Operation(
        "End a token.", status=204, refuses=(*_ADMIN, core.TokenNotFound)
    ),
    "GET lockouts": Operation(
        "List the lock-outs after wrong passwords and codes.", api.ApiLocks, refuses=_ADMIN
    ),
    "POST lockouts/unlock": Operation(
        "End the lock-out of an address's network.", status=204, body=(api.ApiNetwork,),
        refuses=_ADMIN,
    ),
    "GET audit": Operation(
        "List records, the newest first.", api.ApiRecords, query=api.ApiRecordSearch,
        refuses=_ADMIN,
    ),
    "GET explain": Operation(
        "Explain what would happen to a request, and why.", api.ApiExplanation,
        query=api.ApiQuestion, refuses=_USER,
    ),
    "GET audit/events": Operation(
        "Follow records as server-sent events.", api.ApiRecord, query=api.ApiFollow,
        refuses=_ADMIN, media="text/event-stream",
    ),
}  # fmt: skip

JSON = "application/json"
FORMS = (JSON, "application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True, slots=True)
class DialectDescription:
    """A dialect's rows, the types of bodies that it reads, where it looks for a token besides
    Bearer and the cookie, and whether all its requests are counted. `alone`: the only accepted
    carrier.
    """

    rows: Mapping[str, Operation]
    bodies: tuple[str, ...] = (JSON,)
    carriers: tuple[str, ...] = ()
    counted: bool = False
    alone: str = ""


DIALECTS: Mapping[str, DialectDescription] = {
    "xhr": DialectDescription(XHR),
    "alekeagle": DialectDescription(ALEKEAGLE, FORMS, ("authorization",), counted=True),
    "datepoll": DialectDescription(DATEPOLL, FORMS, ("token",)),
    "api": DialectDescription(API, alone="apiToken"),
    "rocketchat": DialectDescription(ROCKETCHAT, (JSON,), ("userId", "authToken"), counted=True),
}
