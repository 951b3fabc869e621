"""Long lists: pages that continue after the last one, each read with an index."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts import administration
from doorward.accounts.administration import Cursor, UserFilter
from doorward.accounts.audit.audit_log import Event, Kind, RecordFilter
from doorward.accounts.passwords.regulation import Budget, Period
from doorward.accounts.sessions.sessions import FULL, PENDING, PENDING_S, ClientInfo
from doorward.storage import Database
from doorward.storage.database import DATABASE_FILE, SQLITE, open_storage
from doorward.wiring.accounts import Accounts
from sqlalchemy import event

from tests.support import sessions as opening
from tests.support.clock import FixedClock
from tests.support.crowd import fill
from tests.support.people import NOW, add, new_user, open_session

EVENT = Event(NOW, Kind.LOGIN, "Alice", "Alice", "192.0.2.1", "s" * 17, "r-1", "done", "page")


async def names(store: Database, begins: str = "", page: int = 2, **more: Any) -> list[str]:
    """All matching names, read page by page."""
    found: list[str] = []
    after: Cursor | None = None
    while True:
        rows = await store.listings.users(UserFilter(begins, **more), after, page)
        found += [user.username for _, user in rows]
        if len(rows) < page:
            return found
        after = rows[-1][0]


async def test_users_come_in_pages_by_name_whatever_their_source(store: Database) -> None:
    for name in ("dora", "Ålice", "bob", "Zoe", "😀 smile", "carol"):
        await add(store, name)
    await store.users.insert(new_user("bob", source="config", handles=("config bob",)), NOW)
    everybody = ["bob", "bob", "carol", "dora", "Zoe", "Ålice", "😀 smile"]
    for page in (1, 2, 3, 50):
        assert await names(store, page=page) == everybody


@pytest.mark.parametrize(
    ("begins", "found"),
    [
        ("bo", ["bob"]),
        ("bob@", ["bob"]),
        ("work", ["bob", "carol"]),
        ("work@b", ["bob"]),
        ("d", ["dora", "dorothea", "eve"]),
        ("%", []),
        ("_ob", []),
        ("ob", []),
        ("' or 1=1 --", []),
        ("å", ["Ålice"]),
    ],
)
@pytest.mark.parametrize("page", [1, 2, 50])
async def test_users_are_found_by_the_beginning_of_a_name_or_address_once_each(
    store: Database, begins: str, found: list[str], page: int
) -> None:
    await add(store, "bob", "bob@home.example", "work@b.example", "works@c.example")
    await add(store, "carol", "work@c.example")
    await add(store, "dora", "dora@example.com", "da@example.com")
    await add(store, "dorothea")
    await add(store, "eve", "dz@example.com")
    await add(store, "Ålice")
    assert await names(store, begins, page=page) == found


async def test_only_the_banned_can_be_chosen(store: Database) -> None:
    for name in ("alice", "bob", "bert", "carol"):
        user = await add(store, name, f"x{name}@example.com")
        await store.users.set_banned(user, name.startswith("b"), NOW)
    assert await names(store, banned=True, page=1) == ["bert", "bob"]
    assert await names(store, "bo", banned=True) == ["bob"]
    assert await names(store, "x", banned=True) == ["bert", "bob"]


async def test_a_user_is_found_by_its_public_id(store: Database) -> None:
    user = await add(store)
    assert await store.listings.user(user.id) == user
    assert await store.listings.user("x" * 17) is None


async def test_live_sessions_are_listed_newest_first(store: Database) -> None:
    alice, bob = await add(store), await add(store, "bob")
    opened = [await open_session(store, user, NOW + i) for i, user in enumerate([alice, bob] * 3)]
    await store.sessions.end(opened[4].number, NOW, "logout")
    await open_session(store, alice, NOW - 90_000)
    await open_session(store, bob, NOW - 8000)  # beyond the idle timeout
    first = await store.listings.sessions(NOW, None, 2)
    assert [one.number for one in first] == [opened[5].number, opened[3].number]
    rest = await store.listings.sessions(NOW, first[-1].number, 9)
    assert [one.number for one in rest] == [opened[i].number for i in (2, 1, 0)]


async def test_records_come_newest_first_by_whoever_did_it_or_had_it_done(store: Database) -> None:
    for second in range(6):
        actor, subject = [("Alice", "Bob"), ("Bob", "Bob"), ("Carol", "Alice")][second % 3]
        kind = Kind.USER_BANNED if second > 3 else Kind.LOGIN
        done = replace(EVENT, at=NOW + second, actor=actor, subject=subject, kind=kind)
        await store.audit_log.record(done)

    async def seconds(wanted: RecordFilter, page: int = 2) -> list[int]:
        found: list[int] = []
        before: int | None = None
        while records := await store.listings.records(wanted, before, page):
            found += [int(one.event.at - NOW) for one in records]
            before = records[-1].number
        return found

    assert await seconds(RecordFilter()) == [5, 4, 3, 2, 1, 0]
    assert await seconds(RecordFilter(user="Bob")) == [4, 3, 1, 0]
    assert await seconds(RecordFilter(user="Alice"), page=1) == [5, 3, 2, 0]
    assert await seconds(RecordFilter(user="Alice", kind=Kind.USER_BANNED)) == [5]
    assert await seconds(RecordFilter(since=NOW + 2)) == [5, 4, 3, 2]
    assert await seconds(RecordFilter(user="\ud800")) == []


async def test_lock_outs_are_listed_in_the_order_of_their_end(store: Database) -> None:
    for i in range(4):
        budget = Budget(f"name {i}", "192.0.2.0/32", 1)
        await store.attempts.spend(f"attempt {i}", [budget], Period(60, 60 + i), NOW)
    assert [lock.until for lock in await store.listings.locks(NOW, 2)] == [NOW + 60, NOW + 61]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crowd")
    fill(folder)
    return folder


Plans = Callable[[], list[str]]


@pytest.fixture
async def asked(crowd: Path) -> AsyncIterator[tuple[Database, Plans]]:
    """The database, and SQLite's plan for each query."""
    store = await open_storage(SQLITE, crowd)
    statements: list[tuple[str, Sequence[Any]]] = []

    def note(_: object, cursor: object, statement: str, parameters: Any, *more: object) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    def plans() -> list[str]:
        with closing(sqlite3.connect(crowd / DATABASE_FILE)) as file:
            explained = [file.execute(f"EXPLAIN QUERY PLAN {s}", p) for s, p in statements]
            return [row[3] for rows in explained for row in rows]

    event.listen(store.engine._engine, "before_cursor_execute", note)
    yield store, plans
    await store.close()


@pytest.mark.parametrize(
    ("begins", "banned", "after"),
    [
        ("", False, None),
        ("", False, Cursor("user099000", 99000)),
        ("", True, Cursor("user050000", 50000)),
        ("user", False, Cursor("user099000", 99000)),
        ("user0990", False, None),
        ("mail0990", False, None),
        ("mail", False, Cursor("mail099000@example.com", 99000)),
        ("nobody", False, None),
    ],
)
async def test_a_page_of_100000_users_is_a_range_of_an_index(
    asked: tuple[Database, Plans], begins: str, banned: bool, after: Cursor | None
) -> None:
    store, plans = asked
    rows = await store.listings.users(UserFilter(begins, banned), after, 50)
    assert len(rows) == (0 if begins == "nobody" else 50)
    said = plans()
    assert said and not [step for step in said if "TEMP B-TREE" in step], "nothing is sorted"
    scanned = [step for step in said if step.startswith("SCAN")]
    assert not scanned or (not begins and after is None and "INDEX" in scanned[0]), said


@pytest.mark.parametrize(
    "wanted",
    [
        RecordFilter(),
        RecordFilter(user="User010001"),
        RecordFilter(kind=Kind.LOGIN),
        RecordFilter(user="User014711"),
    ],
)
async def test_a_page_of_100000_records_is_a_range_of_an_index(
    asked: tuple[Database, Plans], wanted: RecordFilter
) -> None:
    store, plans = asked
    records = await store.listings.records(wanted, 90_000, 50)
    assert records and records[0].number < 90_000
    said = plans()
    assert said and not [step for step in said if step.startswith("SCAN") or "TEMP" in step], said


async def test_lists_that_are_read_whole_are_read_in_pages(
    accounts: Accounts, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administration, "PAGE", 2)
    names = [f"user{number}" for number in range(5)]
    client = ClientInfo("192.0.2.7", "")
    opened = []
    for name in names:
        user = await accounts.users.add(name, "correct horse battery", now=clock())
        session = await opening.open_session(accounts.sessions, user, client=client, now=clock())
        opened.append(session.session)
    everyone = accounts.administration.everyone()
    assert [user.username async for user in everyone] == names
    sessions = accounts.administration.every_session(clock())
    assert [session.id async for session in sessions] == [one.id for one in reversed(opened)]


async def test_an_expired_pending_session_does_not_end_a_page_early(
    accounts: Accounts, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administration, "PAGE", 1)
    user = await accounts.users.add("alice", "correct horse battery", now=clock())
    for level in (FULL, PENDING):
        await opening.open_session(accounts.sessions, user, now=clock(), level=level)
    clock.now += PENDING_S + 1
    sessions = accounts.administration.every_session(clock())
    assert [session.level async for session in sessions] == [FULL]
