"""The `alekeagle` dialect: lists and ends the user's own sessions, and logs in with a token.

    POST    P/user/session        {"user", "pass", "rememberMe"?} → 201 {"token", "exp"}
                                  {"2fa": {"token", "type", "code"}} after a login that asked for it
    GET     P/user/session        200 {"iat", "exp", "name", "sub"}: the caller's session
    GET     P/user/session/:id    200 one of the user's sessions
    GET     P/user/sessions       200 {"count", "items"}; ?limit= (at most 50) and ?offset=
    DELETE  P/user/session/:id    200 {"code": "GENERIC_SUCCESS", "message"}
    DELETE  P/user/sessions       {"sessions": ["<id>", …]} → 200 {"count", "type"}
    DELETE  P/user/sessions/all   200 {"count", "type"}; ?allButSelf=true keeps the caller's session

P is the setting `prefix`; with `sample_paths` every endpoint also answers without `/user`. Knows
these shapes; must not know who may log in, or which sessions exist. A session's id is its `iat`,
times are Unix seconds. Bodies may be JSON, urlencoded or multipart; every answer is JSON.

Its files follow the order that every dialect has. The token is in Authorization, with or without
Bearer before it; `gate/identify.py` looks for it if this dialect is on. Then come `error_table`
(refusal → status and body), `rendering` with `names` and `shapes` (sessions as JSON), the handlers
in `own_sessions` and `login` over `bodies` and `limits`, and `routes` here.
"""

from starlette.routing import Route

from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.sessions.sessions import Sessions
from doorward.dialects.alekeagle.error_table import ERROR_FORMAT as ERROR_FORMAT
from doorward.dialects.alekeagle.error_table import ERROR_TABLE as ERROR_TABLE
from doorward.dialects.alekeagle.limits import RateLimits
from doorward.dialects.alekeagle.login import TokenLogin
from doorward.dialects.alekeagle.own_sessions import OwnSessions
from doorward.dialects.context import Context
from doorward.settings.dialects import DialectAlekeagle
from doorward.storage.rates import Rates
from doorward.web.endpoint import Handler


def routes(
    context: Context,
    dialect: DialectAlekeagle,
    sessions: Sessions,
    factors: SecondFactors,
    rates: Rates,
) -> list[Route]:
    limits = RateLimits(context, dialect, rates)
    login = TokenLogin(context, dialect, limits, sessions, factors)
    own = OwnSessions(context, sessions)
    table: dict[str, dict[str, Handler]] = {
        "/session": {
            "get": own.show,
            "post": limits.report_logins(context.catch(login.login, ERROR_FORMAT)),
        },
        "/session/{id}": {"get": own.show_other, "delete": own.end_one},
        "/sessions": {"get": own.list_own, "delete": own.end_many},
        "/sessions/all": {"delete": own.end_all},
    }
    places = [f"{dialect.prefix}/user", *([dialect.prefix] if dialect.sample_paths else [])]
    return [
        context.endpoint(place + path, ERROR_FORMAT, limits, **handlers)
        for place in places
        for path, handlers in table.items()
    ]
