"""Credentials for applications in storage, on every database."""

from __future__ import annotations

from dataclasses import replace

from doorward.accounts.application_credentials import SealedCredential
from doorward.accounts.audit.audit_log import Event, Kind, RecordFilter
from doorward.accounts.user import User
from doorward.storage import Database

from tests.support.people import NOW, add

SET = Event(NOW, Kind.CREDENTIAL_SET)
REMOVED = Event(NOW + 1, Kind.CREDENTIAL_REMOVED)


def sealed(user: User, route: str = "/wiki", **more: object) -> SealedCredential:
    new = SealedCredential(user.number, route, "alice.smith", b"\x00sealed\xff", NOW)
    return replace(new, **more)  # type: ignore[arg-type]


async def test_credentials_are_read_as_stored(store: Database) -> None:
    alice, bob = await add(store, "alice"), await add(store, "bob")
    kept = sealed(alice)
    assert await store.credentials.put(kept, SET)
    assert await store.credentials.read(alice.number, "/wiki") == kept
    assert await store.credentials.read(alice.number, "/") is None
    assert await store.credentials.read(bob.number, "/wiki") is None


async def test_new_credentials_replace_old_ones(store: Database) -> None:
    alice = await add(store)
    for account in ("a", "b"):
        assert await store.credentials.put(sealed(alice, account=account), SET)
    assert await store.credentials.put(sealed(alice, "/mail"), SET)
    found = await store.credentials.list(alice.number)
    assert [(one.route, one.account) for one in found] == [
        ("/mail", "alice.smith"), ("/wiki", "b"),
    ]  # fmt: skip
    assert len(await store.audit_log.latest(RecordFilter(kind=Kind.CREDENTIAL_SET), 9)) == 3


async def test_every_change_is_announced_to_the_workers(store: Database) -> None:
    alice = await add(store)
    for number in range(2):
        head = await store.feed.head()
        if number == 0:
            assert await store.credentials.put(sealed(alice), SET)
        else:
            assert await store.credentials.remove(alice.number, "/wiki", REMOVED)
        assert (await store.feed.news(head)).users == {alice.number}


async def test_removing_something_missing_is_reported_and_not_recorded(store: Database) -> None:
    alice = await add(store)
    assert not await store.credentials.remove(alice.number, "/wiki", REMOVED)
    assert await store.audit_log.latest(RecordFilter(kind=Kind.CREDENTIAL_REMOVED), 9) == []


async def test_a_deleted_users_credentials_are_deleted(store: Database) -> None:
    alice = await add(store)
    assert await store.credentials.put(sealed(alice), SET)
    await store.users.delete(alice, NOW)
    assert await store.credentials.read(alice.number, "/wiki") is None
    assert await store.credentials.sealed() == []
    assert not await store.credentials.put(sealed(alice), SET)


async def test_renewing_encryption_keeps_concurrent_changes(store: Database) -> None:
    alice = await add(store)
    old = sealed(alice)
    await store.credentials.put(old, SET)
    assert await store.credentials.sealed() == [(alice.username, old)]
    newer = replace(old, password=b"typed since")
    await store.credentials.put(newer, SET)
    await store.credentials.reseal(old, replace(old, password=b"renewed"))
    assert await store.credentials.read(alice.number, "/wiki") == newer
    await store.credentials.reseal(newer, replace(newer, password=b"renewed"))
    found = await store.credentials.read(alice.number, "/wiki")
    assert found is not None and found.password == b"renewed"
