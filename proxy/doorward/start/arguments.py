"""Which command lines start a server without the library that reads all the others.

It knows the usual forms of `doorward serve`; `cli/serve.py` reads every other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServeArguments:
    """`config` is the file that the command line names, if it does."""

    config: Path | None


def read_arguments(words: Sequence[str]) -> ServeArguments | None:
    """What `doorward serve`, or `doorward serve -c FILE`, says; None for another command, and for
    what has to be answered with help or an error."""
    match words:
        case ["serve"]:
            return ServeArguments(None)
        case ["serve", "-c" | "--config", file] if not file.startswith("-"):
            return ServeArguments(Path(file))
    return None
