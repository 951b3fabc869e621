"""The audit trail: written together with the operation or not at all, filtered, and never
changed."""

from __future__ import annotations

import ast
import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from doorward.accounts.audit.audit_log import Event, Kind, Record, RecordFilter
from doorward.accounts.refusals import NameTaken, StorageUnavailable, UserNotFound
from doorward.accounts.user import NewPassword
from doorward.storage import Database, audit_log
from doorward.storage.audit_log import TOLD_AT_ONCE
from doorward.storage.database import SQLITE, open_storage

from tests.storage.conftest import Open
from tests.support.people import NOW, add, all_users, digest, draft, new_user, open_session

EVENT = Event(NOW, Kind.LOGIN, "Alice", "Alice", "192.0.2.1", "s" * 17, "r-1", "done", "page")
ANY = RecordFilter()


async def kinds(store: Database) -> list[Kind]:
    return [record.event.kind for record in await store.audit_log.latest(ANY, 99)]


async def test_a_record_is_read_as_written(store: Database, opened: Open) -> None:
    await store.audit_log.record(EVENT)
    (record,) = await (await opened()).audit_log.latest(ANY, 9)
    assert record.event == EVENT


async def test_the_newest_records_are_listed_oldest_first(store: Database) -> None:
    for second in range(5):
        await store.audit_log.record(replace(EVENT, at=NOW + second))
    latest = await store.audit_log.latest(ANY, 3)
    assert [record.event.at for record in latest] == [NOW + 2, NOW + 3, NOW + 4]
    assert await store.audit_log.after(latest[0].number, ANY) == latest[1:]
    assert not await store.audit_log.after(latest[-1].number, ANY)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RecordFilter(), {1, 2, 3}),
        (RecordFilter(user="Alice"), {1, 3}),
        (RecordFilter(user="Carol"), set()),
        (RecordFilter(kind=Kind.USER_BANNED), {3}),
        (RecordFilter(since=NOW + 2), {2, 3}),
        (RecordFilter("Alice", Kind.LOGIN, NOW), {1}),
        (RecordFilter("Alice", Kind.LOGIN, NOW + 2), set()),
    ],
)
async def test_records_are_chosen_by_user_kind_and_time(
    store: Database, wanted: RecordFilter, found: set[int]
) -> None:
    for event in (
        replace(EVENT, at=NOW + 1),
        replace(EVENT, at=NOW + 2, actor="Bob", subject="Bob"),
        replace(EVENT, at=NOW + 3, actor="Alice", subject="Bob", kind=Kind.USER_BANNED),
    ):
        await store.audit_log.record(event)
    for records in (
        await store.audit_log.latest(wanted, 9),
        await store.audit_log.after(0, wanted),
    ):
        assert {int(record.event.at - NOW) for record in records} == found


async def test_an_act_that_did_not_happen_leaves_no_record(store: Database) -> None:
    user = await add(store)
    with pytest.raises(NameTaken):
        await store.users.insert(new_user("ALICE"), NOW, EVENT)
    await store.users.delete(user, NOW)
    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: store.users.set_banned(user, True, NOW, EVENT),
        lambda: store.users.set_active(user, False, NOW, EVENT),
        lambda: store.users.delete(user, NOW, EVENT),
        lambda: store.users.set_password(
            user, NewPassword("h", "s"), must_change=False, now=NOW, event=EVENT
        ),
    ]
    for act in acts:
        with pytest.raises(UserNotFound):
            await act()
    assert await store.sessions.insert(draft(user), digest(), event=EVENT) is None
    assert await kinds(store) == []


async def test_a_session_that_ended_before_is_not_recorded_again(store: Database) -> None:
    session = await open_session(store, await add(store))
    for _ in range(2):
        await store.sessions.end(session.number, NOW, "logout", EVENT)
    assert await kinds(store) == [Kind.LOGIN]


async def test_a_record_of_several_sessions_has_their_number(store: Database) -> None:
    user = await add(store)
    for _ in range(3):
        session = await open_session(store, user)
    assert await store.sessions.end_all(user.number, NOW, "logout", session.number, EVENT) == 2
    (record,) = await store.audit_log.latest(ANY, 9)
    assert record.event.detail == "page (2 ended)"


async def test_a_listener_gets_each_stored_record_once(tmp_path: Path) -> None:
    heard: list[Record] = []
    store = await open_storage(SQLITE, tmp_path, heard.append)
    user = await store.users.insert(new_user(), NOW, EVENT)
    with pytest.raises(NameTaken):
        await store.users.insert(new_user("ALICE"), NOW, EVENT)
    await store.users.set_banned(user, True, NOW, EVENT)
    await store.audit_log.record(EVENT)
    assert heard == list(await store.audit_log.latest(ANY, 9)) and len(heard) == 3
    await store.close()


@pytest.fixture
async def telling(tmp_path: Path) -> AsyncIterator[tuple[Database, list[int]]]:
    """A database, and the turn of the event loop in which each record was passed to the sink."""
    told: list[int] = []
    loop, turn, is_over = asyncio.get_running_loop(), 0, False

    def count() -> None:
        nonlocal turn
        turn += 1
        if not is_over:
            loop.call_soon(count)

    count()
    store = await open_storage(SQLITE, tmp_path, lambda record: told.append(turn))
    yield store, told
    is_over = True
    await store.close()


async def test_records_are_passed_on_in_small_batches(
    telling: tuple[Database, list[int]],
) -> None:
    """Each takes the time to write a line of JSON, and requests wait in the meantime."""
    store, told = telling
    await store.sessions.end_many([], NOW, "revoked", [EVENT] * 1203)
    assert len(told) == 1203
    assert max(Counter(told).values()) == TOLD_AT_ONCE


async def test_stored_records_reach_the_sink_even_if_the_caller_is_cancelled(
    tmp_path: Path,
) -> None:
    told: list[Record] = []

    def tell(record: Record) -> None:
        told.append(record)
        ending.cancel()

    store = await open_storage(SQLITE, tmp_path, tell)
    ending = asyncio.ensure_future(store.sessions.end_many([], NOW, "revoked", [EVENT] * 1203))
    await asyncio.wait([ending])
    assert ending.cancelled() and len(told) == 1203
    await store.close()


def test_records_are_never_changed() -> None:
    """No code in storage updates the table, and only one statement deletes from it: old records."""
    changed = []
    for file in Path(audit_log.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("update", "delete") and node.args:
                    changed.append((file.name, node.func.id, ast.unparse(node.args[0])))
    assert [one for one in changed if one[2] == "audit"] == [("audit_log.py", "delete", "audit")]


async def test_an_act_that_cannot_be_recorded_does_not_happen(store: Database) -> None:
    """It fails closed: there is no login without its record."""
    user = await add(store)
    async with store.engine.writing() as connection:
        await connection.exec_driver_sql("ALTER TABLE audit RENAME TO gone")
    with pytest.raises(StorageUnavailable):
        await store.sessions.insert(draft(user), digest(), event=EVENT)
    with pytest.raises(StorageUnavailable):
        await store.users.set_banned(user, True, NOW, EVENT)
    assert not await store.sessions.list(user.number, NOW)
    (same,) = await all_users(store)
    assert not same.banned


async def test_old_records_are_forgotten_a_batch_at_a_time(store: Database) -> None:
    for second in range(7):
        await store.audit_log.record(Event(NOW + second, Kind.LOGIN))
    assert [await store.audit_log.purge(NOW + 5, 2) for _ in range(4)] == [2, 2, 1, 0]
    left = await store.audit_log.latest(RecordFilter(), 9)
    assert [record.event.at for record in left] == [NOW + 5, NOW + 6]
