"""Knows the commands about the configuration: check, show, example, schema.
It must not know any particular setting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import no_log
from doorward.cli.exits import WRONG_USAGE
from doorward.cli.options import ConfigOption, JsonOption, commands, settings_or_exit
from doorward.start.reports import report_faults

if TYPE_CHECKING:
    from doorward.settings import Fault, InvalidSettings, Settings

app = commands("Check and show the configuration.")


@app.command()
def check(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Also fail on settings that are valid but probably not intended."
        ),
    ] = False,
) -> None:
    """Check the configuration and list every error.

    Findings are settings that are valid but probably not intended, such as a rule that never
    applies."""
    from doorward.settings import InvalidSettings, list_findings

    try:
        settings, warnings = _checked(config)
        findings = list_findings(settings)
        if strict and findings:
            raise InvalidSettings(findings)
    except InvalidSettings as error:
        _refuse(error, as_json)
        raise typer.Exit(WRONG_USAGE) from None
    _accept(settings, findings, warnings, as_json)


def _checked(config: ConfigOption) -> tuple[Settings, list[str]]:
    """The settings, and warnings about their environment. Raises InvalidSettings."""
    import os
    from functools import partial

    from doorward.server.listeners import find_unusable
    from doorward.settings import load_settings, run_checks
    from doorward.start.preflight import check_files, check_lost_key

    warnings: list[str] = []
    settings = load_settings(config, os.environ)
    with no_log():
        run_checks((check_files, partial(check_lost_key, warn=warnings.append)), settings)
    return settings, [*settings.warnings, *find_unusable(settings), *warnings]


def _refuse(error: InvalidSettings, as_json: bool) -> None:
    if not as_json:
        report_faults(error)
        return
    typer.echo(json.dumps({"ok": False, "faults": _describe(error.faults)}, indent=2))


def _describe(faults: Iterable[Fault]) -> list[dict[str, object]]:
    from dataclasses import asdict

    return [asdict(fault) | {"text": str(fault)} for fault in faults]


def _accept(
    settings: Settings, findings: Sequence[Fault], warnings: Sequence[str], as_json: bool
) -> None:
    from doorward.settings import list_unbuilt_keys

    source = str(settings.file) if settings.file else "the environment"
    if as_json:
        found = {"ok": True, "source": source, "warnings": list(warnings)}
        found["findings"] = _describe(findings)
        more = {"unbuilt": list_unbuilt_keys(settings), "environment": settings.environment}
        typer.echo(json.dumps(found | more, indent=2))
        return
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    for finding in findings:
        typer.echo(f"finding: {finding}", err=True)
    if unbuilt := list_unbuilt_keys(settings):
        typer.echo(f"warning: without effect in this version: {', '.join(unbuilt)}", err=True)
    if settings.file and settings.environment:
        typer.echo(f"from the environment: {', '.join(settings.environment)}", err=True)
    typer.echo(f"OK: {source}")


@app.command()
def show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print the settings in effect, with defaults, and with secrets hidden."""
    from doorward.settings.show import plain, yaml_text

    settings = settings_or_exit(config)
    text = json.dumps(plain(settings), indent=2, ensure_ascii=False) if as_json else ""
    typer.echo(text or yaml_text(settings).rstrip("\n"))


@app.command()
def example(config: ConfigOption = None) -> None:
    """Print a configuration file with every setting, its default and a description."""
    from importlib.resources import files

    typer.echo((files("doorward.settings") / "doorward.yaml").read_text(encoding="utf-8"), nl=False)


@app.command()
def schema(config: ConfigOption = None) -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from doorward.settings.schema import schema_text

    typer.echo(schema_text(), nl=False)
