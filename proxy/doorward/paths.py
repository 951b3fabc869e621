"""Every path that Doorward answers itself, besides those of dialects: each is spelt here alone.

It knows names; it must not know what stands behind them.
"""

PREFIX = "/.doorward/"

LOGIN = PREFIX + "login"
LOGOUT = PREFIX + "logout"
HANDOVER = PREFIX + "handover"  # sessions for hosts of other root domains
SECOND_FACTOR = PREFIX + "second-factor"
FORGOTTEN = PREFIX + "forgotten"
RESET = PREFIX + "reset"  # `?token=` behind it sets somebody's password

ACCOUNT = PREFIX + "account"
AUTHENTICATOR = ACCOUNT + "/authenticator"
SESSION = PREFIX + "session"
EXPIRY_SCRIPT = SESSION + ".js"  # applications include it
ADMIN = PREFIX + "admin"
API = PREFIX + "api/v1/"

VERIFY = PREFIX + "verify"  # for front proxies, each under its own name below
KEYS = PREFIX + "jwks.json"
HEALTH = PREFIX + "healthz"
OPENAPI = PREFIX + "openapi.json"
STATIC = PREFIX + "static/"

# Endpoints under the names of other programs that front proxies ask: served where an alias is on.
OAUTH2_PROXY = "/oauth2/"
AUTHENTIK = "/outpost.goauthentik.io/"
