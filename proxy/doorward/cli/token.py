"""`doorward token …`: creates, shows and ends tokens for programs, on the live storage.

It knows how to ask and print; the core decides what a token allows, and who may end it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import iterate_owned, owner, with_accounts
from doorward.cli.options import ConfigOption, JsonOption, commands, read_option, read_seconds
from doorward.cli.tables import (
    escape,
    format_time,
    print_list,
    tell,
)
from doorward.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from doorward.accounts.token import ApiToken, MadeToken
    from doorward.wiring.accounts import Accounts

app = commands("Create, list and revoke tokens for programs.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="ID as shown by the list.")]
Strings = list[str] | None


@app.command()
def add(
    user: Annotated[str, typer.Argument(metavar="USER", help="User name or verified address.")],
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="What the token is for, such as phone.")
    ],
    config: ConfigOption = None,
    route: Annotated[
        Strings,
        typer.Option(metavar="PATH", help="Only this path and everything below. Can be repeated."),
    ] = None,
    method: Annotated[
        Strings,
        typer.Option("--method", metavar="METHOD", help="Only this method. Can be repeated."),
    ] = None,
    network: Annotated[
        Strings,
        typer.Option(
            "--network", metavar="NETWORK", help="Only from this network. Can be repeated."
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="How long it is valid, such as 90d. Default: forever."
        ),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope",
            metavar="admin:read|admin:write",
            help="Only for the administration API.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create a token for a program of this user, and print it once."""
    from doorward.accounts.tokens.scopes import parse_route
    from doorward.settings import addresses, patterns

    life_s = None if expires is None else read_seconds("--expires", expires)
    admin = None if scope is None else _admin_scope(scope)
    routes = _each("--route", route, parse_route)
    methods = _each("--method", method, patterns.method)
    networks = _each("--network", network, lambda text: str(addresses.network(text)))

    async def job(accounts: Accounts) -> MadeToken:
        from doorward.accounts.session import TokenScope
        from doorward.accounts.token import NewToken

        new = NewToken(name, TokenScope(routes, methods, networks, admin), life_s)
        owned = await accounts.users.get(user)
        return await accounts.api_tokens.add_token(owned, new, actor=owner(), now=time.time())

    made = with_accounts(config, job)
    sentences = [
        f"token {made.token.id} of {made.token.user.username} created",
        f"token: {made.text}",
    ]
    tell(sentences, _describe(made.token) | {"token": made.text}, json)


@app.command("list")
def list_tokens(
    config: ConfigOption = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only tokens of this user.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List valid tokens, newest first."""

    async def job(accounts: Accounts) -> None:
        tokens = accounts.api_tokens
        found = iterate_owned(accounts, user, tokens.list, tokens.every)
        await print_list(found, HEADINGS, _cells, _describe, json)

    with_accounts(config, job)


@app.command()
def show(id: IdArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show one token, without its secret."""
    token = with_accounts(config, lambda accounts: accounts.api_tokens.get(id))
    shown = _describe(token)
    tell([f"{key}: {_format(value)}" for key, value in shown.items()], shown, json)


@app.command()
def revoke(id: IdArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Revoke a token at once, also on a running server."""
    token = with_accounts(
        config,
        lambda accounts: accounts.api_tokens.revoke(id, actor=owner(), now=time.time()),
    )
    told = {"id": token.id, "user": token.user.username}
    tell(f"token {token.id} of {token.user.username} ended", {"ended": [told]}, json)


@app.command("revoke-all")
def revoke_all(
    user: Annotated[str, typer.Argument(metavar="USER", help="User name or verified address.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Revoke every token of a user."""

    async def job(accounts: Accounts) -> tuple[str, int]:
        owned = await accounts.users.get(user)
        ended = await accounts.api_tokens.revoke_all(owned, actor=owner(), now=time.time())
        return owned.username, ended

    username, ended = with_accounts(config, job)
    sentence = f"{format_count(ended, 'token')} of {username} ended"
    tell(sentence, {"user": username, "ended": ended}, json)


def _each(option: str, texts: Strings, parse: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(read_option(option, text, parse) for text in texts or ())


def _admin_scope(text: str) -> str:
    from doorward.settings.values import choice

    return read_option("--scope", text, choice("admin:read", "admin:write")).removeprefix("admin:")


def _describe(token: ApiToken) -> dict[str, object]:
    """The printed form of a token; its keys are part of the command's interface."""
    return {
        "id": token.id,
        "user": token.user.username,
        "name": token.name,
        "routes": list(token.scope.routes),
        "methods": list(token.scope.methods),
        "networks": list(token.scope.networks),
        "scope": None if token.scope.admin is None else f"admin:{token.scope.admin}",
        "created_at": _time(token.created_at),
        "expires_at": _time(token.expires_at),
        "last_used_at": _time(token.last_used_at),
        "address": token.address,
        "user_agent": token.user_agent,
        "state": _state(token),
    }


def _time(at: float | None) -> str | None:
    return None if at is None else format_time(at)


def _state(token: ApiToken) -> str:
    if token.is_over(time.time()):
        return "expired" if token.ended_at is None else "ended"
    return "active" if token.user.is_usable else "suspended"


HEADINGS = ("id", "user", "name", "opens", "expires", "last used", "address", "state")


def _cells(token: ApiToken) -> tuple[str, ...]:
    return (
        token.id,
        token.user.username,
        escape(token.name),
        _describe_scope(token),
        _time(token.expires_at) or "never",
        _time(token.last_used_at) or "never",
        token.address,
        _state(token),
    )


def _describe_scope(token: ApiToken) -> str:
    if token.scope.admin is not None:
        return f"admin:{token.scope.admin}"
    narrowing = (token.scope.methods, token.scope.routes, token.scope.networks)
    return " ".join(",".join(entries) for entries in narrowing if entries) or "everything"


def _format(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value in (None, "") else escape(str(value))
