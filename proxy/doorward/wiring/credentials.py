"""The credentials that routes send to their applications, built from the settings.

Knows the constructor of every kind; must not know what any of them does.
"""

from __future__ import annotations

from collections.abc import Iterable

from doorward.accounts.application_credentials import ApplicationCredential, ApplicationCredentials
from doorward.accounts.user import User
from doorward.rewrite.form_credentials import FindAccount, FormCredentials
from doorward.rewrite.login_form import ApplicationForm
from doorward.rewrite.route_credentials import (
    PreparedCredentials,
    RouteCredentials,
    SharedCredentials,
    UserCredentials,
)
from doorward.settings import Route
from doorward.settings.application_secrets import ApplicationSecrets
from doorward.settings.credentials import FormLogin
from doorward.wiring.accounts import Clock


def build_credentials(
    routes: Iterable[Route], secrets: ApplicationSecrets, own: ApplicationCredentials, clock: Clock
) -> dict[int, RouteCredentials]:
    """The credentials of routes that have any, by route number; `own` are those of users."""
    found: dict[int, RouteCredentials] = {}
    for number, route in enumerate(routes):
        chosen = route.credentials
        if chosen is None:
            continue
        if chosen.basic is not None:
            secret = secrets.get(chosen.basic.password_file)
            found[number] = SharedCredentials(secret, chosen.basic.username)
        elif chosen.bearer_file is not None:
            found[number] = SharedCredentials(secrets.get(chosen.bearer_file), None)
        elif chosen.form is not None:
            find = _build_account(route, chosen.form, secrets, own)
            found[number] = FormCredentials(ApplicationForm(route, chosen.form), find, clock)
        else:
            found[number] = UserCredentials(route.name, own.find)
    return found


def select_prepared(found: dict[int, RouteCredentials]) -> dict[int, PreparedCredentials]:
    """The credentials that have to be looked up before a request is sent."""
    return {
        number: one
        for number, one in found.items()
        if isinstance(one, UserCredentials | FormCredentials)
    }


def _build_account(
    route: Route, form: FormLogin, secrets: ApplicationSecrets, own: ApplicationCredentials
) -> FindAccount:
    """The account at the application: one for all users, or the user's own."""
    username, path = form.username, form.password_file
    if username is not None and path is not None:
        secret = secrets.get(path)

        async def find_shared(user: User) -> ApplicationCredential | None:
            return ApplicationCredential(username, secret.text)

        return find_shared

    async def find_own(user: User) -> ApplicationCredential | None:
        return await own.find(user, route.name)

    return find_own
