"""Knows the options that commands share, and how wrong settings end a command.
It must not know what a command does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from doorward.settings import Settings


def commands(help: str, **more: Any) -> typer.Typer:
    """A group of commands. Its help is plain text: drawing it with rich takes longer than most
    commands do, and writes `<bool>` behind every flag."""
    plain = {"rich_markup_mode": None, "add_completion": False}
    return typer.Typer(help=help, no_args_is_help=True, **(plain | more))


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        show_default=False,
        help="Configuration file. Default: $DOORWARD_CONFIG, ./doorward.yaml,"
        " /etc/doorward/doorward.yaml.",
    ),
]
WeakOption = Annotated[
    bool, typer.Option("--weak", help="Accept a password that is easy to guess.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_or_exit(path: Path | None) -> Settings:
    """Returns the settings, with warnings on standard error; ends the command with status 2 and
    every fault when they are wrong."""
    import os

    from doorward.settings import InvalidSettings, load_settings

    try:
        settings = load_settings(path, os.environ)
    except InvalidSettings as error:
        print_faults(error)
        raise typer.Exit(2) from None
    for warning in settings.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return settings


def print_faults(error: Exception) -> None:
    """Prints what is wrong with the settings, one fault a line, on standard error."""
    from doorward.settings import InvalidSettings

    assert isinstance(error, InvalidSettings)
    for fault in error.faults:
        typer.echo(str(fault), err=True)
