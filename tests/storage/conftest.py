"""One contract for SQLite and PostgreSQL. `store` is a database; `opened` opens it again, like
another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from doorward.storage import Database
from doorward.storage.database import SQLITE, open_storage

from tests.support import lock_order, postgresql
from tests.support.savings import migrated

Open = Callable[[], Awaitable[Database]]
numbers = count()


@asynccontextmanager
async def opened_at(url: str, folder: Path) -> AsyncIterator[Database]:
    """The database opened as on a separate host, with its own marker."""
    database = await open_storage(url, folder)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture(autouse=True)
def rows_are_locked_in_order() -> Iterator[None]:
    with lock_order.watched():
        yield


@pytest.fixture(scope="session")
def postgresql_socket() -> Iterator[str]:
    with postgresql.server() as socket:
        yield socket


@pytest.fixture
async def postgresql_url(postgresql_socket: str) -> str:
    return await postgresql.fresh_database(postgresql_socket, f"doorward{next(numbers)}")


@pytest.fixture(scope="session")
def postgresql_template(postgresql_socket: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a template database with the tables of the newest version."""
    name = "migrated"

    async def make() -> None:
        url = await postgresql.fresh_database(postgresql_socket, name)
        await (await open_storage(url, tmp_path_factory.mktemp("template"))).close()

    asyncio.run(make())
    return name


@pytest.fixture
async def migrated_postgresql_url(postgresql_socket: str, postgresql_template: str) -> str:
    name = f"doorward{next(numbers)}"
    return await postgresql.fresh_database(postgresql_socket, name, postgresql_template)


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> str:
    """The value of the setting `storage`; for PostgreSQL, a separate database for this test."""
    if request.param == SQLITE:
        return SQLITE
    return str(request.getfixturevalue("migrated_postgresql_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_storage(request: pytest.FixtureRequest) -> str:
    """The same, without tables."""
    return SQLITE if request.param == SQLITE else str(request.getfixturevalue("postgresql_url"))


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
