"""Knows how a wrong setting is reported: as one printable line with the place, the error and what
to do. It must not know which settings there are, nor keep a value that could be a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

_Checked = TypeVar("_Checked")

# A place in the document: mapping keys and list positions from the top.
KeyPath = tuple[str | int, ...]


def format_path(path: KeyPath) -> str:
    """Returns the place as people write it: `routes[0].upstream`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def make_printable(text: str, limit: int = 400) -> str:
    """Returns the text on one line, control characters escaped, cut at `limit` characters."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class Fault:
    """One error. `source` is the file as it was named, or an environment variable."""

    key: str
    line: int | None
    message: str
    hint: str | None = None
    source: str = ""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.source and self.line else self.source
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        return make_printable(f"{text}; {self.hint}" if self.hint else text)


class InvalidSettings(Exception):
    """All errors in the settings, together."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def run_checks(checks: Iterable[Callable[[_Checked], object]], value: _Checked) -> None:
    """Call every check with the value. Raises InvalidSettings with the errors of all of them. A
    path that the system refuses, such as one that is too long, is an error too."""
    faults: dict[Fault, None] = {}  # an ordered set: two checks may find the same error
    for check in checks:
        try:
            check(value)
        except InvalidSettings as invalid:
            faults |= dict.fromkeys(invalid.faults)
        except OSError as error:
            faults[_explain_path(error)] = None
    if faults:
        raise InvalidSettings(faults)


def _explain_path(error: OSError) -> Fault:
    message = f"{error.filename} cannot be used: {error.strerror}"
    return Fault("", None, message, "name another path, or give Doorward's user access to it")


class Wrong(ValueError):
    """An invalid value. `key` is its invalid part, if only a part is invalid."""

    def __init__(self, message: str, hint: str | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.key = key
