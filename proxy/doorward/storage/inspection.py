"""Inspects a SQLite file without opening it for use: whether it is intact, and which release made
it.

Knows the file; must not know the tables, and changes nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doorward.storage.schema import HEAD, VERSION_TABLE, VERSIONS


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file, and what to do."""

    message: str
    advice: str


def inspect_sqlite(path: Path) -> Iterator[Damage]:
    """The damage of a database; reading all of it takes a second per few hundred MiB."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            yield from _inspect(database, path)
    except sqlite3.DatabaseError as error:
        yield Damage(f"{path} cannot be read: {error}", "restore a backup")


def _inspect(database: sqlite3.Connection, path: Path) -> Iterator[Damage]:
    found = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        yield Damage(f"{path} is damaged: {found[0]}", "stop Doorward and restore a backup")
        return
    if database.execute("PRAGMA foreign_key_check").fetchone() is not None:
        yield Damage(f"{path} has rows that belong to nobody", "restore a backup")
    names = "SELECT 1 FROM sqlite_master WHERE name = ?"
    if database.execute(names, (VERSION_TABLE,)).fetchone() is None:
        return  # empty: the first start creates the tables
    row = database.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    version = None if row is None else row[0]
    if version not in VERSIONS:
        message = f"{path} has version {version}, and this release knows {HEAD} at most"
        yield Damage(message, "install the release that wrote it, or a newer one")
