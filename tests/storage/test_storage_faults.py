"""A temporary fault of the database: no data are lost, no request waits long, and there is one log
line."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.sessions.feed import News
from doorward.accounts.sessions.live import CONFIRMATION_S, Live
from doorward.storage import Database, engine
from doorward.storage.database import SQLITE, open_storage
from doorward.storage.health import READ, WRITE
from doorward.wiring.accounts import Accounts
from structlog.testing import capture_logs

from tests.support.clock import FixedClock
from tests.support.people import NOW, add, open_session

FILE = "doorward.db"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_storage(SQLITE, tmp_path)
    yield database
    await database.close()


# A connection that stays unusable after a temporary fault


async def spoil(store: Database) -> None:
    """Make every connection of the pool read-only, like one that was opened while the file was
    read-only."""
    async with store.engine.reading() as one, store.engine.reading() as two:
        for connection in (one, two):
            await connection.exec_driver_sql("PRAGMA query_only = ON")


async def test_a_connection_that_cannot_write_any_more_is_dropped(store: Database) -> None:
    await spoil(store)
    with pytest.raises(StorageUnavailable):
        await add(store)
    await add(store)


@pytest.mark.parametrize(
    ("code", "is_spoilt"),
    [
        (sqlite3.SQLITE_READONLY_DBMOVED, True),
        (sqlite3.SQLITE_IOERR_FSYNC, True),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, True),
        (sqlite3.SQLITE_CORRUPT_VTAB, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, False),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, False),
    ],
)
def test_an_extended_result_code_tells_whether_connections_are_dropped(
    code: int, is_spoilt: bool
) -> None:
    error = sqlite3.OperationalError("planted")
    error.sqlite_errorcode = code
    context: Any = SimpleNamespace(original_exception=error, is_disconnect=False)
    engine._drop_spoilt(context)
    assert context.is_disconnect is is_spoilt


# A locked or silent database


async def test_writers_that_queue_for_a_locked_database_all_give_up_at_the_same_deadline(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_ATTEMPTS", 1)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()

        async def write() -> float:
            with pytest.raises(StorageUnavailable):
                async with store.engine.writing(within_s=1.5):
                    raise AssertionError("it is locked")
            return time.monotonic() - began

        waits = await asyncio.gather(*(write() for _ in range(10)))
        # In sequence, they would have waited ten seconds.
        assert max(waits) < 8 * engine.BUSY_TIMEOUT_S
        other.execute("ROLLBACK")
    await add(store)


class Silent:
    """The feed of a database that does not answer until released."""

    def __init__(self) -> None:
        self.reads, self.answer = 0, asyncio.Event()
        self.refusal: Exception | None = None
        self.mark = b"mark"

    def marker(self) -> bytes:
        return self.mark

    def check_file(self) -> None:
        pass

    async def head(self) -> int:
        return 0

    async def news(self, after: int) -> News:
        self.reads += 1
        await self.answer.wait()
        if self.refusal is not None:
            raise self.refusal
        return News(after)

    def write_fault(self) -> str | None:
        return None


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def silent() -> tuple[Live, Silent]:
    feed: Any = Silent()
    sessions: Any = None
    return Live(sessions, feed), feed


async def test_requests_that_wait_for_the_news_share_one_read_and_its_failure(
    silent: tuple[Live, Silent],
) -> None:
    live, feed = silent
    waiting = [asyncio.create_task(live.catch_up(NOW)) for _ in range(12)]
    await settle()
    assert feed.reads == 1
    feed.refusal = StorageUnavailable()
    feed.answer.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StorageUnavailable}
    assert feed.reads <= 2


async def test_a_request_that_leaves_does_not_take_the_news_from_the_others(
    silent: tuple[Live, Silent],
) -> None:
    live, feed = silent
    first, second = [asyncio.create_task(live.catch_up(NOW)) for _ in range(2)]
    await settle()
    first.cancel()
    await settle()
    feed.answer.set()
    await second
    assert live.is_current(NOW) and feed.reads == 1


async def test_entries_added_during_a_read_are_read(
    silent: tuple[Live, Silent],
) -> None:
    live, feed = silent
    first = asyncio.create_task(live.catch_up(NOW))
    await settle()
    feed.mark = b"moved"  # a revocation that was acknowledged after the read began
    second = asyncio.create_task(live.catch_up(NOW))
    await settle()
    feed.answer.set()
    await asyncio.gather(first, second)
    assert feed.reads == 2 and live.is_current(NOW)


async def test_readiness_reports_silence_and_the_last_failed_write(
    accounts: Accounts, clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = accounts.live
    await live.poll(clock())
    assert live.fault(clock()) is None
    assert "has not answered" in (live.fault(clock() + CONFIRMATION_S) or "")
    monkeypatch.setattr(engine, "BUSY_ATTEMPTS", 1)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable):
            await accounts.users.add("alice", "correct horse battery", now=clock())
        assert "locked" in (live.fault(clock()) or "")
        with pytest.raises(StorageUnavailable):
            await live.poll(clock())
        assert "locked" in (live.fault(clock()) or "")
        other.execute("ROLLBACK")
    await live.poll(clock())
    assert live.fault(clock()) is None


# Log lines


async def test_each_cause_of_a_failing_write_is_logged_once_and_so_is_the_recovery(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_ATTEMPTS", 1)
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
    with capture_logs() as logs:
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        with closing(other):
            other.execute("BEGIN IMMEDIATE")
            for number in range(3):
                with pytest.raises(StorageUnavailable):
                    await add(store, f"user{number}")
            other.execute("ROLLBACK")
        await add(store)
        await add(store, "bob")
    told = [(line["event"], line["operation"]) for line in logs]
    assert told == [("storage_failed", WRITE), ("storage_recovered", WRITE)]
    assert logs[0]["reason"] == "database is locked"


# A removed or replaced file


async def test_a_file_that_was_removed_takes_no_writes_that_would_be_lost(
    store: Database, tmp_path: Path
) -> None:
    user = await add(store)
    os.unlink(tmp_path / FILE)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(StorageUnavailable):
                await open_session(store, user)
            with pytest.raises(StorageUnavailable):
                await store.feed.news(0)
    assert [line["operation"] for line in logs] == [WRITE, READ]
    assert "was removed or replaced" in logs[0]["reason"] and FILE in logs[0]["reason"]


async def test_a_file_that_was_replaced_is_not_read_and_the_old_one_in_its_place_is(
    store: Database, tmp_path: Path
) -> None:
    user = await add(store)
    session = await open_session(store, user)
    aside = tmp_path / "aside.db"
    os.rename(tmp_path / FILE, aside)
    shutil.copy(aside, tmp_path / FILE)
    with pytest.raises(StorageUnavailable):
        await store.sessions.end(session.number, NOW, "logout")
    os.replace(aside, tmp_path / FILE)
    assert await store.sessions.end(session.number, NOW, "logout")


async def test_a_write_that_was_under_way_when_the_file_was_removed_is_not_acknowledged(
    store: Database, tmp_path: Path
) -> None:
    with pytest.raises(StorageUnavailable):
        async with store.engine.writing() as connection:
            await connection.exec_driver_sql("UPDATE feed_counter SET number = number + 1")
            os.unlink(tmp_path / FILE)
