"""How commands print: rows and sentences for people, JSON for programs. It must not know what is
in them.
"""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import AsyncIterable, Iterable, Sequence
from datetime import UTC, datetime

import typer

# Into a pipe nothing is cut to the width of a terminal that is not there.
WIDTH_OF_A_PIPE = 10_000


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console  # slow, and `--json` does without
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None)
    for cells in rows:
        table.add_row(*map(Text, cells))  # Text: what looks like markup in a name is not
    Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE).print(table)


def format_time(at: float) -> str:
    """A time in Unix seconds, to the second and in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def escape(text: str) -> str:
    """A client's own words, which must not steer the terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def print_json(value: object) -> None:
    typer.echo(json_format.dumps(value, indent=2, ensure_ascii=False))


async def print_json_list(values: AsyncIterable[object]) -> None:
    """A list with a line for each value, printed as they come: it may be longer than memory."""
    between = "["
    async for value in values:
        typer.echo(f"{between}\n{json_format.dumps(value, ensure_ascii=False)}", nl=False)
        between = ","
    typer.echo("[]" if between == "[" else "\n]")


def tell(sentences: str | Iterable[str], value: object, json: bool) -> None:
    """What was done: as sentences, one per line, or as a value."""
    if json:
        print_json(value)
        return
    for sentence in [sentences] if isinstance(sentences, str) else sentences:
        typer.echo(sentence)
