"""How SQLite and PostgreSQL are opened, read and written, and where each of their errors becomes
the core's StorageUnavailable. It knows no table."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Connection, ExceptionContext, Insert, Table, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from doorward.accounts.refusals import StorageUnavailable
from doorward.storage.connection import AsyncConnection, borrow, dispose, transact
from doorward.storage.fault import StorageFault
from doorward.storage.health import READ, WRITE, Health

# From the call to its end, waiting for a connection and for other writers included. A caller that
# waits longer has given up, and a queue of such would only grow.
DEADLINE_S = 5.0
# SQLite waits for another process's lock in a thread that cannot be interrupted: one second at a
# time, so that a caller's deadline is kept.
BUSY_TIMEOUT_S = 1
BUSY_ATTEMPTS = 4
CONNECTIONS = 4  # a thread each for SQLite, a server process each for PostgreSQL
CONNECT_TIMEOUT_S = 5
COMMAND_TIMEOUT_S = 15
# Primary result codes after which a connection of SQLite may be unusable: one that was opened while
# the file was read-only stays so, and one that met an I/O error may have bad pages.
SPOILT = frozenset(
    (
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    )
)

# The SQLSTATE of a write to a read-only server or session. After a failover, a former primary
# answers with it.
READ_ONLY = "25006"

# FULL, not the NORMAL that is common with WAL: NORMAL survives a killed process but may lose the
# last commits in a power failure, and an acknowledged revocation must never be undone.
#
# A cache of 256 KiB instead of 2 MiB for each connection: a query for a session's token takes as
# long among 300,000 sessions, because the kernel has the file in memory.
PRAGMAS = (
    "PRAGMA cache_size = -256",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
)


class Moved(OSError):
    """The database's file is not the one that was opened."""


class Engine:
    """A pool of connections to one database."""

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        errors: tuple[type[Exception], ...],
        connect: Callable[[], Awaitable[Any]] | None = None,
        path: Path | None = None,
    ) -> None:
        """`connect` opens a plain connection of the driver, if it supports notifications. `path` is
        the database's file, if there is one."""
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.errors = errors
        self.connect = connect
        self.health = Health()
        self._path = path
        self._identity = None if path is None else _identity(path)
        self._engine = engine
        # A single SELECT needs no transaction, and each statement is a trip to a thread.
        self._reader = (
            engine if self.is_sqlite else engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._writer = engine.execution_options(writes=True)
        # SQLite has one writer. Within one process, queueing is better than polling for the lock.
        self._turn = asyncio.Lock() if self.is_sqlite else nullcontext()

    @asynccontextmanager
    async def reading(self, within_s: float | None = DEADLINE_S) -> AsyncIterator[AsyncConnection]:
        """A connection for a single query. Raises StorageUnavailable."""
        async with self._border(READ, within_s), borrow(self._reader) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, within_s: float | None = DEADLINE_S) -> AsyncIterator[AsyncConnection]:
        """A transaction that holds SQLite's write lock from its start, so that it never fails
        half-way because of another writer. Raises StorageUnavailable."""
        async with self._border(WRITE, within_s):
            async with self._turn, transact(self._writer) as connection:
                yield connection
            await self._check_file()  # otherwise it was committed to a file that nobody will read

    @asynccontextmanager
    async def _border(self, operation: str, within_s: float | None) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(within_s):
                await self._check_file()
                yield
        except self.errors as error:
            self.health.failed(operation, _cause(error))
            raise StorageUnavailable from error
        self.health.succeeded(operation)

    async def _check_file(self) -> None:
        """If the file was removed or replaced, open connections still use one that no other
        process, and no later start, will see: what is written there is lost. Raises Moved.

        A stat costs a microsecond; every other step here goes to a thread.
        """
        if self._path is not None and _identity(self._path) != self._identity:
            await dispose(self._engine)
            raise Moved(
                f"{self._path} was removed or replaced while Doorward was running; put the"
                " file back, or restore a backup as the handbook says and restart Doorward"
            )

    def insert_missing(self, table: Table) -> Insert:
        """An INSERT that skips rows that exist already."""
        if self.is_sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        # importing takes 40 ms, which users of SQLite need not wait
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table).on_conflict_do_nothing()

    def insert_or_update(
        self, table: Table, values: Mapping[str, object], **changed: object
    ) -> Insert:
        """An INSERT of one row; if its key exists already, that row is updated instead."""
        if self.is_sqlite:
            new = sqlite.insert(table).values(values)
            return new.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
        from sqlalchemy.dialects import postgresql

        other = postgresql.insert(table).values(values)
        return other.on_conflict_do_update(index_elements=table.primary_key, set_=changed)

    async def use_wal(self) -> None:
        """Lets readers of SQLite continue during a write; the file stores this.

        Not done for every connection, so that another program's file is not changed.
        """
        if self.is_sqlite:
            async with self.reading() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    async def close(self) -> None:
        await dispose(self._engine)


def sqlite_engine(path: Path) -> Engine:
    """The database in this file, created with mode 0600 if missing. Raises StorageFault."""
    _make_file(path)
    # in a URL given as text, `?` would end the path
    return _sqlite_engine(URL.create("sqlite+aiosqlite", database=str(path)), path)


def sqlite_reader(path: Path) -> Engine:
    """The database in this file, only for reading. No file is created or changed."""
    uri, options = path.absolute().as_uri(), choose_reading_options(path) | {"uri": "true"}
    return _sqlite_engine(URL.create("sqlite+aiosqlite", database=uri, query=options), path)


def choose_reading_options(path: Path) -> dict[str, str]:
    """The options in a `file:` URI with which SQLite reads this file and creates no other."""
    # Without a log next to it, the file is complete, and can be read without creating one.
    has_log = path.with_name(f"{path.name}-wal").exists()
    return {"mode": "ro"} if has_log else {"mode": "ro", "immutable": "1"}


def _sqlite_engine(url: URL, path: Path) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _drop_spoilt)
    return Engine(engine, (SQLAlchemyError, OSError), path=path)


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        is_file = stat.S_ISREG(os.fstat(file).st_mode)
        os.close(file)
        if not is_file:
            raise OSError(errno.EINVAL, "is not a file")
    except OSError as error:
        raise StorageFault(
            f"data_dir: {path}: {error.strerror}; let the user that runs Doorward write there"
            " or name another data_dir"
        ) from error


def _prepare(connection: Any, _: object) -> None:
    # Python's own transaction handling is turned off; `_begin` starts transactions.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    if not connection.get_execution_options().get("writes"):
        return
    for attempt in range(1, BUSY_ATTEMPTS + 1):
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            if attempt == BUSY_ATTEMPTS or _result_code(error.orig) != sqlite3.SQLITE_BUSY:
                raise


def _drop_spoilt(context: ExceptionContext) -> None:
    """Closes every connection of the pool after an error that may persist in them."""
    if _result_code(context.original_exception) in SPOILT:
        context.is_disconnect = True


def _drop_read_only(context: ExceptionContext) -> None:
    """Closes every connection of the pool after a read-only server has refused a write, so that
    the next attempt connects to the new primary."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _result_code(error: BaseException | None) -> int | None:
    """The primary result code of an error of SQLite's (https://sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _cause(error: Exception) -> str:
    """The cause of an error, in one line for the log, without statements and values."""
    if isinstance(error, DBAPIError):
        error = error.orig if isinstance(error.orig, Exception) else error
    text = " ".join(str(error).split("\n")[0].split())
    return text or ("no answer in time" if isinstance(error, TimeoutError) else repr(error))


def load_driver() -> Any:
    """The driver of PostgreSQL. Raises StorageFault if it is not installed."""
    try:
        import asyncpg  # type: ignore[import-untyped]
    except ImportError as error:
        raise StorageFault(
            "storage: PostgreSQL needs its driver; install the extra `postgresql` of Doorward"
        ) from error
    return asyncpg


def postgresql_engine(url: str) -> Engine:
    """The database at this libpq URL. Raises StorageFault if the driver is not installed."""
    asyncpg = load_driver()

    async def connect() -> Any:
        # asyncpg reads the URL itself, with sslmode, sockets and password files, like libpq.
        try:
            return await asyncpg.connect(
                url, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S
            )
        except ValueError as error:  # its text may quote the password
            raise asyncpg.InterfaceError("the URL is malformed") from error

    engine = create_engine(
        "postgresql+asyncpg://",
        connect_args={"async_creator_fn": connect},
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
    )
    event.listen(engine, "handle_error", _drop_read_only)
    # Errors while connecting are raised as they come from the driver. InternalClientError: no host
    # in the URL meets `target_session_attrs`.
    errors = (
        SQLAlchemyError,
        OSError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    )
    return Engine(engine, errors, connect)
