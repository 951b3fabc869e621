"""How a command ends when it cannot do what was asked: its exit status, and one line on standard
error. It must not know why."""

from typing import NoReturn

import typer

REFUSED = 1
WRONG_USAGE = 2


def leave(message: str, status: int) -> NoReturn:
    """End the command with one line on standard error."""
    typer.echo(message, err=True)
    raise typer.Exit(status)
