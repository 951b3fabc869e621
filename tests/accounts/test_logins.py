"""Logins: who gets in, and what a refusal reveals."""

from __future__ import annotations

import argon2
import pytest
from doorward.accounts.factors import totp
from doorward.accounts.passwords.hashing import HASHES_PER_FAILURE, OURS, sha256_hex
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import (
    InvalidCredentials,
    PasswordChangeNotNeeded,
    PasswordChangeRequired,
    SecondFactorInvalid,
    SecondFactorRequired,
    StorageUnavailable,
    UserBanned,
    WeakPassword,
)
from doorward.accounts.sessions.sessions import Found
from doorward.accounts.user import Email

from tests.support.core import PASSWORD, Core
from tests.support.memory import NOW

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


async def refused(core: Core, name: str, password: str) -> InvalidCredentials:
    with pytest.raises(InvalidCredentials) as caught:
        await core.login(name, password)
    return caught.value


async def test_a_login_by_name_or_verified_address_opens_a_session(core: Core) -> None:
    await core.add("Alice", emails=[Email("alice@example.com", True)])
    for name in ("alice", "ALICE", "Alice@Example.com"):
        opened = await core.login(name, kind="xhr", information="at home")
        assert opened.session.user.username == "Alice"
        assert (opened.session.kind, opened.session.information) == ("xhr", "at home")
        assert (opened.session.level, opened.session.method) == ("full", "password")


async def test_every_login_has_its_own_token(core: Core) -> None:
    await core.add()
    assert len({(await core.login()).token for _ in range(5)}) == 5


async def test_a_login_ends_the_session_it_replaces(core: Core) -> None:
    await core.add()
    old = await core.login()
    new = await core.login(replaces=old.session)
    assert await core.sessions.by_token(old.token, NOW) == Found(None, known=True)
    assert (await core.sessions.by_token(new.token, NOW)).session is not None


async def test_a_failed_login_leaves_the_old_session_alone(core: Core) -> None:
    await core.add()
    old = await core.login()
    with pytest.raises(InvalidCredentials):
        await core.login(password="wrong", replaces=old.session)
    assert (await core.sessions.by_token(old.token, NOW)).session is not None


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        ("alice", "wrong", "password"),
        ("alice", "", "password"),
        ("bob", PASSWORD, "unknown"),
        ("", PASSWORD, "unknown"),
        ("\x00", PASSWORD, "unknown"),
        ("alice@evil@example.com", PASSWORD, "unknown"),
        ("off", PASSWORD, "disabled"),
        ("off", "wrong", "password"),
        ("gone", PASSWORD, "unknown"),
    ],
)
async def test_every_failure_looks_and_costs_the_same(
    core: Core, monkeypatch: pytest.MonkeyPatch, name: str, password: str, reason: str
) -> None:
    """CVE-2026-77582: the time of the answer told whether a user exists."""
    await core.add()
    await core.add("off")
    await core.users.disable("off", NOW, actor=OWNER)
    core.directory.keep("gone", argon2.PasswordHasher(1, 8, 1).hash(PASSWORD))
    await core.users.sync(NOW)
    core.directory.kept.clear()
    hasher, count = core.passwords._hasher, 0
    hash_, verify = argon2.PasswordHasher.hash, argon2.PasswordHasher.verify

    def counted_hash(self: argon2.PasswordHasher, text: str) -> str:
        nonlocal count
        count += 1
        return hash_(self, text)

    def counted_verify(self: argon2.PasswordHasher, stored: str, text: bytes) -> bool:
        nonlocal count
        count += 1
        return verify(self, stored, text)

    monkeypatch.setattr(type(hasher), "hash", counted_hash)
    monkeypatch.setattr(type(hasher), "verify", counted_verify)
    refusal = await refused(core, name, password)
    assert (str(refusal), refusal.reason) == (InvalidCredentials.message, reason)
    assert count == HASHES_PER_FAILURE


async def test_a_ban_is_revealed_only_to_a_client_that_knows_the_password(core: Core) -> None:
    await core.add()
    await core.users.ban("alice", NOW, actor=OWNER)
    with pytest.raises(UserBanned):
        await core.login()
    assert (await refused(core, "alice", "wrong")).reason == "password"


async def test_a_password_that_must_change_opens_no_session(core: Core) -> None:
    user = await core.add(must_change_password=True)
    with pytest.raises(PasswordChangeRequired) as caught:
        await core.login()
    assert caught.value.user == user
    assert await core.sessions.list(user, NOW) == ()
    assert (await refused(core, "alice", "wrong")).reason == "password"


async def test_a_user_of_the_configuration_file_logs_in_with_either_form(core: Core) -> None:
    cheap = argon2.PasswordHasher(1, 8, 1)
    core.directory.keep("ours", cheap.hash(sha256_hex(PASSWORD)))
    core.directory.keep("plain", cheap.hash(PASSWORD))
    core.directory.keep("broken", "$argon2id$nonsense")
    await core.users.sync(NOW)
    for name in ("ours", "plain"):
        assert (await core.login(name)).session.user.source == "config"
    assert (await refused(core, "broken", PASSWORD)).reason == "password"


@pytest.mark.usefixtures("full_price")
async def test_a_login_renews_a_hash_with_old_parameters(core: Core) -> None:
    user = await core.add()
    row = core.user_rows.rows[user.number]
    old = argon2.PasswordHasher(1, 8, 1).hash(sha256_hex(PASSWORD))
    await core.user_rows.rehash(user, row.password_hash, old, OURS)
    await core.login()
    assert core.user_rows.rows[user.number].password_hash.startswith("$argon2id$v=19$m=19456,")
    await core.login()


async def test_a_login_fails_while_storage_is_unavailable(core: Core) -> None:
    await core.add()
    core.user_rows.silent = True
    with pytest.raises(StorageUnavailable):
        await core.login()


# Changing a password that has to be changed


async def test_a_password_that_has_to_change_is_changed_with_the_login(core: Core) -> None:
    await core.add(must_change_password=True)
    opened = await core.login(new_password="better horse")
    assert not opened.session.user.must_change_password
    found = await core.sessions.by_token(opened.token, NOW)
    assert found.session is not None and found.session.level == "full"
    await core.login(password="better horse")
    with pytest.raises(InvalidCredentials):
        await core.login()


async def test_another_user_cannot_change_a_password_that_way(core: Core) -> None:
    await core.add()
    with pytest.raises(PasswordChangeNotNeeded):
        await core.login(new_password="better horse")
    await core.add("carol", must_change_password=True)
    with pytest.raises(InvalidCredentials):
        await core.login("carol", "wrong", new_password="better horse")
    with pytest.raises(WeakPassword):
        await core.login("carol", new_password="x")
    await core.users.ban("carol", NOW, actor=OWNER)
    with pytest.raises(UserBanned):
        await core.login("carol", new_password="better horse")
    await core.users.unban("carol", NOW, actor=OWNER)
    with pytest.raises(PasswordChangeRequired):
        await core.login("carol")


async def test_a_second_factor_comes_before_the_change(core: Core) -> None:
    """CVE-2026-32246: a login may be pending, but a change of password requires the factor
    first."""
    user = await core.add(must_change_password=True)
    await core.second_factors.adopt_totp(user, SECRET, NOW)
    with pytest.raises(SecondFactorRequired):
        await core.login(new_password="better horse", pending=True)
    with pytest.raises(SecondFactorInvalid):
        await core.login(new_password="better horse", code="000000")
    with pytest.raises(InvalidCredentials):
        await core.login(password="better horse")
    code = totp.code_at(SECRET, totp.step_at(NOW))
    opened = await core.login(new_password="better horse", code=code)
    assert opened.session.second_factor_at == NOW
