"""`doorward user credential …`: users' own accounts at applications, on the live storage.

It knows how to ask and print; the core knows which routes accept them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import owner, with_accounts
from doorward.cli.options import ConfigOption, JsonOption, commands
from doorward.cli.passwords import application_password
from doorward.cli.tables import escape, format_time, print_table, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from doorward.accounts.application_credentials import SealedCredential
    from doorward.wiring.accounts import Accounts

app = commands("Set, list and remove users' own credentials at applications.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="User name or verified address.")]
RouteArgument = Annotated[
    str, typer.Argument(metavar="ROUTE", help="Path of the route, after its host if it has one.")
]
HEADINGS = ("route", "username", "set")


@app.command("set")
def set_credential(
    name: NameArgument,
    route: RouteArgument,
    config: ConfigOption = None,
    username: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Name at the application. Default: NAME.")
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the password from standard input, one line."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Set the name and password that Doorward sends for a user."""
    password = application_password(password_stdin)

    async def job(accounts: Accounts) -> tuple[str, str]:
        from doorward.accounts.application_credentials import ApplicationLogin

        user = await accounts.users.get(name)
        account = user.username if username is None else username
        login = ApplicationLogin(route, account, password)
        await accounts.credentials.set(user, login, actor=owner(), now=time.time())
        return user.username, account

    owned, account = with_accounts(config, job)
    told = {"user": owned, "route": route, "username": account}
    tell(f"credentials of {owned} for {route} set", told, json)


@app.command("list")
def list_credentials(
    name: NameArgument, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """List a user's credentials at applications, without their passwords."""

    async def job(accounts: Accounts) -> Sequence[SealedCredential]:
        return await accounts.credentials.list(await accounts.users.get(name))

    found = with_accounts(config, job)
    if json:
        tell("", [_describe(one) for one in found], json)
    else:
        cells = [(one.route, escape(one.account), format_time(one.set_at)) for one in found]
        print_table(HEADINGS, cells)


def _describe(one: SealedCredential) -> dict[str, object]:
    """The printed form; its keys are part of the command's interface."""
    return {"route": one.route, "username": one.account, "set_at": format_time(one.set_at)}


@app.command()
def remove(
    name: NameArgument,
    route: RouteArgument,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Remove a user's credentials for a route."""

    async def job(accounts: Accounts) -> str:
        user = await accounts.users.get(name)
        await accounts.credentials.remove(user, route, actor=owner(), now=time.time())
        return user.username

    owned = with_accounts(config, job)
    tell(f"credentials of {owned} for {route} removed", {"user": owned, "route": route}, json)
