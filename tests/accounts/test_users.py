"""Users of every source: names, ownership, and the sessions that a change ends."""

from __future__ import annotations

import asyncio

import pytest
from doorward.accounts.passwords.hashing import Passwords
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import (
    InvalidEmail,
    InvalidGroup,
    InvalidName,
    NameTaken,
    ReadOnlyUser,
    Refusal,
    UserNotFound,
    WeakPassword,
)
from doorward.accounts.user import Email
from doorward.accounts.users.directory import Directories
from doorward.accounts.users.users import Users
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.core import PASSWORD, Core
from tests.support.memory import NOW, MemoryDirectory, MemorySessions, MemoryUsers


async def test_a_user_is_found_in_any_spelling_and_by_a_verified_address(core: Core) -> None:
    emails = [Email("Alice@Example.com", True), Email("other@example.com", False)]
    user = await core.add("Alice", emails=emails, groups=["wiki"], name="Alice A.")
    for handle in ("alice", "ALICE", "alice@example.COM"):
        assert await core.users.get(handle) == user
    assert user.email == "Alice@Example.com"
    for stranger in ("other@example.com", "bob", "", "a@b@c", "\x00"):
        with pytest.raises(UserNotFound):
            await core.users.get(stranger)


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"name": "a\nb"}, InvalidName),
        ({"emails": [Email("nonsense", False)]}, InvalidEmail),
        ({"groups": ["a,b"]}, InvalidGroup),
        ({"roles": [""]}, InvalidGroup),
    ],
)
async def test_invalid_attributes_are_refused(
    core: Core, more: dict[str, object], refusal: type[Refusal]
) -> None:
    with pytest.raises(refusal):
        await core.add("alice", **more)
    assert core.user_rows.rows == {}


async def test_a_short_password_is_refused(core: Core) -> None:
    with pytest.raises(WeakPassword, match="8 characters"):
        await core.users.add("alice", "short", now=NOW)


async def test_a_name_of_the_configuration_file_is_taken(core: Core) -> None:
    core.directory.keep("admin", email="admin@example.com")
    for name, addresses in (
        ("ADMIN", []),
        ("admin@example.com", []),
        ("bob", [Email("Admin@example.com", True)]),
        ("carol", [Email("carol@example.com", True), Email("admin@example.com", True)]),
    ):
        with pytest.raises(NameTaken):
            await core.add(name, emails=addresses)


async def test_a_user_may_be_called_by_its_own_address(core: Core) -> None:
    address = "alice@example.com"
    user = await core.add(address, emails=[Email(address, True)])
    assert await core.users.get(address) == user


async def test_a_user_of_the_configuration_file_follows_the_file(core: Core) -> None:
    core.directory.keep("Admin", email="admin@example.com")
    await core.users.sync(NOW)
    await core.users.sync(NOW)
    assert len(core.user_rows.rows) == 1
    user = await core.users.get("admin")
    assert (user.username, user.source, user.groups) == ("Admin", "config", ("g",))
    assert await core.users.get("ADMIN@example.com") == user
    core.directory.keep("Admin")
    assert (await core.users.get("admin")).email is None
    with pytest.raises(UserNotFound):
        await core.users.get("admin@example.com")


async def test_a_name_in_two_sources_stops_the_start(core: Core) -> None:
    await core.add("admin")
    core.directory.keep("Admin")
    with pytest.raises(NameTaken, match="'admin': a user of the config directory"):
        await core.users.sync(NOW)


def test_a_name_in_two_directories_stops_the_start() -> None:
    one, other = MemoryDirectory("config"), MemoryDirectory("htpasswd")
    one.keep("alice")
    other.keep("bob", email="alice")
    with pytest.raises(NameTaken, match="config and of htpasswd"):
        Directories([one, other])


async def test_a_user_of_the_configuration_file_can_be_banned_but_not_changed(core: Core) -> None:
    core.directory.keep("admin")
    await core.users.sync(NOW)
    for change in (
        core.users.set_password("admin", PASSWORD, now=NOW, actor=OWNER),
        core.users.disable("admin", NOW, actor=OWNER),
        core.users.enable("admin", NOW, actor=OWNER),
        core.users.delete("admin", NOW, actor=OWNER),
    ):
        with pytest.raises(ReadOnlyUser):
            await change
    await core.users.ban("admin", NOW, actor=OWNER)
    assert (await core.users.get("admin")).banned
    await core.users.unban("admin", NOW, actor=OWNER)
    assert (await core.users.get("admin")).is_usable


async def test_a_user_removed_from_the_file_is_inactive_and_can_be_deleted(core: Core) -> None:
    core.directory.keep("admin")
    await core.users.sync(NOW)
    core.directory.kept.clear()
    assert not (await core.users.get("Admin")).active
    await core.users.delete("admin", NOW, actor=OWNER)
    assert core.user_rows.rows == {}


async def test_a_new_password_replaces_the_old_and_ends_all_but_one_session(core: Core) -> None:
    """CVE-2026-40934: sessions lived on after a password change."""
    user = await core.add()
    kept, other = await core.login(), await core.login()
    renewal = core.sessions.renewal(kept.session)
    new = await core.users.new_password(user, "another one")
    await core.users.change_password(user, new, now=NOW, renewal=renewal)
    assert (await core.sessions.by_token(renewal.token, NOW)).session is not None
    assert (await core.sessions.by_token(kept.token, NOW)).session is None
    assert (await core.sessions.by_token(other.token, NOW)).session is None
    await core.users.set_password("alice", "a third one", now=NOW, actor=OWNER)
    assert await core.sessions.list(user, NOW) == ()
    assert (await core.login(password="a third one")).session.level == "full"


async def test_a_ban_suspends_sessions_and_lifting_it_restores_them(core: Core) -> None:
    await core.add()
    opened = await core.login()
    await core.users.ban("ALICE", NOW, actor=OWNER)
    found = await core.sessions.by_token(opened.token, NOW)
    assert found.session is None and found.known
    await core.users.unban("alice", NOW, actor=OWNER)
    assert (await core.sessions.by_token(opened.token, NOW)).session is not None


async def test_disabling_ends_sessions_for_good(core: Core) -> None:
    """CVE-2025-53942: a deactivated account could still log in."""
    await core.add()
    opened = await core.login()
    await core.users.disable("alice", NOW, actor=OWNER)
    await core.users.enable("alice", NOW, actor=OWNER)
    found = await core.sessions.by_token(opened.token, NOW)
    assert found.session is None and found.known
    assert (await core.login()).session.is_live(NOW)


async def test_changes_to_unknown_users_are_refused(core: Core) -> None:
    for change in (
        core.users.ban("bob", NOW, actor=OWNER),
        core.users.unban("bob", NOW, actor=OWNER),
        core.users.disable("bob", NOW, actor=OWNER),
        core.users.enable("bob", NOW, actor=OWNER),
        core.users.delete("bob", NOW, actor=OWNER),
        core.users.set_password("bob", PASSWORD, now=NOW, actor=OWNER),
    ):
        with pytest.raises(UserNotFound, match="no user named bob"):
            await change


@settings(max_examples=60)
@given(st.text(max_size=200), st.text(max_size=50), st.text(max_size=20), st.text(max_size=20))
def test_any_input_gives_a_value_or_a_refusal(
    name: str, address: str, group: str, display: str
) -> None:
    async def story() -> None:
        passwords = Passwords(threads=1)
        rows = MemorySessions()
        rows.users = MemoryUsers(rows)
        users = Users(rows.users, Directories(), passwords)
        try:
            user = await users.add(
                name,
                PASSWORD,
                now=NOW,
                emails=[Email(address, True)],
                groups=[group],
                name=display,
            )
            assert await users.get(name) == user == await users.get(address)
        except Refusal as refusal:
            assert str(refusal).isprintable()
        finally:
            passwords.close()

    asyncio.run(story())
