"""Sessions in storage, on every database."""

from __future__ import annotations

import asyncio
from dataclasses import fields

import pytest
from doorward.accounts.audit.audit_log import Event, Kind
from doorward.accounts.session import FULL, PENDING
from doorward.accounts.user import NewPassword
from doorward.storage import Database, rows

from tests.storage.conftest import Open
from tests.support.people import NOW, add, digest, draft, open_session


async def test_a_session_is_read_as_stored(store: Database) -> None:
    user = await add(store, groups=("wiki",))
    token = digest()
    given = draft(
        user,
        second_factor_at=NOW,
        method="totp",
        trusted_until=NOW + 5,
        trusted_fingerprint="f",
        idle_timeout_s=None,
        remember=True,
        level=PENDING,
    )
    kept = await store.sessions.insert(given, token)
    found = await store.sessions.by_digest(token)
    assert kept is not None and found is not None and kept.number > 0
    for field in fields(kept):
        assert getattr(found, field.name) == getattr(kept, field.name), field.name
    assert await store.sessions.by_digest(digest()) is None


async def test_an_unknown_level_gives_no_more_than_a_pending_one(
    store: Database,
) -> None:
    """A newer version may have written it."""
    user, token = await add(store), digest()
    await store.sessions.insert(draft(user), token)
    found = await store.sessions.by_digest(token)
    assert found is not None and found.level is FULL
    await store.sessions.insert(draft(user, level="fuller"), other := digest())
    found = await store.sessions.by_digest(other)
    assert found is not None and found.level is PENDING


async def test_an_ended_session_is_still_known(store: Database) -> None:
    user = await add(store)
    token = digest()
    session = await store.sessions.insert(draft(user), token)
    assert session is not None
    assert await store.sessions.end(session.number, NOW + 1, "logout")
    found = await store.sessions.by_digest(token)
    assert found is not None and found.ended_at == NOW + 1
    assert not await store.sessions.end(session.number, NOW + 2, "logout"), "it ended before"
    assert (await store.feed.news(0)).sessions == {session.number}


async def test_the_new_session_and_the_end_of_the_old_are_one_step(store: Database) -> None:
    user = await add(store)
    old = await open_session(store, user)
    new = await store.sessions.insert(draft(user), digest(), replaces=old.number)
    assert new is not None
    assert [s.number for s in await store.sessions.list(user.number, NOW)] == [new.number]
    assert (await store.feed.news(0)).sessions == {old.number}


async def test_iat_is_the_next_free_second(store: Database) -> None:
    alice, bob = await add(store, "alice"), await add(store, "bob")
    seconds = [(await open_session(store, alice)).iat - int(NOW) for _ in range(3)]
    assert seconds == [0, 1, 2]
    assert (await open_session(store, bob)).iat == int(NOW)
    assert (await open_session(store, alice, NOW + 5)).iat == int(NOW) + 5
    assert (await open_session(store, alice)).iat == int(NOW) + 3


async def test_iat_is_unique_under_parallel_logins(opened: Open) -> None:
    stores = [await opened(), await opened()]
    user = await add(stores[0])
    logins = [open_session(store, user) for store in stores for _ in range(20)]
    sessions = await asyncio.gather(*logins)
    assert sorted(session.iat for session in sessions) == [int(NOW) + i for i in range(40)]


@pytest.mark.parametrize("change", ["password", "ban", "disable", "delete"])
async def test_a_login_begun_before_a_change_opens_no_session(store: Database, change: str) -> None:
    user = await add(store)
    if change == "password":
        await store.users.set_password(user, NewPassword("h", "s"), must_change=False, now=NOW)
    elif change == "ban":
        await store.users.set_banned(user, True, NOW)
    elif change == "disable":
        await store.users.set_active(user, False, NOW)
    else:
        await store.users.delete(user, NOW)
    token = digest()
    assert await store.sessions.insert(draft(user), token) is None
    assert await store.sessions.by_digest(token) is None


async def test_no_session_survives_a_password_change_that_races_with_logins(opened: Open) -> None:
    """CVE-2026-40934, with the login and the change at the same time."""
    stores = [await opened(), await opened()]
    user = await add(stores[0])
    logins = [store.sessions.insert(draft(user), digest()) for store in stores for _ in range(10)]
    new = NewPassword("new", "s")
    change = stores[1].users.set_password(user, new, must_change=False, now=NOW + 1)
    opened_sessions = (await asyncio.gather(*logins[:10], change, *logins[10:]))[:10]
    assert await stores[0].sessions.list(user.number, NOW + 1) == []
    ended = {session.number for session in opened_sessions if session is not None}
    assert ended <= (await stores[0].feed.news(0)).sessions


async def test_all_sessions_of_a_user_end_but_one(store: Database) -> None:
    alice, bob = await add(store, "alice"), await add(store, "bob")
    sessions = [await open_session(store, alice) for _ in range(4)]
    other = await open_session(store, bob)
    assert await store.sessions.end(sessions[0].number, NOW, "logout")
    assert await store.sessions.end_all(alice.number, NOW, "all", sessions[1].number) == 2
    assert await store.sessions.end_all(alice.number, NOW, "all", None) == 1
    assert await store.sessions.end_all(alice.number, NOW, "all", None) == 0
    assert [s.number for s in await store.sessions.list(bob.number, NOW)] == [other.number]
    assert (await store.feed.news(0)).sessions == {session.number for session in sessions}


async def test_live_sessions_are_listed_newest_first(store: Database) -> None:
    user = await add(store)
    idle = await open_session(store, user, idle_timeout_s=10.0)
    await open_session(store, user, expires_at=NOW + 10)
    lasting = await open_session(store, user, NOW + 1)
    listed = [s.number for s in await store.sessions.list(user.number, NOW + 9)]
    assert listed[0] == lasting.number and len(listed) == 3
    await store.sessions.touch([(idle.number, NOW + 9)])
    listed = [s.number for s in await store.sessions.list(user.number, NOW + 10)]
    assert listed == [lasting.number, idle.number]


async def test_more_uses_than_fit_one_statement_are_all_written(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 2)
    user = await add(store)
    numbers = [(await open_session(store, user)).number for _ in range(5)]
    await store.sessions.touch([(number, NOW + 7) for number in numbers])
    listed = await store.sessions.list(user.number, NOW + 7)
    assert [session.last_used_at for session in listed] == [NOW + 7] * 5


async def test_last_use_only_grows(opened: Open) -> None:
    stores = [await opened(), await opened()]
    user = await add(stores[0])
    sessions = [await open_session(stores[0], user) for _ in range(30)]
    numbers = [session.number for session in sessions]
    await asyncio.gather(
        stores[0].sessions.touch([(number, NOW + 7) for number in numbers]),
        stores[1].sessions.touch([(number, NOW + 5) for number in reversed(numbers)]),
        stores[1].sessions.touch([]),
    )
    assert {s.last_used_at for s in await stores[0].sessions.list(user.number, NOW + 7)} == {
        NOW + 7
    }


async def test_one_session_too_many_ends_the_oldest_of_its_level(store: Database) -> None:
    user, other = await add(store, "alice"), await add(store, "bob")
    await open_session(store, other)
    old = [await open_session(store, user, NOW + i) for i in range(3)]
    waiting = await open_session(store, user, NOW + 3, level=PENDING)
    over = await open_session(store, user, NOW + 4, idle_timeout_s=0.5)
    for second, left in ((5, {1, 2}), (6, {2})):
        new = await store.sessions.insert(draft(user, NOW + second), digest(), most=3)
        assert new is not None
        old.append(new)
        numbers = {s.number for s in await store.sessions.list(user.number, NOW + second)}
        assert numbers == {
            waiting.number,
            *(old[i].number for i in left),
            *(s.number for s in old[3:]),
        }
    ended = await store.sessions.by_id(old[0].id)
    assert ended is not None and (ended.ended_by, ended.ended_at) == ("limit", NOW + 5)
    assert (await store.feed.news(0)).sessions == {old[0].number, old[1].number}
    assert over.number not in (await store.feed.news(0)).sessions
    assert len(await store.sessions.list(other.number, NOW)) == 1


async def test_logins_at_once_leave_as_many_as_allowed(opened: Open) -> None:
    stores = [await opened(), await opened()]
    user = await add(stores[0])
    logins = [s.sessions.insert(draft(user), digest(), most=5) for s in stores for _ in range(10)]
    assert None not in await asyncio.gather(*logins)
    assert len(await stores[0].sessions.list(user.number, NOW)) == 5


async def test_sessions_are_found_by_id_and_listed_for_all(store: Database) -> None:
    alice, bob = await add(store, "alice"), await add(store, "bob")
    one, other = await open_session(store, alice), await open_session(store, bob, NOW + 1)
    found = await store.sessions.by_id(one.id)
    assert found is not None and (found.number, found.user) == (one.number, alice)
    assert await store.sessions.by_id("nobody") is None
    listed = await store.listings.sessions(NOW + 1, None, 10)
    assert [(s.number, s.user.username) for s in listed] == [
        (other.number, "bob"), (one.number, "alice")
    ]  # fmt: skip
    assert await store.sessions.end_many([one.number, other.number, 4711], NOW + 2, "command") == 2
    assert await store.sessions.end_many([], NOW + 2, "command") == 0
    assert await store.listings.sessions(NOW + 2, None, 10) == []
    assert (await store.feed.news(0)).sessions == {one.number, other.number, 4711}


async def test_rows_that_expired_long_ago_are_deleted_in_batches(store: Database) -> None:
    user = await add(store)
    day, endless = 86_400, 10 * 365 * 86_400
    ended = await open_session(store, user, idle_timeout_s=None, expires_at=NOW + endless)
    await store.sessions.end(ended.number, NOW + 10 * day, "logout")
    idle = await open_session(store, user, idle_timeout_s=day, expires_at=NOW + endless)
    expired = await open_session(store, user, idle_timeout_s=None, expires_at=NOW + 20 * day)
    live = await open_session(store, user, idle_timeout_s=None, expires_at=NOW + endless)
    assert await store.sessions.purge(NOW + day, 10) == 0
    assert await store.sessions.purge(NOW + day + 1, 10) == 1
    assert await store.sessions.by_id(idle.id) is None
    assert await store.sessions.purge(NOW + 21 * day, 1) == 1
    assert await store.sessions.purge(NOW + 21 * day, 1) == 1
    assert await store.sessions.purge(NOW + 21 * day, 1) == 0
    assert [await store.sessions.by_id(s.id) for s in (ended, expired)] == [None, None]
    assert await store.sessions.by_id(live.id) is not None


async def test_sessions_of_an_earlier_time_are_counted_and_ended(store: Database) -> None:
    """Those that have not expired, and need a key that is to be retired."""
    alice, bob = await add(store, "alice"), await add(store, "bob")
    old = [await open_session(store, user, NOW) for user in (alice, bob)]
    new = await open_session(store, alice, NOW + 10)
    gone = await open_session(store, alice, NOW)
    await store.sessions.end(gone.number, NOW, "logout")
    await store.sessions.insert(draft(bob, expires_at=NOW + 11), digest())
    await store.sessions.insert(draft(bob, idle_timeout_s=11.0), digest())
    found = await store.key_uses.count_opened(NOW + 10, NOW + 11)
    assert (found.count, found.last_end) == (2, old[0].expires_at)
    event = Event(NOW + 11, Kind.SESSIONS_ENDED)
    assert await store.sessions.end_opened(NOW + 10, NOW + 11, "command", event) == 2
    assert await store.sessions.end_opened(NOW + 10, NOW + 11, "command", event) == 0
    assert [s.number for s in await store.sessions.list(alice.number, NOW + 11)] == [new.number]
    assert (await store.feed.news(0)).sessions == {gone.number, *(s.number for s in old)}
    nothing = await store.key_uses.count_opened(NOW - 10, NOW)
    assert (nothing.count, nothing.last_end) == (0, 0.0)


@pytest.mark.parametrize("at_once", [1, 3, 5, 100])
async def test_any_number_of_sessions_is_listed_a_few_at_a_time(
    store: Database, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("doorward.storage.sessions.READ_AT_ONCE", at_once)
    user = await add(store)
    opened = [await open_session(store, user, NOW + n // 2) for n in range(6)]
    await store.sessions.end(opened.pop(2).number, NOW + 9, "logout")
    idle = await open_session(store, user, NOW + 9, idle_timeout_s=1.0)
    newest = [one.number for one in reversed(opened)]
    for most in (None, 1, 3, 4, 5, 9):
        listed = await store.sessions.list(user.number, NOW + 20, most)
        assert [one.number for one in listed] == newest[:most], most
    assert idle.number not in newest
