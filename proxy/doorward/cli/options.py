"""Knows the options that commands share, how help describes options, and how invalid settings and
values end a command. It must not know what a command does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from doorward.cli.exits import WRONG_USAGE, leave
from doorward.start.reports import read_settings, report_faults

if TYPE_CHECKING:
    from doorward.settings import Settings

Value = TypeVar("Value")


class _PlainCommand(TyperCommand):
    """A command whose help calls each value by its metavar alone. typer adds Python's types, such
    as `<list[str]>`, and braces around arguments, and each release does so in another way."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return ["[OPTIONS]", *(str(one.metavar) for one in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            params = [one for one in self.get_params(ctx) if one.param_type_name == kind]
            if params:
                with formatter.section(title):
                    formatter.write_dl([describe_parameter(one, ctx) for one in params])


def describe_parameter(param: Any, context: Any) -> tuple[str, str]:
    """An argument or option as help writes it, and what it is."""
    if param.param_type_name == "argument":
        return str(param.metavar), str(param.help)
    name, said = param.get_help_record(context)
    return name, said


class _PlainGroup(typer.Typer):
    def command(self, *args: Any, **more: Any) -> Any:
        return super().command(*args, **({"cls": _PlainCommand} | more))


def commands(help: str, **more: Any) -> typer.Typer:
    """A group of commands. Its help is plain text: rich takes longer to render it than most
    commands take, and writes `<bool>` after every flag."""
    plain = {"rich_markup_mode": None, "add_completion": False}
    return _PlainGroup(help=help, no_args_is_help=True, **(plain | more))


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
        raise typer.Exit(WRONG_USAGE) from None


def read_option(option: str, text: str, parse: Callable[[str], Value]) -> Value:
    """The value of an option. If it is not valid, ends the command with status 2, the reason and
    how to write it."""
    from doorward.settings.faults import Wrong

    try:
        return parse(text)
    except Wrong as wrong:
        hint = "" if wrong.hint is None else f"; {wrong.hint}"
        leave(f"{option}: {wrong.message}{hint}", WRONG_USAGE)


def read_seconds(option: str, text: str) -> float:
    """The duration that an option gives, in seconds."""
    from doorward.settings.values import duration

    return read_option(option, text, duration).total_seconds()
