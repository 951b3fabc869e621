"""Users in storage, on every database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from doorward.accounts.audit.audit_log import Kind, RecordFilter, build_event
from doorward.accounts.refusals import NameTaken, UserNotFound
from doorward.accounts.session import Renewal
from doorward.accounts.user import Email, NewPassword, Seen, User
from doorward.storage import Database
from sqlalchemy import Engine, event

from tests.storage.conftest import Open
from tests.support.people import NOW, add, all_users, digest, draft, new_user, open_session


async def test_a_user_is_read_as_stored(store: Database) -> None:
    kept = await add(
        store,
        "Ålice",
        "Alice@Example.com",
        name="Alice Ω",
        groups=("wiki", "admins"),
        roles=("admin",),
        super_admin=True,
        must_change_password=True,
    )
    found = await store.users.by_handle("ålice")
    assert found is not None
    assert found.user == kept
    assert (found.password_hash, found.scheme) == ("stored hash", "a scheme")
    assert kept.emails == (Email("Alice@Example.com", True),)
    assert (kept.groups, kept.roles) == (("wiki", "admins"), ("admin",))
    assert (kept.active, kept.banned, kept.created_at, kept.version) == (True, False, NOW, 0)


async def test_a_name_and_a_verified_address_lead_to_the_user(store: Database) -> None:
    await add(store, "bob", "bob@example.com", emails=(Email("Bob@example.com", True),))
    for handle in ("bob", "bob@example.com"):
        found = await store.users.by_handle(handle)
        assert found is not None and found.user.username == "bob"
    assert await store.users.by_handle("carol") is None


@pytest.mark.parametrize(
    "other",
    [
        new_user("ALICE"),
        new_user("carol", "alice@example.com"),
        new_user("alice@example.com"),
        new_user("dave", "me@example.com", handles=("dave", "alice")),
    ],
    ids=["name", "address", "name that is an address", "address that is a name"],
)
async def test_a_handle_leads_to_one_user(store: Database, other: object) -> None:
    await add(store, "alice", "alice@example.com")
    with pytest.raises(NameTaken):
        await store.users.insert(other, NOW)  # type: ignore[arg-type]
    assert [user.username for user in await all_users(store)] == ["alice"]


async def test_concurrent_uses_of_a_name_create_one_user(opened: Open) -> None:
    stores = [await opened(), await opened()]
    tries = [store.users.insert(new_user("alice"), NOW) for store in stores for _ in range(5)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, NameTaken) for result in results) == 9


async def test_rows_of_a_directory_are_made_once(opened: Open) -> None:
    seen = {f"user{i}": Seen(f"User{i}", b"1" * 32) for i in range(700)}
    stores = [await opened(), await opened()]
    await asyncio.gather(*(store.users.claim("config", seen, (), NOW) for store in stores))
    await stores[0].users.claim("config", seen | {"zoe": Seen("Zoe", b"2" * 32)}, (), NOW)
    assert len(await all_users(stores[1])) == 701
    zoe = await stores[1].users.by_name("config", "zoe")
    assert zoe is not None and (zoe.username, zoe.source) == ("Zoe", "config")
    # A directory has its own names and passwords of users.
    assert await stores[1].users.by_handle("zoe") is None


async def test_any_number_of_changed_passwords_takes_few_statements(opened: Open) -> None:
    """A transaction may take five seconds. With statements for each user, a new file with ten
    thousand users was never applied."""
    store = await opened()
    names = [f"user{number:04}" for number in range(1200)]
    await store.users.claim("htpasswd", {n: Seen(n, b"1" * 32) for n in names}, (), NOW)
    everyone = await all_users(store)
    for user in everyone[:3]:
        await open_session(store, user)
    said = build_event(Kind.PASSWORD_CHANGED, NOW, detail="htpasswd")
    with counting_statements() as count:
        changed = {n: Seen(n, b"2" * 32) for n in names}
        await store.users.claim("htpasswd", changed, (), NOW, said)
    assert 5 < count() < 50
    assert {user.version for user in await all_users(store)} == {1}
    assert [await store.sessions.list(user.number, NOW) for user in everyone[:3]] == [[], [], []]
    told = await store.audit_log.latest(RecordFilter(kind=Kind.PASSWORD_CHANGED), 2000)
    assert sorted(record.event.subject for record in told) == names


async def test_users_of_a_file_are_read_page_by_page(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorward.storage.users.READ_AT_ONCE", 3)
    for count in (1, 3, 7):
        seen = {f"user{n}": Seen(f"user{n}", b"%d" % count * 32) for n in range(count)}
        await store.users.claim("htpasswd", seen, (), NOW)
        assert len(await all_users(store)) == count
    changed = seen | {"user6": Seen("user6", b"8" * 32)}
    await store.users.claim("htpasswd", changed, (), NOW)
    assert [user.version for user in await all_users(store)] == [2, 1, 1, 0, 0, 0, 1]


@contextmanager
def counting_statements() -> Iterator[Callable[[], int]]:
    """The number of statements sent to any database; one for many rows counts once."""
    sent: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield lambda: len(sent)
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_a_password_changed_in_a_file_ends_the_sessions_once(opened: Open) -> None:
    """CVE-2026-40934, for users whose password is changed by editing a file."""
    stores = [await opened(), await opened()]
    users = stores[0].users
    seen = {name: Seen(name, name.encode().ljust(32)) for name in ("alice", "bob", "carol")}
    await users.claim("htpasswd", seen, (), NOW)
    alice, bob, carol = await all_users(stores[0])
    for user in (alice, bob, carol):
        await open_session(stores[0], user)
    changed = {"alice": Seen("alice", b"new".ljust(32)), "bob": seen["bob"]}
    await asyncio.gather(*(s.users.claim("htpasswd", changed, {"carol"}, NOW) for s in stores))
    after = {user.username: user for user in await all_users(stores[0])}
    assert {name: user.version for name, user in after.items()} == {
        "alice": 1, "bob": 0, "carol": 0
    }  # fmt: skip
    listed = [await stores[1].sessions.list(user.number, NOW) for user in (alice, bob, carol)]
    assert [len(sessions) for sessions in listed] == [0, 1, 1]
    assert (await stores[0].feed.news(0)).users == {alice.number, carol.number}
    token = digest()
    assert await stores[0].sessions.insert(draft(alice), token) is None, "read before the change"


async def test_several_users_are_added_all_or_none(store: Database) -> None:
    await add(store, "bob")
    with pytest.raises(NameTaken, match="user BOB"):
        await store.users.insert_all([new_user("alice"), new_user("BOB"), new_user("carol")], NOW)
    assert [user.username for user in await all_users(store)] == ["bob"]
    added = await store.users.insert_all([new_user("alice"), new_user("carol", active=False)], NOW)
    assert [(user.username, user.active) for user in added] == [("alice", True), ("carol", False)]
    assert await store.users.imported("ours") == [("a scheme", "stored hash")]
    assert await store.users.imported("a scheme") == []


async def test_a_name_in_a_refusal_is_fit_for_a_terminal(store: Database) -> None:
    for_private_use = new_user("bob\ue000")
    await store.users.insert_all([for_private_use], NOW)
    with pytest.raises(NameTaken) as refused:
        await store.users.insert_all([for_private_use], NOW)
    assert str(refused.value).isprintable() and "bob" in str(refused.value)


async def test_concurrent_edits_are_all_kept(opened: Open) -> None:
    stores = [await opened(), await opened()]
    user = await add(stores[0])

    def also(group: str) -> Callable[[User], tuple[User, Sequence[str]]]:
        return lambda user: (replace(user, groups=(*user.groups, group)), ("alice",))

    edits = [
        store.users.edit(user, also(f"{number}{place}"), NOW)
        for number in range(10)
        for place, store in enumerate(stores)
    ]
    await asyncio.gather(*edits)
    found = await stores[0].users.by_handle("alice")
    assert found is not None and len(set(found.user.groups)) == 20
    assert (await stores[0].feed.news(0)).users == {user.number}


async def test_an_edit_moves_the_addresses_that_lead_to_a_user(store: Database) -> None:
    alice = await add(store, "alice", "a@example.com")
    await add(store, "bob", "b@example.com")
    moved = (Email("c@example.com", True),)
    await store.users.edit(
        alice, lambda user: (replace(user, emails=moved), ("alice", "c@example.com")), NOW
    )
    assert await store.users.by_handle("a@example.com") is None
    found = await store.users.by_handle("c@example.com")
    assert found is not None and found.user.emails == moved
    with pytest.raises(NameTaken):
        await store.users.edit(alice, lambda user: (user, ("alice", "b@example.com")), NOW)
    assert (await store.users.by_handle("c@example.com")) == found, "nothing has changed"
    with pytest.raises(UserNotFound):
        await store.users.edit(replace(alice, number=4711), lambda user: (user, ()), NOW)


async def test_taken_names_and_addresses_are_reported(store: Database) -> None:
    await add(store, "alice", "alice@example.com")
    asked = [*(f"nobody{i}" for i in range(1200)), "alice@example.com", "alice"]
    assert await store.users.taken(asked) == ["alice", "alice@example.com"]


async def test_a_new_password_ends_every_session_but_one(store: Database) -> None:
    """CVE-2026-40934: sessions stayed valid after a password change."""
    user = await add(store)
    sessions = [await open_session(store, user) for _ in range(3)]
    before = await store.feed.head()
    await store.users.set_password(
        user,
        NewPassword("new", "ours"),
        must_change=True,
        renewal=Renewal(sessions[1], "", digest()),
        now=NOW + 1,
    )
    found = await store.users.by_handle("alice")
    assert found is not None
    assert (found.password_hash, found.scheme) == ("new", "ours")
    assert found.user.must_change_password
    assert [s.number for s in await store.sessions.list(user.number, NOW + 2)] == [
        sessions[1].number
    ]
    news = await store.feed.news(before)
    assert news.sessions == {session.number for session in sessions}, "the kept one is renewed"
    assert news.users == {user.number}


async def test_a_ban_keeps_the_sessions_and_is_announced(store: Database) -> None:
    user = await add(store)
    await open_session(store, user)
    await store.users.set_banned(user, True, NOW)
    assert (await store.feed.news(0)).users == {user.number}
    (session,) = await store.sessions.list(user.number, NOW)
    assert session.user.banned and not session.is_live(NOW)
    await store.users.set_banned(user, False, NOW)
    (session,) = await store.sessions.list(user.number, NOW)
    assert session.is_live(NOW)


async def test_disabling_ends_the_sessions_for_good(store: Database) -> None:
    user = await add(store)
    await open_session(store, user)
    await store.users.set_active(user, False, NOW)
    assert (await store.feed.news(0)).users == {user.number}
    await store.users.set_active(user, True, NOW)
    assert await store.sessions.list(user.number, NOW) == []


async def test_deleting_a_user_deletes_everything(store: Database) -> None:
    user = await add(store, "alice", "alice@example.com")
    token = digest()
    session = await store.sessions.insert(draft(user), token)
    assert session is not None
    await store.users.delete(user, NOW)
    news = await store.feed.news(0)
    assert news.users == {user.number} and news.sessions == {session.number}
    assert await store.sessions.by_digest(token) is None
    assert await store.users.by_handle("alice@example.com") is None
    again = await add(store, "alice", "alice@example.com")
    assert again.number > user.number, "a number is never used twice"


@pytest.mark.parametrize("operation", ["password", "ban", "disable", "delete"])
async def test_an_operation_on_a_deleted_user_is_refused_and_not_announced(
    store: Database, operation: str
) -> None:
    user = replace(await add(store), number=4711)
    users = store.users
    with pytest.raises(UserNotFound):
        if operation == "password":
            await users.set_password(user, NewPassword("h", "s"), must_change=False, now=NOW)
        elif operation == "ban":
            await users.set_banned(user, True, NOW)
        elif operation == "disable":
            await users.set_active(user, False, NOW)
        else:
            await users.delete(user, NOW)
    assert await store.feed.head() == 0


async def test_a_renewed_hash_does_not_undo_a_new_password(store: Database) -> None:
    user = await add(store)
    await store.users.set_password(user, NewPassword("new", "ours"), must_change=False, now=NOW)
    await store.users.rehash(user, "stored hash", "renewed", "ours")
    found = await store.users.by_handle("alice")
    assert found is not None and found.password_hash == "new"
    await store.users.rehash(user, "new", "renewed", "ours")
    found = await store.users.by_handle("alice")
    assert found is not None and found.password_hash == "renewed"


async def test_a_password_that_is_set_for_a_version_is_set_once(opened: Open) -> None:
    """A mailed link is used twice at the same time, each time with another password."""
    stores = [await opened(), await opened()]
    user = await add(stores[0])

    async def set_password(number: int) -> None:
        await stores[number % 2].users.set_password(
            user, NewPassword(f"new {number}", "ours"), must_change=False, now=NOW, version=0
        )

    done = await asyncio.gather(*map(set_password, range(6)), return_exceptions=True)
    assert sum(isinstance(one, UserNotFound) for one in done) == 5
    found = await stores[0].users.by_handle("alice")
    assert found is not None and found.user.version == 1
    assert found.password_hash == f"new {done.index(None)}"
