"""The `rocketchat` dialect: sessions and second factors with the paths and shapes of its document.

All under `/api/v1/`. A success ends with `"success": true`, except for login and logout.

    POST       login                          {"user", "password", "code"?} → {"status", "data"}
    GET, POST  logout                         ends the presented session; HEAD changes nothing
    GET        me                             the caller
    GET        sessions/list                  own sessions; offset, count, sort, filter
    GET        sessions/info                  ?sessionId= one of the caller's own, ended or not
    POST       sessions/logout.me             {"sessionId"} ends one of the caller's own
    POST       sessions/logout             *  {"sessionId"} ends any user's
    GET        sessions/list.all           *  all users' sessions
    GET        sessions/info.admin         *  ?sessionId= any user's
    POST       users.logoutOtherClients       ends all of the caller's others
    POST       users.logout                   {"userId"?} ends all of a user's
    POST       users.2fa.sendEmailCode        {"emailOrUsername"}, without a login
    POST       users.2fa.enableEmail          needs a code if a factor is on
    POST       users.2fa.disableEmail      +  the e-mail factor off
    POST       users.totp.enable              a secret to validate; needs a code if a factor is on
    POST       users.totp.validate            {"code"} TOTP on, recovery codes
    POST       users.totp.disable             {"code"}
    POST       users.totp.regenerateCodes     {"code"}
    GET        users.totp.codesRemaining

*: requires a permission, valid parameters and a second factor, in this order; a trusted session
needs no second factor. +: requires a second factor every time. Knows these shapes; must not know
who may do what.

Its files follow the order that every dialect has: `carriers` (where it looks for a token),
`error_table` (refusal → status and body), `rendering` with `shapes` (sessions as JSON), the
handlers in `login`, `devices` and `factors` over what they share in `guard`, and `routes` here.
"""

from starlette.routing import Route

from doorward.accounts.administration import Administration
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.passwords.regulation import Regulation
from doorward.accounts.sessions.sessions import Sessions
from doorward.accounts.users.users import Users
from doorward.dialects.context import Context
from doorward.dialects.rocketchat.carriers import Limit
from doorward.dialects.rocketchat.devices import Devices
from doorward.dialects.rocketchat.error_table import ERROR_FORMAT, LOGIN_ERROR_FORMAT
from doorward.dialects.rocketchat.error_table import ERROR_TABLE as ERROR_TABLE
from doorward.dialects.rocketchat.error_table import LOGIN_ERROR_TABLE as LOGIN_ERROR_TABLE
from doorward.dialects.rocketchat.factors import OwnFactors
from doorward.dialects.rocketchat.guard import RequestGuard
from doorward.dialects.rocketchat.login import LoginAndLogout
from doorward.settings.dialects import DialectRocketchat
from doorward.storage.rates import Rates
from doorward.web.endpoint import Handler

PREFIX = "/api/v1/"
OPEN = frozenset(("login", "users.2fa.sendEmailCode"))  # for clients without a session


def routes(
    context: Context,
    dialect: DialectRocketchat,
    *,
    users: Users,
    sessions: Sessions,
    factors: SecondFactors,
    administration: Administration,
    regulation: Regulation,
    rates: Rates,
) -> list[Route]:
    guard = RequestGuard(context, factors)
    login = LoginAndLogout(guard, dialect, sessions, factors, administration)
    devices = Devices(guard, sessions, administration)
    own_factors = OwnFactors(guard, users, sessions, factors, regulation)
    table: dict[str, dict[str, Handler]] = {
        "login": {"post": login.login},
        "logout": {"get": login.logout, "head": login.peek_logout, "post": login.logout},
        "me": {"get": login.me},
        "sessions/list": {"get": devices.list_own},
        "sessions/info": {"get": devices.info},
        "sessions/logout.me": {"post": devices.end_own},
        "sessions/logout": {"post": devices.end_any},
        "sessions/list.all": {"get": devices.list_all},
        "sessions/info.admin": {"get": devices.info_admin},
        "users.logoutOtherClients": {"post": login.logout_others},
        "users.logout": {"post": login.logout_user},
        "users.2fa.sendEmailCode": {"post": own_factors.send_code},
        "users.2fa.enableEmail": {"post": own_factors.enable_email},
        "users.2fa.disableEmail": {"post": own_factors.disable_email},
        "users.totp.enable": {"post": own_factors.begin_totp},
        "users.totp.validate": {"post": own_factors.confirm_totp},
        "users.totp.disable": {"post": own_factors.remove_totp},
        "users.totp.regenerateCodes": {"post": own_factors.regenerate},
        "users.totp.codesRemaining": {"get": own_factors.remaining},
    }
    rate = dialect.rate_limit
    return [
        context.endpoint(
            PREFIX + name,
            LOGIN_ERROR_FORMAT if name == "login" else ERROR_FORMAT,
            None if rate is None else Limit(context, rates, rate, name, name in OPEN),
            **handlers,
        )
        for name, handlers in table.items()
    ]
