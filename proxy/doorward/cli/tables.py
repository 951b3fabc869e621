"""How commands print: rows and sentences for people, JSON for programs. It must not know their
content.
"""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import typer

Listed = TypeVar("Listed")

# The width for output to a pipe: nothing is cut.
WIDTH_OF_A_PIPE = 10_000


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console  # a slow import, which `--json` does not need
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None)
    for cells in rows:
        table.add_row(*map(Text, cells))  # Text, because a name may look like markup
    Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE).print(table)


def format_time(at: float) -> str:
    """A time in Unix seconds, to the second and in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def escape(text: str) -> str:
    """Escape a client's text, so that it cannot control the terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def print_json(value: object) -> None:
    typer.echo(json_format.dumps(value, indent=2, ensure_ascii=False))


async def print_list(
    values: AsyncIterable[Listed],
    headings: Sequence[str],
    read_cells: Callable[[Listed], Sequence[str]],
    describe: Callable[[Listed], object],
    json: bool,
) -> None:
    """Print a table, or a JSON list with one value per line, each as soon as it is read: the list
    may not fit in memory."""
    if not json:
        print_table(headings, [read_cells(value) async for value in values])
        return
    between = "["
    async for value in values:
        line = json_format.dumps(describe(value), ensure_ascii=False)
        typer.echo(f"{between}\n{line}", nl=False)
        between = ","
    typer.echo("[]" if between == "[" else "\n]")


def tell(sentences: str | Iterable[str], value: object, json: bool) -> None:
    """Print what was done, as sentences, one per line, or as a JSON value."""
    if json:
        print_json(value)
        return
    for sentence in [sentences] if isinstance(sentences, str) else sentences:
        typer.echo(sentence)
