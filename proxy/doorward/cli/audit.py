"""`doorward audit`: the records of logins, failures and changes, shown and followed.

It knows how to select and print records; the core decides what is recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.accounts.audit.audit_log import Kind, Record, RecordFilter
from doorward.cli.accounts import with_accounts
from doorward.cli.options import ConfigOption, JsonOption, read_seconds
from doorward.cli.tables import print_table

if TYPE_CHECKING:
    from doorward.wiring.accounts import Accounts

FOLLOW_S = 1.0
# PostgreSQL assigns numbers before commit, so a record may appear after one with a higher number.
OVERLAP = 200


def audit(
    config: ConfigOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep running and print new records.")
    ] = False,
    json: JsonOption = False,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only records about this user.")
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--kind", metavar="KIND", help="Only records of this kind, such as login_failed."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Only records of this last time, such as 7d."),
    ] = None,
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="N", min=1, help="Maximum number of records.")
    ] = 100,
) -> None:
    """Show records of logins, failures and changes, oldest first."""
    oldest = None if since is None else time.time() - read_seconds("--since", since)

    async def job(accounts: Accounts) -> None:
        wanted = RecordFilter(await _username(accounts, user), kind, oldest)
        if follow:
            await _follow(accounts, wanted, limit, json)
        else:
            _print(await accounts.audit_log.latest(wanted, limit), json)

    try:
        with_accounts(config, job)
    except KeyboardInterrupt:
        raise typer.Exit from None


async def _username(accounts: Accounts, name: str | None) -> str | None:
    """The name in the form that records have; a deleted user is found by its former name."""
    from doorward.accounts.refusals import UserNotFound

    if name is None:
        return None
    try:
        return (await accounts.users.get(name)).username
    except UserNotFound:
        return name


async def _follow(accounts: Accounts, wanted: RecordFilter, limit: int, json: bool) -> None:
    seen = {record.number for record in await accounts.audit_log.latest(RecordFilter(), OVERLAP)}
    fresh = await accounts.audit_log.latest(wanted, limit)
    while True:
        for record in fresh:
            typer.echo(_line(record, json), nl=False)
        seen.update(record.number for record in fresh)
        seen = {number for number in seen if number > max(seen) - OVERLAP}
        await asyncio.sleep(FOLLOW_S)
        later = await accounts.audit_log.after(max(seen, default=0) - OVERLAP, wanted)
        fresh = [record for record in later if record.number not in seen]


def _line(record: Record, json: bool) -> str:
    from doorward.observe.audit import format_line

    return format_line(record) if json else "  ".join(_cells(record)) + "\n"


def _cells(record: Record) -> tuple[str, ...]:
    from doorward.observe.audit import format_time

    event = record.event
    who = event.subject or "-"
    by = event.actor if event.actor not in ("", event.subject) else ""
    return (
        format_time(event.at),
        event.kind,
        f"{who} by {by}" if by else who,
        event.address or "-",
        event.outcome,
        event.detail,
    )


def _print(records: Sequence[Record], json: bool) -> None:
    if json:
        typer.echo("".join(_line(record, json) for record in records), nl=False)
        return
    print_table(("time", "kind", "user", "address", "outcome", "detail"), map(_cells, records))
