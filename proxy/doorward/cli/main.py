"""All commands by name. It must not know what they do.

A command's file is imported when the command is used, so `doorward user list` does not wait for the
server's libraries.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from doorward import __version__
from doorward.cli.options import commands

# Name, module, and the sentence that `doorward --help` shows.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("doorward.cli.serve:serve", "Run Doorward in front of your application."),
    "demo": ("doorward.cli.demo:demo", "Try Doorward in front of a small application."),
    "config": ("doorward.cli.config:app", "Check and show the configuration."),
    "user": ("doorward.cli.user:app", "Add, list and change users."),
    "session": ("doorward.cli.session:app", "List and end sessions."),
    "token": ("doorward.cli.token:app", "Create, list and revoke tokens for programs."),
    "keys": ("doorward.cli.keys:app", "List, rotate and retire keys."),
    "lockouts": ("doorward.cli.lockouts:lockouts", "Show lock-outs after wrong passwords."),
    "audit": ("doorward.cli.audit:audit", "Show logins, failures and changes."),
    "explain": ("doorward.cli.explain:explain", "Show what happens to a request, and why."),
    "doctor": ("doorward.cli.doctor:doctor", "Check an installation for mistakes."),
    "hash-password": (
        "doorward.cli.hash_password:hash_password",
        "Hash a password for the configuration file.",
    ),
    "health": ("doorward.cli.health:health", "Check whether a running Doorward is ready."),
}


class _Commands(TyperGroup):
    """Imports a command when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands from the table, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        where, _ = COMMANDS[cmd_name]
        module, _, name = where.partition(":")
        found = getattr(importlib.import_module(module), name)
        if not isinstance(found, typer.Typer):
            single = commands("")
            single.command(cmd_name)(found)
            found = single
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = commands(
    "A login in front of web applications that lack one.",
    cls=_Commands,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from doorward.http1 import heads

        typer.echo(f"doorward {__version__}\nheads: {heads.DESCRIPTION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass
