"""`doorward user import`: imports users of another program with their hashes.

It knows the names of the formats, and must not know how to read them.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import owner, with_accounts
from doorward.cli.display import describe_user
from doorward.cli.exits import REFUSED, WRONG_USAGE, leave
from doorward.cli.options import ConfigOption, JsonOption
from doorward.cli.tables import tell

if TYPE_CHECKING:
    from doorward.accounts.user import User
    from doorward.accounts.users.directory import DirectoryEntry
    from doorward.directories.formats import Row
    from doorward.wiring.accounts import Accounts

FORMATS: Mapping[str, str] = {
    "htpasswd": "doorward.directories.htpasswd:read_htpasswd",
    "authelia": "doorward.directories.authelia:read_authelia",
    "tinyauth": "doorward.directories.tinyauth:read_tinyauth",
}


def import_users(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{', '.join(FORMATS)}.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to import; - reads standard input.")
    ],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Add all users from another program's file, or none. They keep their passwords."""
    rows = _read(format, file)
    entries = [row.entry for row in rows]

    async def job(accounts: Accounts) -> Sequence[User]:
        from doorward.accounts.refusals import Refusal

        try:
            return await _import(accounts, entries, time.time())
        except Refusal as refusal:
            leave(f"{file}: {_located(str(refusal), rows)}", REFUSED)

    users = with_accounts(config, job)
    sentences = [f"user {user.username} imported" for user in users]
    tell(sentences, [describe_user(user) for user in users], json)
    _warn_about_weak(entries)


def _located(refusal: str, rows: Sequence[Row]) -> str:
    """A refusal that names a user, preceded by the line number of that user."""
    from doorward.accounts.names import display

    lines = (r.line for r in rows if refusal.startswith(f"user {display(r.entry.username)}: "))
    line = next(lines, None)
    return refusal if line is None else f"line {line}: {refusal}"


def _read(format: str, file: Path) -> Sequence[Row]:
    if format not in FORMATS:
        leave(f"{format!r} is not a format. Use one of {', '.join(FORMATS)}.", WRONG_USAGE)
    from doorward.directories.formats import FormatFault

    try:
        rows = _reader(format)(_text(file))
    except FormatFault as fault:
        leave(f"{file}: {fault}", REFUSED)
    if not rows:  # such as the output of a command that failed
        leave(f"{file}: This file contains no users.", REFUSED)
    return rows


def _reader(format: str) -> Callable[[str], Sequence[Row]]:
    module, _, name = FORMATS[format].partition(":")
    reader: Callable[[str], Sequence[Row]] = getattr(importlib.import_module(module), name)
    return reader


def _text(file: Path) -> str:
    try:
        if str(file) == "-":
            return typer.get_binary_stream("stdin").read().decode("utf-8-sig")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        leave(f"{file}: {error.strerror}.", REFUSED)
    except UnicodeDecodeError:
        leave(f"{file} is not UTF-8 text.", REFUSED)


async def _import(
    accounts: Accounts, entries: Sequence[DirectoryEntry], now: float
) -> Sequence[User]:
    """Import the users. Those with a second factor cannot log in until it is imported too, even if
    the import is interrupted."""
    guarded = {entry.username: entry for entry in entries if entry.totp_secret is not None}
    for guard in guarded.values():
        _check_secret(accounts, guard)
    held = [replace(e, active=e.active and e.username not in guarded) for e in entries]
    users = await accounts.users.add_imported(held, now)
    for user in users:
        if (entry := guarded.get(user.username)) is not None:
            await accounts.second_factors.adopt_totp(user, entry.totp_secret or "", now)
            if entry.active:
                await accounts.users.enable(user.username, now, actor=owner())
    return [await accounts.users.get(user.username) for user in users]


def _check_secret(accounts: Accounts, entry: DirectoryEntry) -> None:
    """Raises InvalidTotpSecret, which names the user."""
    from doorward.accounts.names import display
    from doorward.accounts.refusals import InvalidTotpSecret

    try:
        accounts.second_factors.check_secret(entry.totp_secret or "")
    except InvalidTotpSecret as refusal:
        raise InvalidTotpSecret(f"user {display(entry.username)}: {refusal}") from refusal


def _warn_about_weak(entries: Sequence[DirectoryEntry]) -> None:
    from doorward.accounts.passwords.imported import is_weak

    for entry in entries:
        if is_weak(entry.scheme):
            typer.echo(
                f"warning: user {entry.username} has a SHA-1 hash, which is easy to crack;"
                " it is replaced at the next login",
                err=True,
            )
