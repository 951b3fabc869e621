"""A PostgreSQL server that stops being the primary: the next attempt finds the new one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest
from doorward.accounts.refusals import StorageUnavailable
from doorward.storage import Database
from doorward.storage.connection import AsyncConnection
from doorward.storage.database import open_storage
from structlog.testing import capture_logs

from tests.storage.conftest import numbers, opened_at
from tests.support import postgresql
from tests.support.people import add, all_users

pytestmark = pytest.mark.outside


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder of the socket of a server of this module's own."""
    with postgresql.server() as socket:
        yield socket


@pytest.fixture
def name() -> str:
    return f"failover{next(numbers)}"


async def make(socket: str, name: str, folder: Path) -> str:
    """A database with tables; its URL."""
    url = await postgresql.fresh_database(socket, name)
    await (await open_storage(url, folder)).close()
    return url


@asynccontextmanager
async def read_only(store: Database, socket: str) -> AsyncIterator[None]:
    """Every session at this server is read-only, as at a standby: new ones, and those of two open
    connections of the pool."""
    try:
        async with store.engine.reading() as one, store.engine.reading() as two:
            await _set(socket, "ALTER SYSTEM SET default_transaction_read_only = on")
            for connection in (one, two):
                while await _value(connection) != "on":
                    pass
        yield
    finally:
        await _set(socket, "ALTER SYSTEM RESET default_transaction_read_only")


async def _set(socket: str, statement: str) -> None:
    connection = await asyncpg.connect(host=socket, user="doorward", database="postgres")
    try:
        await connection.execute(statement)
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


async def _value(connection: AsyncConnection) -> str:
    return str((await connection.exec_driver_sql("SHOW default_transaction_read_only")).scalar())


async def test_after_a_failover_the_next_attempt_finds_the_new_primary(
    former: str, postgresql_socket: str, name: str, tmp_path: Path
) -> None:
    await make(former, name, tmp_path)
    new = await make(postgresql_socket, name, tmp_path)
    url = f"postgresql://doorward@/{name}?host={former},{postgresql_socket}"
    async with opened_at(f"{url}&target_session_attrs=read-write", tmp_path) as store:
        await add(store, "before")
        async with read_only(store, former):
            with capture_logs() as logs, pytest.raises(StorageUnavailable):
                await add(store, "during")
            assert [line["event"] for line in logs] == ["storage_failed"]
            assert "read-only" in logs[0]["reason"]
            await add(store, "after")
            assert [user.username for user in await all_users(store)] == ["after"]
        async with opened_at(new, tmp_path) as there:
            assert [user.username for user in await all_users(there)] == ["after"]


async def test_without_a_primary_the_database_is_unavailable(
    former: str, name: str, tmp_path: Path
) -> None:
    """And no error that Doorward does not expect."""
    url = f"{await make(former, name, tmp_path)}&target_session_attrs=read-write"
    async with opened_at(url, tmp_path) as store:
        async with read_only(store, former):
            for _ in range(2):
                with pytest.raises(StorageUnavailable):
                    await add(store)
            with pytest.raises(StorageUnavailable):
                await store.feed.heard()
        await add(store)
