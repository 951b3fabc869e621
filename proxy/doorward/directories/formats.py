"""The common parts of other programs' files: users with a hash, and invalid lines.

It must not know any particular format.
"""

from __future__ import annotations

from dataclasses import dataclass

from doorward.accounts.names import display, normalise
from doorward.accounts.passwords import imported
from doorward.accounts.users.directory import DirectoryEntry


class FormatFault(Exception):
    """An invalid line. `str()` is a sentence that begins with its number and its user, if known."""

    def __init__(self, line: int | None, message: str, user: str = "") -> None:
        where = None if line is None else f"line {line}"
        whose = f"user {display(user)}" if user else None
        super().__init__(": ".join(part for part in (where, whose, message) if part))


@dataclass(frozen=True, slots=True)
class Row:
    """A user of the file, and the line where it is described."""

    line: int
    entry: DirectoryEntry


def name_before_colon(line: str) -> str:
    """The user of a line; None without a colon, because it could be a secret without its name."""
    name, colon, _ = line.partition(":")
    return name if colon else ""


def imported_entry(name: str, password_hash: str) -> DirectoryEntry:
    """A user of another program. Raises InvalidName, InvalidHash."""
    scheme = imported.get_scheme(password_hash)
    return DirectoryEntry(normalise(name), name, password_hash, scheme)
