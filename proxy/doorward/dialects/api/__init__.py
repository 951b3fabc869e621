"""The administration API, under `/.doorward/api/v1/`, for tokens of administrators.

    GET     users                        users by name; `q`, `banned`
    POST    users                        a new user; without a password one is generated
    GET     users/{id}                   one user, with its second factors
    PATCH   users/{id}                   {"name", "email", "groups", "roles", …}
    DELETE  users/{id}                   the user and everything that belongs to the user → 204
    POST    users/{id}/ban unban disable enable unlock reset-factors → 204
    POST    users/{id}/password          {"password"}, or none to generate one
    GET     users/{id}/sessions          where the user is logged in
    DELETE  users/{id}/sessions          end all of them
    GET     users/{id}/tokens            the user's API tokens
    DELETE  users/{id}/tokens            end all of them
    GET     sessions                     all users' sessions, the newest first
    DELETE  sessions/{id}                end one → 204
    GET     tokens                       all users' tokens, the newest first
    GET     tokens/{id}                  one token, valid or not
    DELETE  tokens/{id}                  end one → 204
    GET     lockouts                     lock-outs after wrong passwords and codes
    POST    lockouts/unlock              {"address"}: end the lock-out of its network → 204
    GET     audit                        records, the newest first; `user`, `kind`, `since`
    GET     audit/events                 new records, as server-sent events
    GET     explain                      what happens to a request, and why

Accepts only tokens in `Authorization`, as Bearer or Basic, and no sessions, so another site's page
cannot use a cookie here. Errors are `{"error": "<code>", "message": "<sentence>"}`. Knows these
shapes; the core decides who may do what.

`guard` looks for the token, `error_table` turns refusals into answers, `parameters` reads requests,
and `rendering` with `shapes` writes answers. The handlers are in `users`, `logins`, `records` and
`explaining`, and `routes` here.
"""

from starlette.routing import Route

from doorward import paths
from doorward.accounts.administration import Administration
from doorward.accounts.audit.audit_log import AuditLog
from doorward.accounts.sessions.sessions import Sessions
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.dialects.api.error_table import ERROR_FORMAT
from doorward.dialects.api.explaining import ApiExplainEndpoint
from doorward.dialects.api.guard import ApiGuard
from doorward.dialects.api.logins import ApiLoginEndpoints
from doorward.dialects.api.records import ApiRecordEndpoints
from doorward.dialects.api.users import ApiUserEndpoints
from doorward.dialects.context import Context
from doorward.web.endpoint import Handler
from doorward.web.explanation import Explain


def routes(
    context: Context,
    guard: ApiGuard,
    administration: Administration,
    sessions: Sessions,
    tokens: ApiTokens,
    audit_log: AuditLog,
    explain: Explain | None = None,
) -> list[Route]:
    users = ApiUserEndpoints(guard, administration, sessions, tokens)
    logins = ApiLoginEndpoints(guard, administration, sessions, tokens)
    records = ApiRecordEndpoints(guard, administration, audit_log)
    table: dict[str, dict[str, Handler]] = {
        "users": {"get": users.list_all, "post": users.add},
        "users/{id}": {"get": users.show, "patch": users.change, "delete": users.delete},
        "users/{id}/ban": {"post": users.act(administration.ban)},
        "users/{id}/unban": {"post": users.act(administration.unban)},
        "users/{id}/disable": {"post": users.act(administration.disable)},
        "users/{id}/enable": {"post": users.act(administration.enable)},
        "users/{id}/unlock": {"post": users.act(administration.unlock)},
        "users/{id}/reset-factors": {"post": users.act(administration.reset_factors)},
        "users/{id}/password": {"post": users.set_password},
        "users/{id}/sessions": {"get": users.list_sessions, "delete": users.end_sessions},
        "users/{id}/tokens": {"get": users.list_tokens, "delete": users.end_tokens},
        "sessions": {"get": logins.list_sessions},
        "sessions/{id}": {"delete": logins.end_session},
        "tokens": {"get": logins.list_tokens},
        "tokens/{id}": {"get": logins.show_token, "delete": logins.end_token},
        "lockouts": {"get": logins.list_locks},
        "lockouts/unlock": {"post": logins.unlock_network},
        "audit": {"get": records.list_records},
        "audit/events": {"get": records.follow_records, "head": records.peek_records},
    }
    if explain is not None:
        explaining = ApiExplainEndpoint(guard, administration, explain)
        table["explain"] = {"get": explaining.explain_request}
    return [
        context.endpoint(paths.API + path, ERROR_FORMAT, None, **handlers)
        for path, handlers in table.items()
    ]
