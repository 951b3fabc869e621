"""How commands print rows for people. It must not know what is in them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

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
