"""One contract, on SQLite and on PostgreSQL. `store` is a database; `opened` opens it once more, as
another process would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
from doorward.storage import Database
from doorward.storage.database import SQLITE, open_storage

from tests.support import postgresql
from tests.support.savings import migrated

Open = Callable[[], Awaitable[Database]]
numbers = count()


@pytest.fixture(scope="session")
def postgresql_socket() -> Iterator[str]:
    if (binaries := postgresql.binaries()) is None:
        pytest.skip(postgresql.HOW_TO_GET_IT)
    with postgresql.server(binaries) as socket:
        yield socket


@pytest.fixture
async def postgresql_url(postgresql_socket: str) -> str:
    return await postgresql.fresh_database(postgresql_socket, f"doorward{next(numbers)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> str:
    """What the setting `storage` says; for PostgreSQL a database of the test's own."""
    if request.param == SQLITE:
        return SQLITE
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
async def opened(storage: str, tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:
        if storage == SQLITE:
            migrated(tmp_path)

        async def once() -> Database:
            database = await open_storage(storage, tmp_path)
            stack.push_async_callback(database.close)
            return database

        yield once


@pytest.fixture
async def store(opened: Open) -> Database:
    return await opened()
