"""Knows the options that commands share, and how invalid settings end a command. It must not know
what a command does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from doorward.start.reports import read_settings, report_faults

if TYPE_CHECKING:
    from doorward.settings import Settings


def commands(help: str, **more: Any) -> typer.Typer:
    """A group of commands. Its help is plain text: rich takes longer to render it than most
    commands take, and writes `<bool>` after every flag."""
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
    """Returns the settings, and prints warnings on standard error. If they are invalid, ends the
    command with status 2 and every error."""
    from doorward.settings import InvalidSettings

    try:
        return read_settings(path)
    except InvalidSettings as error:
        report_faults(error)
        raise typer.Exit(2) from None
