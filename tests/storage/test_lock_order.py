"""Two concurrent operations on the same rows, each in its own transaction, never end in a deadlock.
Only PostgreSQL locks rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from doorward.accounts.audit.audit_log import Event, Kind
from doorward.accounts.session import Session
from doorward.accounts.token import TokenUse
from doorward.accounts.user import NewPassword, Seen, User
from doorward.storage import Database
from doorward.storage.database import open_storage
from doorward.storage.row_locks import LOCK_ORDER, in_order
from doorward.storage.rows import CHUNK
from doorward.storage.tables import attempts, metadata, sessions, tokens, users
from sqlalchemy import Executable, delete, select, update

from tests.storage.test_token_rows import keep
from tests.support import lock_order
from tests.support.people import NOW, add, digest, draft, open_session
from tests.support.waiting import PATIENCE_S

LOCK = {
    "sessions": "SELECT 1 FROM sessions WHERE number = $1 FOR UPDATE",
    "tokens": "SELECT 1 FROM tokens WHERE number = $1 FOR UPDATE",
}
EVENT = Event(NOW, Kind.SESSIONS_ENDED)


@dataclass
class Rows:
    """Users in two chunks. Those of the second chunk have the sessions with the lower numbers."""

    store: Database
    url: str
    alice: User
    sessions: list[Session]
    tokens: list[int]


@pytest.fixture
async def rows(migrated_postgresql_url: str, tmp_path: Path) -> AsyncIterator[Rows]:
    store = await open_storage(migrated_postgresql_url, tmp_path)
    try:
        yield await filled(store, migrated_postgresql_url)
    finally:
        await store.close()


async def filled(store: Database, url: str) -> Rows:
    await store.users.claim("htpasswd", seen(b"1"), (), NOW)
    listed = [await store.users.by_name("htpasswd", name(n)) for n in (0, CHUNK)]
    first, last = [user for user in listed if user is not None]
    alice = await add(store)
    sessions = [await open_session(store, user) for user in (last, alice, alice, alice, first)]
    # In the table, the row with the lowest number is the last one, as after any change.
    for session in sessions[:2]:
        await store.sessions.prove(session.number, NOW)
    tokens = [(await keep(store, alice)).number for _ in range(3)]
    await store.tokens.touch([TokenUse(tokens[0], NOW, "192.0.2.1", "")])
    return Rows(store, url, alice, sessions, tokens)


def name(number: int) -> str:
    return f"u{number:04}"


def seen(hash_: bytes) -> dict[str, Seen]:
    return {name(n): Seen(name(n), hash_ * 32) for n in range(CHUNK + 1)}


Operation = Callable[[Rows], Awaitable[object]]
OF_SESSIONS: dict[str, Operation] = {
    "a change of every password in a file": lambda r: r.store.users.claim(
        "htpasswd", seen(b"2"), (), NOW, EVENT
    ),
    "ending those of a list": lambda r: r.store.sessions.end_many(
        [one.number for one in reversed(r.sessions)], NOW, "revoked"
    ),
    "ending all of a user": lambda r: r.store.sessions.end_all(r.alice.number, NOW, "all", None),
    "ending the oldest at a login": lambda r: opened(r, most=1),
    "replacing one, and ending the oldest": lambda r: opened(
        r, most=1, replaces=r.sessions[3].number
    ),
    "completing a login, and ending the oldest": lambda r: r.store.sessions.rise(
        r.sessions[3], digest(), "password+totp", NOW, most=1
    ),
    "ending those opened before": lambda r: r.store.sessions.end_opened(NOW + 1, NOW, "all", EVENT),
    "deleting those that are over": lambda r: r.store.sessions.purge(NOW + 10**9, 100),
    "correcting times": lambda r: r.store.sessions.correct(NOW - 1, NOW),
    "a new password": lambda r: r.store.users.set_password(
        r.alice, NewPassword("new", "s"), must_change=False, now=NOW
    ),
    "switching a user off": lambda r: r.store.users.set_active(r.alice, False, NOW),
    "deleting a user": lambda r: r.store.users.delete(r.alice, NOW),
}
OF_TOKENS: dict[str, Operation] = {
    "ending all of a user": lambda r: r.store.tokens.end_all(r.alice.number, NOW, "all", EVENT),
    "ending those that are not used": lambda r: r.store.tokens.end_unused(
        NOW + 1, NOW, "all", EVENT
    ),
    "deleting those that are over": lambda r: r.store.tokens.purge(NOW + 10**9, 100),
    "switching a user off": lambda r: r.store.users.set_active(r.alice, False, NOW),
    "deleting a user": lambda r: r.store.users.delete(r.alice, NOW),
}


async def opened(rows: Rows, **more: Any) -> object:
    return await rows.store.sessions.insert(draft(rows.alice), digest(), **more)


@pytest.mark.parametrize("what", OF_SESSIONS)
async def test_no_change_of_sessions_and_the_note_of_their_use_end_in_a_deadlock(
    rows: Rows, what: str
) -> None:
    used = [(one.number, NOW + 1) for one in rows.sessions]
    lowest = rows.sessions[1].number  # of Alice's
    await both(rows, "sessions", lowest, rows.store.sessions.touch(used), OF_SESSIONS[what])


@pytest.mark.parametrize("what", OF_TOKENS)
async def test_no_change_of_tokens_and_the_note_of_their_use_end_in_a_deadlock(
    rows: Rows, what: str
) -> None:
    used = [TokenUse(number, NOW + 1, "192.0.2.1", "") for number in rows.tokens]
    await both(rows, "tokens", rows.tokens[0], rows.store.tokens.touch(used), OF_TOKENS[what])


async def both(
    rows: Rows, table: str, lowest: int, first: Awaitable[None], second: Operation
) -> None:
    """The first operation waits for a low row, and then needs higher rows, which the second must
    not have locked before it waits. PostgreSQL aborts one of two transactions that wait for each
    other, which would be an error here."""
    blocker, observer = [await asyncpg.connect(rows.url) for _ in range(2)]
    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute(LOCK[table], lowest)
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(first)]
        await waiting(observer, tasks)
        tasks.append(asyncio.ensure_future(second(rows)))
        await waiting(observer, tasks)
        await transaction.rollback()
        await asyncio.gather(*tasks)
    finally:
        await blocker.close()
        await observer.close()


async def waiting(observer: asyncpg.Connection, tasks: list[asyncio.Future[Any]]) -> None:
    """Wait until every task waits for a lock or is done."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with asyncio.timeout(PATIENCE_S):
        while await observer.fetchval(query) < sum(not task.done() for task in tasks):
            await asyncio.sleep(0.01)  # between two queries


def test_every_table_has_its_place_in_the_order() -> None:
    assert set(LOCK_ORDER) == set(metadata.sorted_tables)


@pytest.mark.parametrize(
    "statement",
    [
        update(sessions).where(sessions.c.user_number == 1).values(ended_at=NOW),
        delete(tokens).where(tokens.c.ended_at < NOW),
        delete(attempts).where(attempts.c.budget == "192.0.2.1/32"),
        select(sessions.c.number).where(sessions.c.user_number == 1).with_for_update(),
        delete(users).where(users.c.number == 1),
    ],
    ids=lambda statement: str(statement).split("\n")[0],
)
async def test_no_test_of_storage_passes_a_statement_that_locks_rows_in_no_order(
    store: Database, statement: Executable
) -> None:
    async with store.engine.writing() as connection:
        with pytest.raises(lock_order.OutOfOrder):
            await connection.execute(statement)


async def test_no_test_of_storage_passes_tables_in_another_order(store: Database) -> None:
    async with store.engine.writing() as connection:
        await connection.execute(in_order(sessions, sessions.c.number == 1))
        with pytest.raises(lock_order.OutOfOrder):
            await connection.execute(in_order(users, users.c.number == 1))
