"""`doorward doctor`: problems of an installation, and how to fix them.

It knows how to print; `doctor` knows what to check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import no_log
from doorward.cli.exits import REFUSED, WRONG_USAGE, leave
from doorward.cli.options import ConfigOption, JsonOption, settings_or_exit
from doorward.cli.passwords import read_stdin_line
from doorward.cli.tables import escape, print_json

if TYPE_CHECKING:
    from doorward.doctor.findings import Checkup


def doctor(
    config: ConfigOption = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="Also check this URL, at which users open the site."
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also log in at --url as this user.")
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read that user's password from standard input."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check the installation: files, database, clock, cookie, proxies, upstreams, mail."""
    import asyncio

    from doorward.doctor.checkups import Visit, examine

    if user is not None and (url is None or not password_stdin):
        leave("--user needs --url and --password-stdin.", WRONG_USAGE)
    if url is not None and not url.startswith(("http://", "https://")):
        leave(f"{escape(url)} is not an http or https URL.", WRONG_USAGE)
    settings = settings_or_exit(config)
    password = read_stdin_line() if user else ""
    with no_log():
        checkups = asyncio.run(examine(Visit(settings, url, user, password)))
    if json:
        print_json([_describe(checkup) for checkup in checkups])
    else:
        for checkup in checkups:
            _print(checkup)
    if not all(checkup.is_sound for checkup in checkups):
        raise typer.Exit(REFUSED)


def _print(checkup: Checkup) -> None:
    state = "skipped" if checkup.skipped else "ok" if checkup.is_sound else "WRONG"
    typer.echo(f"{state:8}{checkup.name}" + (f": {checkup.skipped}" if checkup.skipped else ""))
    for finding in checkup.findings:
        kind = "note: " if finding.is_note else ""
        typer.echo(f"        {kind}{escape(finding.message)}")
        typer.echo(f"          → {escape(finding.advice)}")


def _describe(checkup: Checkup) -> dict[str, object]:
    """The printed JSON; its keys are part of the command's interface."""
    from dataclasses import asdict

    return {
        "check": checkup.name,
        "ok": checkup.is_sound,
        "skipped": checkup.skipped or None,
        "findings": [asdict(finding) for finding in checkup.findings],
    }
