"""Sessions by id and by refresh secret, on every database."""

from __future__ import annotations

from doorward.storage import Database

from tests.support.people import NOW, add, digest, open_session


async def test_a_session_is_found_by_its_public_id(store: Database) -> None:
    session = await open_session(store, await add(store))
    found = await store.access.by_id(session.id)
    assert found is not None and found.number == session.number
    assert await store.access.by_id("nobody") is None


async def test_a_session_is_found_by_its_refresh_secret_ended_or_not(store: Database) -> None:
    session = await open_session(store, await add(store))
    first, second = digest(), digest()
    assert await store.access.keep_secret(session.number, first, NOW)
    assert await store.access.keep_secret(session.number, second, NOW), "the newer one counts"
    assert await store.access.by_secret(first) is None
    found = await store.access.by_secret(second)
    assert found is not None and found.id == session.id
    await store.sessions.end(session.number, NOW + 1, "logout")
    found = await store.access.by_secret(second)
    assert found is not None and found.ended_at == NOW + 1


async def test_an_ended_session_cannot_be_renewed(store: Database) -> None:
    session = await open_session(store, await add(store))
    await store.sessions.end(session.number, NOW + 1, "logout")
    secret = digest()
    assert not await store.access.keep_secret(session.number, secret, NOW + 2)
    assert await store.access.by_secret(secret) is None
    assert not await store.access.renew(session.number, NOW + 9e6, "again", NOW + 2)
    found = await store.access.by_id(session.id)
    assert found is not None and found.expires_at == session.expires_at


async def test_a_renewal_is_announced_to_other_processes(store: Database) -> None:
    session = await open_session(store, await add(store))
    before = await store.feed.head()
    assert await store.access.renew(session.number, NOW + 5000, "a phone", NOW + 10)
    assert (await store.feed.news(before)).sessions == {session.number}
    found = await store.access.by_id(session.id)
    assert found is not None
    assert (found.expires_at, found.information, found.last_used_at) == (
        NOW + 5000,
        "a phone",
        NOW + 10,
    )
