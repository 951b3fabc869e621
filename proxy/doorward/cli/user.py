"""`doorward user …`: lists and changes users of every source, on the live storage.

It knows how to ask and print; the core decides what is allowed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli import credential
from doorward.cli.accounts import confirm_or_leave, owner, with_accounts
from doorward.cli.display import describe_user, describe_with_factors, format_value, print_users
from doorward.cli.holders import name_the_holder
from doorward.cli.imports import import_users
from doorward.cli.options import ConfigOption, JsonOption, WeakOption, commands
from doorward.cli.passwords import explain_weakness, new_password
from doorward.cli.tables import tell

if TYPE_CHECKING:
    from doorward.accounts.permissions import Owner
    from doorward.accounts.user import Email, User
    from doorward.accounts.users.editing import Edit
    from doorward.wiring.accounts import Accounts

app = commands("Add, list and change users.")
app.add_typer(credential.app, name="credential")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="User name or verified address.")]
StdinOption = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from standard input (one line)."),
]
GenerateOption = Annotated[
    bool, typer.Option("--generate", help="Generate a password and print it once.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="User name.")],
    config: ConfigOption = None,
    email: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="E-mail address (counts as verified).")
    ] = None,
    display_name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="Display name.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="Group. Can be repeated.")
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option("--role", metavar="ROLE", help="Role. Can be repeated.")
    ] = None,
    super_admin: Annotated[
        bool, typer.Option("--super-admin", help="Super administrator, who can do everything.")
    ] = False,
    must_change_password: Annotated[
        bool,
        typer.Option("--must-change-password", help="Require a new password at the first login."),
    ] = False,
    password_stdin: StdinOption = False,
    generate: GenerateOption = False,
    weak: WeakOption = False,
    json: JsonOption = False,
) -> None:
    """Add a user to the database."""
    password = new_password(password_stdin, generate)

    async def job(accounts: Accounts) -> User:
        addresses = [] if email is None else [email]
        async with name_the_holder(accounts, name, addresses):
            with explain_weakness():
                return await accounts.users.add(
                    name,
                    password,
                    now=time.time(),
                    emails=[] if email is None else [_verified_email(email)],
                    name=display_name,
                    groups=group or [],
                    roles=role or [],
                    super_admin=super_admin,
                    must_change_password=must_change_password,
                    allow_guessable=weak,
                )

    user = with_accounts(config, job)
    _tell(f"user {user.username} added", user, json, password if generate else None)


@app.command("list")
def list_users(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List all users."""

    async def job(accounts: Accounts) -> None:
        await print_users(accounts.administration.everyone(), json)

    with_accounts(config, job)


@app.command()
def show(name: NameArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show one user."""

    async def job(accounts: Accounts) -> dict[str, object]:
        return await describe_with_factors(accounts, await accounts.users.get(name))

    shown = with_accounts(config, job)
    tell([f"{key}: {format_value(value)}" for key, value in shown.items()], shown, json)


@app.command()
def passwd(
    name: NameArgument,
    config: ConfigOption = None,
    password_stdin: StdinOption = False,
    generate: GenerateOption = False,
    weak: WeakOption = False,
    must_change: Annotated[
        bool, typer.Option("--must-change", help="Require a new password at the next login.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Set a user's password and end the user's sessions."""
    password = new_password(password_stdin, generate)

    async def job(accounts: Accounts, by: Owner) -> User:
        with explain_weakness():
            return await accounts.users.set_password(
                name,
                password,
                now=time.time(),
                actor=by,
                must_change=must_change,
                allow_guessable=weak,
            )

    user = _change_user(config, job)
    _tell(f"password of {user.username} changed", user, json, password if generate else None)


@app.command()
def edit(
    name: NameArgument,
    config: ConfigOption = None,
    display_name: Annotated[
        str | None,
        typer.Option("--name", metavar="TEXT", help="Display name. An empty one removes it."),
    ] = None,
    add_email: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="E-mail address to add (counts as verified)."),
    ] = None,
    remove_email: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="E-mail address to remove.")
    ] = None,
    add_group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="Group to add.")
    ] = None,
    remove_group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="Group to remove.")
    ] = None,
    add_role: Annotated[list[str] | None, typer.Option(metavar="ROLE", help="Role to add.")] = None,
    remove_role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE", help="Role to remove.")
    ] = None,
    super_admin: Annotated[
        bool | None,
        typer.Option(
            "--super-admin/--no-super-admin", help="Super administrator, who can do everything."
        ),
    ] = None,
    must_change_password: Annotated[
        bool | None,
        typer.Option(
            "--must-change-password/--no-must-change-password",
            help="Require a new password at the next login.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Change a user's name, addresses, groups and roles. Options can be repeated."""

    def wanted() -> Edit:
        from doorward.accounts.users.editing import Edit

        return Edit(
            name=display_name,
            add_emails=tuple(map(_verified_email, add_email or ())),
            remove_emails=tuple(remove_email or ()),
            add_groups=tuple(add_group or ()),
            remove_groups=tuple(remove_group or ()),
            add_roles=tuple(add_role or ()),
            remove_roles=tuple(remove_role or ()),
            super_admin=super_admin,
            must_change_password=must_change_password,
        )

    async def job(accounts: Accounts) -> tuple[User, User]:
        before = await accounts.users.get(name)
        async with name_the_holder(accounts, None, add_email or ()):
            return before, await accounts.users.edit(name, wanted(), time.time(), actor=owner())

    before, user = with_accounts(config, job)
    what = "changed" if user != before else "already is like this: nothing has changed"
    _tell(f"user {user.username} {what}", user, json)


app.command("import")(import_users)


@app.command("reset-totp")
def reset_totp(
    name: NameArgument,
    config: ConfigOption = None,
    yes: YesOption = False,
    email: Annotated[bool, typer.Option("--email", help="Also turn off codes by e-mail.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove a user's authenticator app and recovery codes, and end the user's sessions."""
    confirm_or_leave(f"Remove the second factor of user {name}?", yes)

    async def job(accounts: Accounts) -> tuple[User, bool]:
        user, factors, now = await accounts.users.get(name), accounts.second_factors, time.time()
        await factors.reset_totp(user, now, actor=owner(), email=email)
        return user, bool(await factors.list_enabled(user))

    user, is_asked = with_accounts(config, job)
    rest = "; codes by e-mail are still asked for (--email)" if is_asked else ""
    _tell(f"second factor of {user.username} removed{rest}", user, json)


@app.command()
def ban(name: NameArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Ban a user: suspend the user's sessions and refuse logins."""
    user = _change_user(
        config, lambda accounts, by: accounts.users.ban(name, time.time(), actor=by)
    )
    _tell(f"user {user.username} banned", user, json)


@app.command()
def unban(name: NameArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Lift a ban. Sessions that have not expired work again."""
    user = _change_user(
        config, lambda accounts, by: accounts.users.unban(name, time.time(), actor=by)
    )
    _tell(f"user {user.username} no longer banned", user, json)


@app.command()
def unlock(name: NameArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Unlock a user who was locked after wrong passwords or codes."""

    async def job(accounts: Accounts) -> User:
        user = await accounts.users.get(name)
        await accounts.second_factors.unlock(user, actor=owner())
        await accounts.regulation.unlock(user, time.time(), actor=owner())
        return user

    user = with_accounts(config, job)
    _tell(f"user {user.username} unlocked", user, json)


@app.command()
def enable(name: NameArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Let a disabled user log in again."""
    user = _change_user(
        config, lambda accounts, by: accounts.users.enable(name, time.time(), actor=by)
    )
    _tell(f"user {user.username} enabled", user, json)


@app.command()
def disable(name: NameArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Disable a user: end the user's sessions and refuse logins."""
    user = _change_user(
        config, lambda accounts, by: accounts.users.disable(name, time.time(), actor=by)
    )
    _tell(f"user {user.username} disabled", user, json)


@app.command()
def delete(
    name: NameArgument,
    config: ConfigOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete a user and everything that belongs to the user."""
    confirm_or_leave(f"Delete user {name}?", yes)
    user = with_accounts(
        config, lambda accounts: accounts.users.delete(name, time.time(), actor=owner())
    )
    _tell(f"user {user.username} deleted", user, json)


def _change_user(config: Path | None, change: Callable[[Accounts, Owner], Awaitable[User]]) -> User:
    """Change a user, and return the changed user."""

    async def job(accounts: Accounts) -> User:
        user = await change(accounts, owner())
        return await accounts.users.get(user.username)

    return with_accounts(config, job)


def _tell(sentence: str, user: User, json: bool, password: str | None = None) -> None:
    """`password`: a generated one, which is only shown now."""
    secret = {} if password is None else {"password": password}
    sentences = [sentence, *(f"{key}: {value}" for key, value in secret.items())]
    tell(sentences, describe_user(user) | secret, json)


def _verified_email(address: str) -> Email:
    from doorward.accounts.user import Email

    return Email(address, verified=True)
