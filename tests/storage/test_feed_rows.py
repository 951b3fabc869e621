"""The revocation feed, on every database: numbers, entries, and deleting old ones."""

from __future__ import annotations

import asyncio

import pytest
from doorward.accounts.refusals import UserNotFound
from doorward.accounts.sessions.feed import News
from doorward.storage import Database, feed
from doorward.storage.feed import KEPT_S

from tests.storage.conftest import Open
from tests.support.people import NOW, add, open_session


async def test_the_feed_returns_entries_after_a_number(store: Database) -> None:
    user = await add(store)
    first, second = await open_session(store, user), await open_session(store, user)
    assert await store.feed.news(0) == News(0)
    await store.sessions.end(first.number, NOW, "logout")
    head = await store.feed.head()
    assert await store.feed.news(0) == News(head, frozenset({first.number}))
    await store.sessions.end(second.number, NOW, "logout")
    await store.users.set_banned(user, True, NOW)
    expected = News(head + 2, frozenset({second.number}), frozenset({user.number}))
    assert await store.feed.news(head) == expected
    assert await store.feed.news(head + 2) == News(head + 2)


async def test_many_entries_are_returned_in_batches(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "READ_AT_ONCE", 2)
    user = await add(store)
    first, second = await open_session(store, user), await open_session(store, user)
    await store.sessions.end(first.number, NOW, "logout")
    await store.sessions.end(second.number, NOW, "logout")
    await store.users.set_banned(user, True, NOW)
    ended = frozenset({first.number, second.number})
    assert await store.feed.news(0) == News(2, ended, more=True)
    assert await store.feed.news(1) == News(3, ended - {first.number}, frozenset({user.number}))
    assert await store.feed.news(2) == News(3, users=frozenset({user.number}))


async def test_opening_a_session_adds_no_entry(store: Database) -> None:
    before = store.feed.marker()
    await open_session(store, await add(store))
    assert await store.feed.head() == 0
    assert store.feed.marker() == before


async def test_a_change_marks_the_file_for_every_process(opened: Open) -> None:
    writer, reader = await opened(), await opened()
    session = await open_session(writer, await add(writer))
    before = reader.feed.marker()
    assert len(before) == 16 and before == writer.feed.marker()
    await writer.sessions.end(session.number, NOW, "logout")
    assert reader.feed.marker() == writer.feed.marker() != before
    assert (await reader.feed.news(0)).sessions == {session.number}


async def test_a_failed_change_adds_no_entry(store: Database) -> None:
    user = await add(store)
    await store.users.delete(user, NOW)
    before, head = store.feed.marker(), await store.feed.head()
    with pytest.raises(UserNotFound):
        await store.users.set_banned(user, True, NOW)
    assert (store.feed.marker(), await store.feed.head()) == (before, head)


async def test_a_reader_behind_deleted_entries_drops_everything(store: Database) -> None:
    user = await add(store)
    sessions = [await open_session(store, user) for _ in range(3)]
    await store.sessions.end(sessions[0].number, NOW, "logout")
    await store.sessions.end(sessions[1].number, NOW + 1, "logout")
    later = NOW + KEPT_S + 0.5
    await store.sessions.end(sessions[2].number, later, "logout")
    assert await store.feed.news(0) == News(3, everything=True)
    assert await store.feed.news(1) == News(3, frozenset({sessions[1].number, sessions[2].number}))


async def test_a_reader_ahead_of_a_restored_backup_drops_everything(store: Database) -> None:
    assert await store.feed.news(99) == News(0, everything=True)


async def test_numbers_appear_in_their_order(opened: Open) -> None:
    """After a reader has seen a number, no smaller one appears."""
    stores = [await opened(), await opened()]
    user = await add(stores[0])
    sessions = [await open_session(stores[0], user) for _ in range(40)]
    seen: set[int] = set()
    done = False

    async def read() -> None:
        number = 0
        while not done or number < 40:
            news = await stores[1].feed.news(number)
            seen.update(news.sessions)
            number = news.number

    async def write() -> None:
        nonlocal done
        ends = [stores[i % 2].sessions.end(s.number, NOW, "x") for i, s in enumerate(sessions)]
        await asyncio.gather(*ends)
        done = True

    await asyncio.gather(read(), write())
    assert seen == {session.number for session in sessions}
