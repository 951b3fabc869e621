"""What each endpoint of each dialect is for, in words: the rows of the API description.

It knows names and forms; which endpoints there are the routes tell, and how they answer it must
not know. A field or parameter is `name`, `name:type`, and optional with a `?` at its end.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """`public`: for who has no session yet; `factor`: takes the headers of a second factor."""

    summary: str
    success: int = 200
    body: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    public: bool = False
    factor: bool = False


PAGE = ("offset:integer?", "count:integer?", "sort?", "filter?")
NAME_AND_PASSWORD = ("username", "password")

XHR = {
    "POST /xhr/login": Operation("Log in.", body=NAME_AND_PASSWORD, public=True),
    "POST /xhr/login/ldap": Operation("Log in over LDAP.", body=NAME_AND_PASSWORD, public=True),
    "POST /xhr/totp": Operation("Give the code of a login.", 204, body=("token",)),
    "GET /xhr/session": Operation("Who is logged in, and for how long."),
    "GET /xhr/logout": Operation("Log out.", 204),
    "POST /xhr/logout": Operation("Log out.", 204),
    "GET /xhr/session/totp/generate": Operation("A new secret for an authenticator app."),
    "POST /xhr/session/totp": Operation("Turn TOTP on.", 204, body=("secret", "token")),
    "DELETE /xhr/session/totp": Operation("Turn TOTP off.", 204, body=("token",)),
}

# Under the prefix of the settings, with /user or without.
ALEKEAGLE = {
    "POST /session": Operation(
        "Log in, or give the code of a login that asked for it.",
        201,
        body=("user?", "pass?", "rememberMe:boolean?", "2fa:object?"),
        public=True,
    ),
    "GET /session": Operation("The session that asks."),
    "GET /session/{id}": Operation("One of one's sessions."),
    "DELETE /session/{id}": Operation("End one of one's sessions."),
    "GET /sessions": Operation("One's sessions.", query=("limit:integer?", "offset:integer?")),
    "DELETE /sessions": Operation("End several.", body=("sessions:array",)),
    "DELETE /sessions/all": Operation("End all.", query=("allButSelf:boolean?",)),
}

_SIGNED_IN = ("session_information?", "stay_logged_in:boolean?", "code?")
_OWN = "/api/v1/user/myself/session"
DATEPOLL = {
    "POST /api/auth/signin": Operation(
        "Log in.", body=(*NAME_AND_PASSWORD, *_SIGNED_IN), public=True
    ),
    "POST /api/auth/changePasswordAfterSignin": Operation(
        "Log in with a password that has to change, and change it.",
        body=("username", "old_password", "new_password", *_SIGNED_IN),
        public=True,
    ),
    "POST /api/auth/IamLoggedIn": Operation(
        "A new access token for a session secret.",
        202,
        body=("session_token", "session_information?"),
        public=True,
    ),
    f"GET {_OWN}": Operation("One's sessions."),
    f"DELETE {_OWN}/{{id}}": Operation("End one of one's sessions."),
    f"POST {_OWN}/logoutCurrentSession": Operation("Log out.", body=("session_token",)),
    f"DELETE {_OWN}/logoutCurrentSession": Operation("No session has this id."),
}

# Under /api/v1/.
ROCKETCHAT = {
    "POST login": Operation(
        "Log in, or show a token that is good already.",
        body=("user?", "username?", "email?", "password?", "code?", "resume?"),
        public=True,
        factor=True,
    ),
    "GET logout": Operation("Log out."),
    "POST logout": Operation("Log out."),
    "GET me": Operation("Who asks."),
    "GET sessions/list": Operation("One's sessions.", query=PAGE),
    "GET sessions/info": Operation("One of one's sessions, over or not.", query=("sessionId",)),
    "POST sessions/logout.me": Operation("End one of one's sessions.", body=("sessionId",)),
    "POST sessions/logout": Operation("End anybody's session.", body=("sessionId",), factor=True),
    "GET sessions/list.all": Operation("Everybody's sessions.", query=PAGE, factor=True),
    "GET sessions/info.admin": Operation(
        "One of anybody's sessions.", query=("sessionId",), factor=True
    ),
    "POST users.logoutOtherClients": Operation("End all of one's sessions but this."),
    "POST users.logout": Operation("End all sessions of a user.", body=("userId?",)),
    "POST users.2fa.sendEmailCode": Operation(
        "Mail a code to who is logging in.", body=("emailOrUsername",), public=True
    ),
    "POST users.2fa.enableEmail": Operation("Codes by mail on.", factor=True),
    "POST users.2fa.disableEmail": Operation("Codes by mail off.", factor=True),
    "POST users.totp.enable": Operation("A new secret for an authenticator app.", factor=True),
    "POST users.totp.validate": Operation("Turn TOTP on.", body=("code",)),
    "POST users.totp.disable": Operation("Turn TOTP off.", body=("code",)),
    "POST users.totp.regenerateCodes": Operation("New recovery codes.", body=("code",)),
    "GET users.totp.codesRemaining": Operation("How many recovery codes are unused."),
}

ERRORS = {
    "xhr": ("error", "message"),
    "alekeagle": ("code", "message", "fields:array?"),
    "datepoll": ("msg?", "error_code?"),
    "rocketchat": (
        "success:boolean?",
        "status?",
        "error?",
        "errorType?",
        "details:object?",
        "message?",
    ),
}
