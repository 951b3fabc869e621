"""The parts of the reference that are generated from the code, as Markdown.

Knows how to show settings, commands and endpoints; gets them from the models, the commands and the
API description. `tools/site.py` calls `write`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import typer
import yaml
from doorward import paths
from doorward.accounts.audit.audit_log import Kind
from doorward.app import Application
from doorward.cli.main import COMMANDS, app
from doorward.cli.options import describe_parameter
from doorward.observe.logs import configure_logs
from doorward.pages.admin import KINDS
from doorward.settings import settings_from
from doorward.settings.document import read_document
from doorward.settings.known import every_key, field_at, list_fields, section_in
from doorward.settings.models import Settings
from doorward.settings.schema import schema

EXAMPLE = Path(__file__).parents[1] / "config" / "doorward.yaml"
API = "administration-api"
TESTS = EXAMPLE.parents[1] / "tests"
ADVISORY = re.compile(r"CVE-\d{4}-\d+|GHSA(?:-\w{4}){3}")
# In that file, a comment with a sentence has one space after the #; one with a setting has none, or
# its indentation.
SETTING = re.compile(r"^( *)#(?=[^ \n]|  )", re.M)
NOTHING = {"off", "none", False, None}
SWITCHES = ("on", "off", "yes", "no")
BOOLEANS = [True, False, *SWITCHES]

Key = tuple[str, ...]


def write(name: str) -> str:
    """The Markdown of one part. Raises KeyError for an unknown name."""
    return PARTS[name]().rstrip("\n")


# Settings


def settings() -> str:
    """Each setting once: those of a route's rules are like those of `access.rules`."""
    return "\n".join(line for key in every_key() if example(key) for line in _setting(key))


def _setting(key: Key) -> Iterator[str]:
    field = field_at(key)
    assert field is not None
    yield f"{'##' if len(key) == 1 else '###'} `{'.'.join(key)}`\n"
    yield " ".join(_sentences(key, str(field.description))) + "\n"
    rule = _rule(key)
    default = field.get_default() if not field.is_required() else ...
    if section_in(field.annotation) and default in ({}, [], None):
        return
    yield "| | |\n|---|---|"
    yield f"| Type | {kind(rule)} |"
    yield f"| Default | {_default(default)} |"
    yield f"| Environment | {environment(key)} |"
    yield f"| Example | `{_cell(str(example(key)))}` |\n"


def _sentences(key: Key, description: str) -> Iterator[str]:
    """The setting's description in config/doorward.yaml: the model's sentence, and those after
    it."""
    yield description
    lines = EXAMPLE.read_text().splitlines()
    said = [at for at, line in enumerate(lines) if line.strip("# -") == description.strip("# -")]
    for line in lines[said[0] + 1 :]:
        more = re.fullmatch(r" *#? *# ([^ #-].*)", line)
        if more is None:
            return
        yield more[1]


def _rule(key: Key) -> dict[str, Any]:
    """The JSON Schema of a setting."""
    whole = schema()
    rule: dict[str, Any] = whole
    for name in key:
        mapping = _mapping(rule, whole)
        assert mapping is not None, key
        rule = mapping["properties"][name]
    return rule


def _mapping(rule: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any] | None:
    """The first mapping that a rule leads to, through alternatives and lists."""
    if "properties" in rule:
        return rule
    if "$ref" in rule:
        return _mapping(whole["$defs"][rule["$ref"].rpartition("/")[2]], whole)
    inner = [*rule.get("anyOf", ()), *([rule["items"]] if "items" in rule else ())]
    return next((found for one in inner if (found := _mapping(one, whole))), None)


def kind(rule: dict[str, Any]) -> str:
    """The allowed values, in words."""
    if "anyOf" in rule:
        return _either(rule["anyOf"])
    if "enum" in rule:
        return "`true` or `false`" if rule["enum"] == BOOLEANS else _words(rule["enum"])
    if "$ref" in rule:
        return "mapping"
    named = rule.get("type")
    if named == "object":
        return "mapping"
    if "array" in (named or ()):
        return f"list of {kind(rule['items'])}"
    if "0-9]+ms" in rule.get("pattern", ""):
        return "duration"
    if "[KMGT]iB" in rule.get("pattern", ""):
        return "size"
    if named == "integer" and "minimum" in rule:
        return f"whole number from {rule['minimum']:,} to {rule['maximum']:,}"
    return "whole number" if named == "integer" else "text"


def _either(rules: list[dict[str, Any]]) -> str:
    kinds = dict.fromkeys(kind(rule) for rule in rules)
    if "size" in kinds:
        kinds.pop("whole number", None)
    lists = [one for one in kinds if one.startswith("list of ")]
    return " or ".join(one for one in kinds if one and f"list of {one}" not in lists)


def _words(words: list[Any]) -> str:
    if set(words) <= NOTHING:
        return "`off`" if "off" in words else ""
    said = [word for word in words if isinstance(word, str) and word not in SWITCHES]
    more = ["`true` or `false`"] if True in words else []
    return ", ".join([*(f"`{_cell(word)}`" for word in said), *more])


def _default(default: Any) -> str:
    if default is ...:
        return "none; it must be set"
    if default in (None, ""):
        return "not set"
    return f"`{_cell(_flow(default))}`"


def environment(key: Key) -> str:
    """The variable that sets it, or the list that contains it."""
    for length in range(1, len(key)):
        field = field_at(key[:length])
        if field is not None and "tuple" in str(field.annotation):
            return f"within {environment(key[:length])}"
    return f"`DOORWARD_{'__'.join(key).upper()}`"


def example(key: Key) -> str | None:
    """One line of YAML with its value in config/doorward.yaml, or None."""
    found = _nested(_tree(), key)
    return None if found is None else _flow(found)


@cache
def _tree() -> Any:
    root, faults = read_document(SETTING.sub(r"\1", EXAMPLE.read_text()), EXAMPLE.name)
    assert not faults
    return root.plain()


def _nested(value: Any, key: Key) -> Any:
    if not key:
        return value
    if isinstance(value, list):
        inner = next((one for item in value if (one := _nested(item, key)) is not None), None)
        return None if inner is None else [inner]
    if not isinstance(value, dict) or key[0] not in value:
        return None
    below = _nested(value[key[0]], key[1:])
    return None if below is None and len(key) > 1 else {key[0]: below}


def _flow(value: Any) -> str:
    if isinstance(value, str):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text[1:-1] if isinstance(value, dict) and len(value) == 1 else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# Commands


def commands() -> str:
    return "\n".join(line for name in COMMANDS for line in _command(name))


def every_command() -> Iterator[tuple[str, Any]]:
    """Every command, including those in groups, with click's description."""
    top = typer.main.get_command(app)
    context = typer.Context(top)
    for name in COMMANDS:
        command = top.get_command(context, name)  # type: ignore[attr-defined]
        yield from _open(name, command)


def _open(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if not inner:
        yield path, command
        return
    for name, one in inner.items():
        yield from _open(f"{path} {name}", one)


def _command(name: str) -> Iterator[str]:
    yield f"## `doorward {name}`\n\n{COMMANDS[name][1]}\n"
    for path, command in every_command():
        if path.partition(" ")[0] == name:
            if path != name:
                yield f"### `doorward {path}`\n\n{_help(command)}\n"
            yield from _usage(path, command)


def _help(command: Any) -> str:
    return " ".join((command.help or "").partition("\f")[0].split())


def _usage(path: str, command: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=f"doorward {path}")
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"```text\ndoorward {path} {pieces}\n```\n"
    yield "| | |\n|---|---|"
    for each in command.get_params(context):
        name, said = describe_parameter(each, context)
        yield f"| `{_cell(name)}` | {_cell(said)} |"
    yield ""


# Endpoints


def endpoints() -> str:
    told = asyncio.run(_describe())
    rows: dict[str, list[str]] = {}
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            statuses = " ".join(sorted(operation["responses"]))
            row = f"| `{method.upper()} {path}` | {operation['summary']} | {statuses} |"
            rows.setdefault(operation["tags"][0], []).append(row)
    return "\n".join(line for name in sorted(rows) for line in _dialect(name, rows[name]))


def _dialect(name: str, rows: list[str]) -> Iterator[str]:
    yield f"## `{name}`\n"
    page = f"dialects/{name}.md" if name in list_fields(_dialects()) else f"{API}.md"
    yield f"[Its page]({page}) says how it is used.\n"
    yield "| request | what it does | statuses |\n|---|---|---|"
    yield from rows
    yield ""


async def _describe() -> Any:
    """The API description of a Doorward with every dialect on."""
    configure_logs(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "data_dir": folder,
            "routes": [{"upstream": "http://127.0.0.1:9"}],
            "dialects": {name: {} for name in list_fields(_dialects())},
            "api": {"enabled": True},
        }
        async with Application(settings_from(given, Path(folder))) as application:
            transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
            base = "http://127.0.0.1:8080"
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return (await client.get(paths.OPENAPI)).json()


def _dialects() -> Any:
    return section_in(list_fields(Settings)["dialects"].annotation)


# Advisories


def advisories() -> str:
    """Every advisory that a test names, with these tests."""
    held: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for number, test in _named(file.read_text()):
            held.setdefault(number, []).append(f"`{file.relative_to(TESTS.parent)}` ({test})")
    rows = [f"| {number} | {'<br>'.join(dict.fromkeys(held[number]))} |" for number in sorted(held)]
    return "\n".join(["| advisory | held by |", "|---|---|", *rows])


def _named(text: str) -> Iterator[tuple[str, str]]:
    """Each advisory in a test's file, with the test as a sentence."""
    for function in re.findall(r"^(?:async )?def (test_\w+.*?)(?=^\S|\Z)", text, re.M | re.S):
        name = str(function).partition("(")[0].removeprefix("test_").replace("_", " ")
        yield from ((number, name) for number in ADVISORY.findall(function))


def decisions() -> str:
    """A line for each decision, with its title."""
    rows = []
    for file in sorted((TESTS.parent / "docs" / "decisions").glob("[0-9]*.md")):
        title = file.read_text().partition("\n")[0].removeprefix("# ")
        rows.append(f"* [{title}]({file.name})")
    return "\n".join(rows)


# Audit records


def records() -> str:
    rows = [f"| `{kind}` | {KINDS[kind]} |" for kind in Kind]
    return "\n".join(["| kind | what happened |", "|---|---|", *rows])


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "endpoints": endpoints,
    "records": records,
    "advisories": advisories,
    "decisions": decisions,
}
