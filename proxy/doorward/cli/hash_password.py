"""`doorward hash-password`: only prints the hash, for `users:` in the configuration file."""

from __future__ import annotations

import asyncio
import sys

import typer

from doorward.cli.exits import REFUSED, leave
from doorward.cli.options import ConfigOption, WeakOption
from doorward.cli.passwords import ask_password, explain_weakness, read_stdin_line


def hash_password(config: ConfigOption = None, weak: WeakOption = False) -> None:
    """Print the argon2id hash of a password, which is read from standard input or asked for.

    No setting affects the hash; `-c` is accepted so that all commands have it."""
    from doorward.accounts.refusals import WeakPassword

    password = ask_password() if sys.stdin.isatty() else read_stdin_line()
    try:
        typer.echo(asyncio.run(_hashed(password, weak)))
    except WeakPassword as refusal:
        leave(str(refusal), REFUSED)


async def _hashed(password: str, weak: bool) -> str:
    from doorward.accounts.passwords.hashing import Passwords

    passwords = Passwords(threads=1)
    try:
        with explain_weakness():
            return (await passwords.new(password, allow_guessable=weak)).hash
    finally:
        passwords.close()
