"""API tokens in storage, on every database, and how they end on every worker."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace

import pytest
from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import Event, Kind, RecordFilter
from doorward.accounts.session import TokenScope
from doorward.accounts.token import ApiToken, TokenDraft, TokenUse
from doorward.accounts.user import NewPassword, User
from doorward.storage import Database

from tests.storage.conftest import Open
from tests.support.people import NOW, add, digest

ADDED = Event(NOW, Kind.TOKEN_ADDED)
ENDED = Event(NOW, Kind.TOKEN_ENDED)
SCOPE = TokenScope(("/wiki", "a.example.com/"), ("GET",), ("192.0.2.0/24",), "read")


def draft(user: User, **more: object) -> TokenDraft:
    new = TokenDraft(randomness.public_id(), user, "phone", SCOPE, digest(), NOW, NOW + 100)
    return replace(new, **more)  # type: ignore[arg-type]


async def keep(store: Database, user: User, **more: object) -> ApiToken:
    token = await store.tokens.insert_token(draft(user, **more), 100, ADDED)
    assert token is not None
    return token


async def test_a_token_is_read_as_stored(store: Database) -> None:
    user = await add(store, groups=("wiki",))
    kept = await keep(store, user)
    found = await store.tokens.by_id(kept.id)
    assert found is not None and kept.number > 0
    for field in fields(kept):
        assert getattr(found, field.name) == getattr(kept, field.name), field.name
    assert await store.tokens.by_id(randomness.public_id()) is None
    endless = await keep(store, user, expires_at=None, scope=TokenScope())
    found = await store.tokens.by_id(endless.id)
    assert found is not None and found.expires_at is None and found.scope == TokenScope()


async def test_an_ended_token_is_still_known_and_announced(store: Database) -> None:
    token = await keep(store, await add(store))
    assert await store.tokens.end(token.number, NOW + 1, "revoked", ENDED)
    found = await store.tokens.by_id(token.id)
    assert found is not None and (found.ended_at, found.ended_by) == (NOW + 1, "revoked")
    assert not await store.tokens.end(token.number, NOW + 2, "revoked", ENDED), "it ended before"
    assert (await store.feed.news(0)).sessions == {-token.number}
    records = await store.audit_log.latest(RecordFilter(kind=Kind.TOKEN_ENDED), 9)
    assert len(records) == 1, "only the act itself is written down"


async def test_all_tokens_of_a_user_end_and_no_others(store: Database) -> None:
    alice, bob = await add(store, "alice"), await add(store, "bob")
    mine = [await keep(store, alice) for _ in range(3)]
    other = await keep(store, bob)
    assert await store.tokens.end_all(alice.number, NOW, "revoked", ENDED) == 3
    assert await store.tokens.end_all(alice.number, NOW, "revoked", ENDED) == 0
    assert (await store.feed.news(0)).sessions == {-token.number for token in mine}
    [left] = await store.tokens.list(None, NOW, None, 10)
    assert left.id == other.id


@pytest.mark.parametrize("change", ["ban", "disable", "delete", "password"])
async def test_changes_to_a_user_are_announced_for_its_tokens(store: Database, change: str) -> None:
    """A ban suspends them, a password change does not affect them: they are separate secrets."""
    user = await add(store)
    token = await keep(store, user)
    if change == "ban":
        await store.users.set_banned(user, True, NOW)
    elif change == "disable":
        await store.users.set_active(user, False, NOW)
    elif change == "delete":
        await store.users.delete(user, NOW)
    else:
        await store.users.set_password(user, NewPassword("h", "s"), must_change=False, now=NOW)
    assert user.number in (await store.feed.news(0)).users
    found = await store.tokens.by_id(token.id)
    if change == "delete":
        assert found is None
    else:
        assert found is not None
        assert (found.ended_by == "disabled") == (change == "disable")
        assert found.user.is_usable == (change == "password")
    assert await store.tokens.insert_token(draft(user), 100, ADDED) is None, "it has changed since"


async def test_concurrent_tokens_cannot_exceed_the_limit(opened: Open) -> None:
    stores = [await opened(), await opened()]
    user = await add(stores[0])
    made = await asyncio.gather(
        *(store.tokens.insert_token(draft(user), 5, ADDED) for store in stores for _ in range(5))
    )
    assert len([token for token in made if token is not None]) == 5
    assert len(await stores[0].tokens.list(user.number, NOW, None, 100)) == 5


async def test_tokens_that_were_not_used_since_are_counted_and_ended(store: Database) -> None:
    """Those that need a key that is to be retired: a token gets a new hash when it is used."""
    user = await add(store)
    unused, used, early = [await keep(store, user, expires_at=None) for _ in range(3)]
    await keep(store, user, created_at=NOW + 10, expires_at=None)
    await keep(store, user, expires_at=NOW + 10)
    await store.tokens.touch([TokenUse(used.number, NOW + 10, "192.0.2.1", "a program")])
    await store.tokens.touch([TokenUse(early.number, NOW + 9, "192.0.2.1", "a program")])
    assert await store.key_uses.count_unused(NOW + 10, NOW + 10) == 2
    assert await store.tokens.end_unused(NOW + 10, NOW + 10, "command", ENDED) == 2
    assert await store.key_uses.count_unused(NOW + 10, NOW + 10) == 0
    assert (await store.feed.news(0)).sessions == {-unused.number, -early.number}


async def test_valid_tokens_are_listed_in_pages(store: Database) -> None:
    user = await add(store)
    gone = await keep(store, user, expires_at=NOW)
    await store.tokens.end((await keep(store, user)).number, NOW, "revoked", ENDED)
    made = [await keep(store, user) for _ in range(4)]
    first = await store.tokens.list(user.number, NOW, None, 3)
    rest = await store.tokens.list(None, NOW, first[-1].number, 3)
    assert [one.id for one in (*first, *rest)] == [one.id for one in reversed(made)]
    assert gone.id not in {one.id for one in (*first, *rest)}


async def test_the_last_use_never_goes_back(store: Database) -> None:
    user = await add(store)
    one, two = await keep(store, user), await keep(store, user)
    await store.tokens.touch(
        [TokenUse(two.number, NOW + 2, "192.0.2.2", "two"), TokenUse(one.number, NOW, "::1", "one")]
    )
    await store.tokens.touch([TokenUse(two.number, NOW + 1, "192.0.2.1", "late")])
    found = await store.tokens.by_id(two.id)
    assert found is not None
    assert (found.last_used_at, found.address, found.user_agent) == (NOW + 2, "192.0.2.2", "two")
    assert (await store.feed.news(0)).sessions == set(), "a use is no news"


async def test_a_hash_is_renewed_unless_another_was_first(store: Database) -> None:
    token = await keep(store, await add(store))
    first, second = digest(), digest()
    await store.tokens.renew_hash(token.number, token.digest, first)
    await store.tokens.renew_hash(token.number, token.digest, second)
    found = await store.tokens.by_id(token.id)
    assert found is not None and found.digest == first


async def test_tokens_long_over_are_forgotten_a_batch_at_a_time(store: Database) -> None:
    user = await add(store)
    for _ in range(3):
        await keep(store, user, expires_at=NOW + 1)
    ended = await keep(store, user, expires_at=None)
    await store.tokens.end(ended.number, NOW + 1, "revoked", ENDED)
    kept = await keep(store, user, expires_at=None)
    assert await store.tokens.purge(NOW + 1, 10) == 0
    assert [await store.tokens.purge(NOW + 2, 3) for _ in range(3)] == [3, 1, 0]
    assert await store.tokens.by_id(kept.id) is not None
