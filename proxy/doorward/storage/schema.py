"""The version of the tables: read at every start, and migrated by Alembic under a lock if it is
behind.

Alembic is slow to import and needed once per release, so it is imported only then.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from doorward.accounts.refusals import StorageUnavailable
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.fault import StorageFault

HEAD = "0008"
# The revision before a migration, and the head.
VERSIONS = frozenset({"0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008"})
VERSION_TABLE = "alembic_version"

LOCK_WAIT_S = 60  # a migration of 100,000 users takes seconds
ADVISORY_LOCK = 0x646F6F72  # "door"


async def migrate(engine: Engine, where: str, lock: Path) -> bool:
    """Migrates the tables to this release; True if there were none before. Raises StorageFault."""
    with _reported(engine, where):
        async with engine.reading() as connection:
            found = await _version(connection, where)
        if found == HEAD:
            await engine.use_wal()  # a restored backup may lack them
            return False
        async with _alone(engine, lock):
            found = await _raise(engine, where)
            await engine.use_wal()
        return found is None


@contextmanager
def _reported(engine: Engine, where: str) -> Iterator[None]:
    try:
        yield
    except StorageUnavailable as error:
        sentence = _sentence(where, error.__cause__, is_sqlite=engine.is_sqlite)
        raise StorageFault(sentence) from error.__cause__


async def has_tables(engine: Engine, where: str) -> bool:
    """Whether there are tables, of this release. Raises StorageFault, also if `migrate` would
    change them."""
    with _reported(engine, where):
        async with engine.reading() as connection:
            found = await _version(connection, where)
    if found not in (None, HEAD):
        message = f"storage: {where} has the tables of an older release"
        raise StorageFault(f"{message}; `doorward serve` migrates them, then looks")
    return found is not None


async def _raise(engine: Engine, where: str) -> str | None:
    """Migrates, all or nothing, unless another process did so while this one waited; returns the
    version from before."""
    async with engine.writing(within_s=None) as connection:
        if not engine.is_sqlite:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        found = await _version(connection, where)
        if found != HEAD:
            await connection.run_sync(_upgrade)
    return found


async def _version(connection: AsyncConnection, where: str) -> str | None:
    """The version in the database, None if it is empty. Raises StorageFault if it is not
    Doorward's."""
    tables = await connection.run_sync(lambda c: inspect(c).get_table_names())
    version: str | None = None
    if VERSION_TABLE in tables:
        version = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    if (misfit := find_misfit(tables, version)) is not None:
        raise StorageFault(f"storage: {where} {misfit[0]}; {misfit[1]}")
    return version


def find_misfit(tables: Collection[str], version: str | None) -> tuple[str, str] | None:
    """Why a database with these tables and this version is not for this release, and what to do."""
    if not tables or version in VERSIONS:
        return None
    if VERSION_TABLE not in tables:
        return "holds tables of another program", "give Doorward its own database"
    if version is None:
        return "does not say which version its tables have", "restore a backup"
    return (
        f"has tables of version {version}, this Doorward knows them up to {HEAD}",
        "run the newer Doorward that wrote it, or restore a backup from before",
    )


@asynccontextmanager
async def _alone(engine: Engine, path: Path) -> AsyncIterator[None]:
    """One process of this host at a time, so that two first starts do not create the tables
    twice."""
    if not engine.is_sqlite:
        yield
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)  # releases the lock


async def _lock(descriptor: int, path: Path) -> None:
    for _ in range(int(LOCK_WAIT_S * 20)):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(0.05)
    raise StorageFault(
        f"storage: {path} is locked by another Doorward that is changing the tables; wait for it"
        " or end it"
    )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    location = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", location.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


# SQLite's messages, and what to do about each; the first one that matches decides.
SENTENCES = (
    ("not a database", "is not a database or is damaged; restore a backup or move the file away"),
    ("malformed", "is damaged; restore a backup or move the file away"),
    ("locked", "is locked by another program; end that program and try again"),
    ("readonly", "cannot be written; give the file to the user that runs Doorward"),
    (
        "unable to open",
        "cannot be opened; let the user that runs Doorward write file and directory",
    ),
    (
        "I/O error",
        "cannot be read or written (I/O error); check the disk, its quota and data_dir",
    ),
    ("full", "cannot be written as the disk is full; make room and try again"),
)


def _sentence(where: str, fault: BaseException | None, *, is_sqlite: bool) -> str:
    message = str(getattr(fault, "orig", None) or fault)  # SQLAlchemy's has the driver's in it
    for word, sentence in SENTENCES:
        if word in message:
            return f"storage: {where} {sentence}"
    reason = " ".join(message.split("\n")[0].split()) or "no answer in time"
    advice = "restore a backup" if is_sqlite else "check that it runs and lets Doorward in"
    return f"storage: {where} cannot be used ({reason}); {advice}"
