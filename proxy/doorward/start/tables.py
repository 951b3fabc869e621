"""The tables of the database, made or migrated by a process of their own, which ends.

It must not know what a migration is; the server opens the database as if this had not been.
"""

from __future__ import annotations

import asyncio
import os

from doorward.settings import Settings
from doorward.storage import StorageFault, open_database


def prepare_tables(settings: Settings) -> None:
    """Open the database in a child process. Alembic, which a migration loads, ends with it.

    To be called before there is a thread or a loop. Raises StorageFault.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work(settings, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as file:
        fault = file.read()
    os.waitpid(child, 0)
    if fault:
        raise StorageFault(fault)


def _work(settings: Settings, writing: int) -> None:
    """The child's whole life. If it fails in another way than with a StorageFault, the server will
    meet the same failure, and report it."""
    try:
        asyncio.run(_open(settings))
    except StorageFault as fault:
        os.write(writing, str(fault).encode())
    finally:
        os._exit(0)


async def _open(settings: Settings) -> None:
    database = await open_database(settings)
    await database.close()
