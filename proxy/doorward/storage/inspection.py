"""Inspects the files of data_dir without opening the database for use: whether a server could use
them, whether the database is intact, and which release made it.

Knows files; must not know the tables, and changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from doorward.storage.database import DATABASE_FILE, LOCK_FILE, MARKER_FILE
from doorward.storage.engine import choose_reading_options
from doorward.storage.rates import RATES_FILE
from doorward.storage.schema import VERSION_TABLE, find_misfit

# Those that a server opens for writing. SQLite makes the second and third.
FILES = (
    DATABASE_FILE,
    f"{DATABASE_FILE}-wal",
    f"{DATABASE_FILE}-shm",
    LOCK_FILE,
    MARKER_FILE,
    RATES_FILE,
)


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file, and what to do."""

    message: str
    advice: str


def find_unusable(data_dir: Path, *, is_sqlite: bool) -> Iterator[Damage]:
    """What keeps a server from starting with the files in data_dir, as far as a look at them
    shows. It takes milliseconds, whatever the size of the database."""
    names = FILES if is_sqlite else (MARKER_FILE, RATES_FILE)
    unusable = [found for name in names if (found := _find_unusable(data_dir / name)) is not None]
    yield from unusable
    path = data_dir / DATABASE_FILE
    if is_sqlite and not unusable and path.exists():
        yield from _inspect(path, _find_misfit)


def inspect_sqlite(path: Path) -> Iterator[Damage]:
    """The damage of a database in which `find_unusable` finds nothing; reading all of it takes a
    second per few hundred MiB."""
    yield from _inspect(path, _find_damage)


def _find_unusable(path: Path) -> Damage | None:
    if not os.path.lexists(path):
        return None  # the server makes it
    if not path.exists():
        return Damage(f"{path} is a link to a file that does not exist", "correct or remove it")
    if not path.is_file():
        return Damage(f"{path} is not a file", "move it away")
    if not os.access(path, os.R_OK | os.W_OK):
        advice = "let the user that runs Doorward read and write it"
        return Damage(f"{path} cannot be read and written", advice)
    return None


def _inspect(
    path: Path, look: Callable[[sqlite3.Connection, Path], Iterator[Damage]]
) -> Iterator[Damage]:
    uri = f"{path.absolute().as_uri()}?{urlencode(choose_reading_options(path))}"
    try:
        opened = sqlite3.connect(uri, uri=True, timeout=0)
        with contextlib.closing(opened) as database:
            yield from look(database, path)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # nothing is wrong with the file
            yield Damage(f"{path} cannot be read: {error}", "restore a backup or move it away")
    except sqlite3.DatabaseError as error:
        yield Damage(f"{path} is damaged: {error}", "restore a backup or move it away")


def _find_damage(database: sqlite3.Connection, path: Path) -> Iterator[Damage]:
    found = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        yield Damage(f"{path} is damaged: {found[0]}", "stop Doorward and restore a backup")
    elif database.execute("PRAGMA foreign_key_check").fetchone() is not None:
        yield Damage(f"{path} has rows that belong to nobody", "restore a backup")


def _find_misfit(database: sqlite3.Connection, path: Path) -> Iterator[Damage]:
    rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = [row[0] for row in rows]
    version = None
    if VERSION_TABLE in tables:
        row = database.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
        version = None if row is None else row[0]
    if (misfit := find_misfit(tables, version)) is not None:
        yield Damage(f"{path} {misfit[0]}", misfit[1])
