"""`doorward user …`: the users of every source, changed on the live storage.

It knows how to ask and to print; what is allowed is the core's business.
"""

from __future__ import annotations

import json as json_format
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.accounts import confirm_or_leave, with_accounts
from proxy.cli.imports import import_users
from proxy.cli.options import ConfigOption, JsonOption
from proxy.cli.passwords import new_password

if TYPE_CHECKING:
    from proxy.accounts.core import Accounts
    from proxy.accounts.editing import Edit
    from proxy.accounts.user import Email, User

WIDTH_OF_A_PIPE = 10_000

app = typer.Typer(name="user", help="Users: add, list, ban, delete …", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="User name or verified address.")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]
GenerateOption = Annotated[
    bool, typer.Option("--generate", help="Generate a password and print it once.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="User name.")],
    config: ConfigOption = None,
    email: Annotated[str | None, typer.Option(help="E-mail address; counts as verified.")] = None,
    display_name: Annotated[str | None, typer.Option("--name", help="Display name.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Group; may be repeated.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Role; may be repeated.")] = None,
    super_admin: Annotated[bool, typer.Option("--super-admin", help="Every permission.")] = False,
    must_change_password: Annotated[
        bool, typer.Option("--must-change-password", help="Ask for a new password first.")
    ] = False,
    password_stdin: StdinOption = False,
    generate: GenerateOption = False,
) -> None:
    """Add a user to the database."""
    password = new_password(password_stdin, generate)

    async def job(accounts: Accounts) -> User:
        return await accounts.users.add(
            name,
            password,
            now=time.time(),
            emails=[] if email is None else [_verified(email)],
            name=display_name,
            groups=group or [],
            roles=role or [],
            super_admin=super_admin,
            must_change_password=must_change_password,
        )

    user = with_accounts(config, job)
    typer.echo(f"user {user.username} added")
    _show_generated(password, generate)


@app.command("list")
def list_users(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List all users."""
    users = with_accounts(config, lambda accounts: accounts.users.list())
    if json:
        typer.echo(_json([_described(user) for user in users]))
    else:
        _print_table(users)


@app.command()
def show(name: NameArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show one user."""
    user = with_accounts(config, lambda accounts: accounts.users.get(name))
    described = _described(user)
    if json:
        typer.echo(_json(described))
        return
    for key, value in described.items():
        typer.echo(f"{key}: {_plain(value)}")


@app.command()
def passwd(
    name: NameArgument,
    config: ConfigOption = None,
    password_stdin: StdinOption = False,
    generate: GenerateOption = False,
    must_change: Annotated[
        bool, typer.Option("--must-change", help="Ask for another password at the next login.")
    ] = False,
) -> None:
    """Set a password; ends the user's sessions."""
    password = new_password(password_stdin, generate)

    async def job(accounts: Accounts) -> User:
        return await accounts.users.set_password(
            name, password, now=time.time(), must_change=must_change
        )

    user = with_accounts(config, job)
    typer.echo(f"password of {user.username} changed")
    _show_generated(password, generate)


@app.command()
def edit(
    name: NameArgument,
    config: ConfigOption = None,
    display_name: Annotated[
        str | None, typer.Option("--name", help="Display name; empty: none.")
    ] = None,
    add_email: Annotated[list[str] | None, typer.Option(help="Counts as verified.")] = None,
    remove_email: Annotated[list[str] | None, typer.Option()] = None,
    add_group: Annotated[list[str] | None, typer.Option()] = None,
    remove_group: Annotated[list[str] | None, typer.Option()] = None,
    add_role: Annotated[list[str] | None, typer.Option()] = None,
    remove_role: Annotated[list[str] | None, typer.Option()] = None,
    super_admin: Annotated[
        bool | None, typer.Option("--super-admin/--no-super-admin", help="Every permission.")
    ] = None,
    must_change_password: Annotated[
        bool | None,
        typer.Option("--must-change-password/--no-must-change-password", help="At the next login."),
    ] = None,
) -> None:
    """Change name, addresses, groups and roles; options may be repeated."""

    def wanted() -> Edit:
        from proxy.accounts.editing import Edit

        return Edit(
            name=display_name,
            add_emails=tuple(map(_verified, add_email or ())),
            remove_emails=tuple(remove_email or ()),
            add_groups=tuple(add_group or ()),
            remove_groups=tuple(remove_group or ()),
            add_roles=tuple(add_role or ()),
            remove_roles=tuple(remove_role or ()),
            super_admin=super_admin,
            must_change_password=must_change_password,
        )

    user = with_accounts(config, lambda accounts: accounts.users.edit(name, wanted(), time.time()))
    typer.echo(f"user {user.username} changed")


app.command("import")(import_users)


@app.command("reset-totp")
def reset_totp(name: NameArgument, config: ConfigOption = None, yes: YesOption = False) -> None:
    """Take a user's authenticator app and recovery codes away; ends its sessions."""
    confirm_or_leave(f"Take the second factor of user {name} away?", yes)

    async def job(accounts: Accounts) -> User:
        user = await accounts.users.get(name)
        await accounts.second_factors.reset_totp(user, time.time())
        return user

    user = with_accounts(config, job)
    typer.echo(f"second factor of {user.username} taken away")


@app.command()
def ban(name: NameArgument, config: ConfigOption = None) -> None:
    """Ban a user; its sessions are suspended."""
    user = with_accounts(config, lambda accounts: accounts.users.ban(name, time.time()))
    typer.echo(f"user {user.username} banned")


@app.command()
def unban(name: NameArgument, config: ConfigOption = None) -> None:
    """Lift a ban; sessions that have not expired work again."""
    user = with_accounts(config, lambda accounts: accounts.users.unban(name, time.time()))
    typer.echo(f"user {user.username} no longer banned")


@app.command()
def unlock(name: NameArgument, config: ConfigOption = None) -> None:
    """Let a user try passwords and codes again, from everywhere."""

    async def job(accounts: Accounts) -> User:
        user = await accounts.users.get(name)
        await accounts.second_factors.unlock(user)
        await accounts.regulation.unlock(user, time.time())
        return user

    typer.echo(f"user {with_accounts(config, job).username} unlocked")


@app.command()
def enable(name: NameArgument, config: ConfigOption = None) -> None:
    """Let a disabled user log in again."""
    user = with_accounts(config, lambda accounts: accounts.users.enable(name, time.time()))
    typer.echo(f"user {user.username} enabled")


@app.command()
def disable(name: NameArgument, config: ConfigOption = None) -> None:
    """Refuse a user's logins; ends its sessions."""
    user = with_accounts(config, lambda accounts: accounts.users.disable(name, time.time()))
    typer.echo(f"user {user.username} disabled")


@app.command()
def delete(name: NameArgument, config: ConfigOption = None, yes: YesOption = False) -> None:
    """Delete a user, with all that hangs on it."""
    confirm_or_leave(f"Delete user {name}?", yes)
    user = with_accounts(config, lambda accounts: accounts.users.delete(name, time.time()))
    typer.echo(f"user {user.username} deleted")


def _verified(address: str) -> Email:
    from proxy.accounts.user import Email

    return Email(address, verified=True)


def _show_generated(password: str, generate: bool) -> None:
    if generate:
        typer.echo(f"password: {password}")


def _described(user: User) -> dict[str, object]:
    """What is printed of a user; the keys are part of the command's interface."""
    created = datetime.fromtimestamp(user.created_at, UTC)
    return {
        "username": user.username,
        "id": user.id,
        "name": user.name,
        "emails": [{"address": e.address, "verified": e.verified} for e in user.emails],
        "groups": list(user.groups),
        "roles": list(user.roles),
        "super_admin": user.super_admin,
        "source": user.source,
        "active": user.active,
        "banned": user.banned,
        "must_change_password": user.must_change_password,
        "created_at": created.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def _json(value: object) -> str:
    return json_format.dumps(value, indent=2, ensure_ascii=False)


def _plain(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value) or "-"
    if isinstance(value, dict):
        return f"{value['address']}" + ("" if value["verified"] else " (not verified)")
    return "-" if value is None else str(value)


def _state(user: User) -> str:
    states = [
        ("banned", user.banned),
        ("disabled", not user.active),
        ("must change password", user.must_change_password),
    ]
    return ", ".join(state for state, applies in states if applies) or "active"


def _print_table(users: Sequence[User]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("user", "name", "e-mail", "groups", "roles", "source", "state", box=None)
    for user in users:
        roles = ["super admin"] * user.super_admin + list(user.roles)
        cells = (
            user.username,
            user.name or "",
            ", ".join(email.address for email in user.emails),
            ", ".join(user.groups),
            ", ".join(roles),
            user.source,
            _state(user),
        )
        table.add_row(*map(Text, cells))  # Text: what looks like markup in a name is not
    # Into a pipe nothing is cut to the width of a terminal that is not there.
    width = None if sys.stdout.isatty() else WIDTH_OF_A_PIPE
    Console(width=width).print(table)
