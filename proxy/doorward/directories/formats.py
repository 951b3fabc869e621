"""What the files of other programs have in common: users with a hash, and lines that cannot be.

It knows no single format.
"""

from __future__ import annotations

from doorward.accounts import imported
from doorward.accounts.directory import Entry
from doorward.accounts.names import normalise


class FormatFault(Exception):
    """A line that cannot be. `str()` is a sentence that begins with its number, if it has one."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")


def imported_entry(name: str, password_hash: str) -> Entry:
    """A user of another program. Raises InvalidName, InvalidHash."""
    scheme = imported.scheme_of(password_hash)
    return Entry(normalise(name), name, password_hash, scheme)
