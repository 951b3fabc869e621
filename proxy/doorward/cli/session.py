"""`doorward session …`: lists and ends sessions, on the live storage.

It knows how to print; the core knows what ends with a session.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import iterate_owned, owner, with_accounts
from doorward.cli.exits import REFUSED
from doorward.cli.options import ConfigOption, JsonOption, commands
from doorward.cli.tables import (
    escape,
    format_time,
    print_list,
    tell,
)
from doorward.text import format_count

if TYPE_CHECKING:
    from doorward.accounts.session import Session
    from doorward.wiring.accounts import Accounts

app = commands("List and end sessions.")


@app.command("list")
def list_sessions(
    config: ConfigOption = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only sessions of this user.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List open sessions, newest first."""

    async def job(accounts: Accounts) -> None:
        every = accounts.administration.every_session
        found = iterate_owned(accounts, user, accounts.sessions.list, every)
        await print_list(found, HEADINGS, _cells, _describe, json)

    with_accounts(config, job)


@app.command()
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="IDs as shown by the list.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """End sessions at once, also on a running server."""

    async def job(accounts: Accounts) -> tuple[list[Session], list[str]]:
        found, unknown = await _find_sessions(accounts, ids)
        for session in found:
            await accounts.sessions.revoke(session.id, actor=owner(), now=time.time())
        return found, unknown

    ended, unknown = with_accounts(config, job)
    sentences = [f"session {one.id} of {one.user.username} ended" for one in ended]
    shown = [{"id": one.id, "user": one.user.username} for one in ended]
    tell(sentences, {"ended": shown, "unknown": unknown}, json)
    for id in unknown:
        typer.echo(f"There is no session {id if id.isprintable() else ascii(id)}.", err=True)
    if unknown:
        raise typer.Exit(REFUSED)


@app.command("revoke-all")
def revoke_all(
    name: Annotated[str, typer.Argument(metavar="NAME", help="User name or verified address.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """End every session of a user."""

    async def job(accounts: Accounts) -> tuple[str, int]:
        user = await accounts.users.get(name)
        return user.username, await accounts.sessions.revoke_all(
            user, actor=owner(), now=time.time()
        )

    username, ended = with_accounts(config, job)
    sentence = f"{format_count(ended, 'session')} of {username} ended"
    tell(sentence, {"user": username, "ended": ended}, json)


async def _find_sessions(accounts: Accounts, ids: Sequence[str]) -> tuple[list[Session], list[str]]:
    from doorward.accounts.refusals import SessionNotFound

    found, unknown = [], []
    for id in dict.fromkeys(ids):
        try:
            found.append(await accounts.sessions.get(id))
        except SessionNotFound:
            unknown.append(id)
    return found, unknown


def _describe(session: Session) -> dict[str, object]:
    """The printed form of a session; its keys are part of the command's interface."""
    seen = session.device
    return {
        "id": session.id,
        "number": session.number,
        "user": session.user.username,
        "kind": session.kind,
        "level": session.level,
        "method": session.method,
        "remember": session.remember,
        "address": session.address,
        "user_agent": session.user_agent,
        "device": {
            "type": seen.type,
            "name": seen.name,
            "version": seen.version,
            "os": {"name": seen.os_name, "version": seen.os_version},
        },
        "information": session.description,
        "created_at": format_time(session.created_at),
        "last_used_at": format_time(session.last_used_at),
        "ends_at": format_time(session.ends_at()),
        "suspended": not session.user.is_usable,
    }


def _state(session: Session) -> str:
    from doorward.accounts.session import FULL

    if not session.user.is_usable:
        return "suspended"
    if session.level is not FULL:
        return session.level
    return "remembered" if session.remember else "active"


HEADINGS = ("id", "user", "kind", "device", "address", "begun", "last used", "ends", "state")


def _cells(session: Session) -> tuple[str, ...]:
    return (
        session.id,
        session.user.username,
        session.kind,
        escape(_device(session)),
        session.address,
        format_time(session.created_at),
        format_time(session.last_used_at),
        format_time(session.ends_at()),
        _state(session),
    )


def _device(session: Session) -> str:
    """The client's own description, or one from its User-Agent, or the User-Agent itself."""
    seen = session.device
    if session.information or not seen.name:
        return session.information or session.user_agent or "-"
    name = f"{seen.name} {seen.version}".strip()
    return f"{name} on {seen.os_name}" if seen.os_name else name
