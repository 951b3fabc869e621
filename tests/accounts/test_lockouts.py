"""Lock-outs at the login: their answers and their cost."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from doorward.accounts.audit.audit_log import Kind
from doorward.accounts.passwords.hashing import Passwords, PasswordVerdict
from doorward.accounts.passwords.login_queue import LoginQueue
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import (
    InvalidCredentials,
    LockedOut,
    Overloaded,
    PasswordChangeRequired,
    Refusal,
    UserBanned,
    retry_after,
)
from doorward.accounts.sessions.sessions import ClientInfo
from doorward.accounts.user import Email

from tests.support.core import CLIENT, PASSWORD, Core
from tests.support.memory import NOW
from tests.support.people import proven

ELSEWHERE = ClientInfo("198.51.100.7", "a browser")


async def refusal_of(core: Core, name: str, password: str, **more: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await core.login(name, password, **more)
    return caught.value


async def lock_out(core: Core, name: str = "alice") -> None:
    for _ in range(5):
        assert isinstance(await refusal_of(core, name, "wrong"), InvalidCredentials)


@pytest.mark.parametrize(
    ("name", "password"), [("alice", PASSWORD), ("alice", "wrong"), ("nobody", "wrong")]
)
async def test_a_lock_out_is_the_same_for_right_wrong_and_unknown_logins(
    core: Core, name: str, password: str
) -> None:
    await core.add()
    await lock_out(core, name)
    refusal = await refusal_of(core, name, password, now=NOW + 60)
    assert isinstance(refusal, LockedOut)
    assert (refusal.retry_after_s, refusal.scope, str(refusal)) == (
        240.0,
        "user",
        LockedOut.message,
    )
    assert core.audit_log.kinds().count(Kind.LOGIN) == 0


async def test_an_attacker_on_another_network_locks_nobody_out(core: Core) -> None:
    """CVE-2026-77561"""
    await core.add()
    for _ in range(7):
        await refusal_of(core, "alice", "wrong", client=ELSEWHERE)
    assert (await core.login()).session.user.username == "alice"
    assert isinstance(await refusal_of(core, "alice", PASSWORD, client=ELSEWHERE), LockedOut)


async def test_name_and_address_spend_one_budget(core: Core) -> None:
    """CVE-2025-24806"""
    await core.add(emails=[Email("a@example.com", True)])
    for name in ("alice", "a@example.com", "ALICE", "A@Example.com", "alice"):
        await refusal_of(core, name, "wrong")
    for name in ("alice", "a@example.com"):
        refusal = await refusal_of(core, name, PASSWORD)
        assert isinstance(refusal, InvalidCredentials) and refusal.reason == "locked_out"
    assert core.audit_log.kinds().count(Kind.LOCKED_OUT) == 1
    assert (await core.login("a@example.com", now=NOW + 300)).session.user.username == "alice"


@pytest.mark.parametrize("seed", range(20))
async def test_a_lock_out_does_not_link_a_name_to_its_address(
    seed: int, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the time of a lock-out, nor its duration, nor the number of hashes reveals that both
    belong to one user."""
    hashes: list[Any] = []

    async def wasted(self: Any, password: Any = "", spent: Any = None) -> None:
        hashes.append(password)

    async def wrong(
        self: Any, stored: str, scheme: str, password: Any, **_: Any
    ) -> PasswordVerdict:
        hashes.append(password)
        return PasswordVerdict(False)

    monkeypatch.setattr(Passwords, "waste", wasted)
    user = await core.add(emails=[Email("a@example.com", True)])
    monkeypatch.setattr(Passwords, "verify", wrong)
    random, now = Random(seed), NOW  # noqa: S311 - the same each time
    for _ in range(60):
        now += random.choice([0, 1, 20, 90])
        which, address = random.randrange(2), random.choice(["192.0.2.1", "2001:db8::1"])
        told = []
        for names in (("alice", "a@example.com"), ("nobody", "no@example.com")):
            hashes.clear()
            client = ClientInfo(address, "")
            refusal = await refusal_of(core, names[which], "x", client=client, now=now)
            told.append((type(refusal), str(refusal), retry_after(refusal), len(hashes)))
        assert told[0] == told[1]
    assert user


async def test_a_logged_in_client_learns_that_the_user_is_locked(core: Core) -> None:
    user = await core.add(emails=[Email("a@example.com", True)])
    for name in ("alice", "a@example.com", "alice", "a@example.com", "alice"):
        await refusal_of(core, name, "wrong")
    with pytest.raises(LockedOut):
        await core.logins.prove(proven(user, NOW), PASSWORD, client=CLIENT, now=NOW)


async def test_a_second_name_of_a_user_does_not_wait_for_the_first(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its waiting time would reveal that both belong to one user."""
    await core.add(emails=[Email("a@example.com", True)])
    judged, go = [], asyncio.Event()

    async def verify(
        self: Any, stored: str, scheme: str, password: Any, **_: Any
    ) -> PasswordVerdict:
        judged.append(password)
        await go.wait()
        return PasswordVerdict(False)

    monkeypatch.setattr(Passwords, "verify", verify)
    tasks = [
        asyncio.create_task(refusal_of(core, name, name)) for name in ("alice", "a@example.com")
    ]
    while len(judged) < 2:
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*tasks)


async def test_refusals_during_a_lock_are_recorded_once_when_it_ends(core: Core) -> None:
    await core.add()
    await lock_out(core)
    before = core.audit_log.kinds().count(Kind.LOGIN_FAILED)
    for _ in range(30):
        assert isinstance(await refusal_of(core, "alice", PASSWORD), LockedOut)
    await core.regulation.flush(NOW + 10)
    await core.regulation.flush(NOW + 300)
    await core.regulation.flush(NOW + 303)
    assert core.audit_log.kinds().count(Kind.LOGIN_FAILED) == before
    ended = [one for one in core.audit_log.events if one.kind == Kind.LOCK_ENDED]
    assert [one.detail for one in ended] == ["30 more refused"]


async def test_a_successful_login_resets_the_budget(core: Core) -> None:
    await core.add()
    for _ in range(3):
        for _ in range(4):
            await refusal_of(core, "alice", "wrong")
        await core.login()
    await lock_out(core)


async def test_unlocking_lets_the_user_in(core: Core) -> None:
    user = await core.add()
    await lock_out(core)
    assert await core.regulation.unlock(user, NOW, actor=OWNER) == 1
    assert (await core.login()).session.user.username == "alice"


async def test_a_right_password_of_a_banned_user_is_no_failed_attempt(core: Core) -> None:
    await core.add(must_change_password=True)
    for _ in range(7):
        assert isinstance(await refusal_of(core, "alice", PASSWORD), PasswordChangeRequired)
    await core.users.ban("alice", NOW, actor=OWNER)
    for _ in range(7):
        assert isinstance(await refusal_of(core, "alice", PASSWORD), UserBanned)


async def test_a_disabled_user_is_locked_out_like_a_wrong_password(core: Core) -> None:
    await core.add()
    await core.users.disable("alice", NOW, actor=OWNER)
    for _ in range(5):
        assert isinstance(await refusal_of(core, "alice", PASSWORD), InvalidCredentials)
    assert isinstance(await refusal_of(core, "alice", PASSWORD), LockedOut)


async def test_a_password_that_was_not_checked_is_no_attempt(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await core.add()

    async def overloaded(*_: object, **__: object) -> None:
        raise Overloaded

    with monkeypatch.context() as patch:
        patch.setattr(type(core.passwords), "verify", overloaded)
        for _ in range(7):
            assert isinstance(await refusal_of(core, "alice", "wrong"), Overloaded)
    await lock_out(core)


@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_an_absurdly_long_password_counts_as_a_wrong_one(core: Core, name: str) -> None:
    await core.add()
    for _ in range(5):
        refusal = await refusal_of(core, name, "x" * 5000)
        assert isinstance(refusal, InvalidCredentials) and refusal.reason == "too_long"
    assert isinstance(await refusal_of(core, name, PASSWORD), LockedOut)


async def test_concurrent_right_passwords_lock_nobody_out(core: Core) -> None:
    await core.add()
    opened = await asyncio.gather(*(core.login() for _ in range(30)))
    assert len({one.token for one in opened}) == 30


async def test_concurrent_wrong_passwords_cannot_exceed_the_budget(
    core: Core,
) -> None:
    await core.add()
    refusals = await asyncio.gather(*(refusal_of(core, "alice", "wrong") for _ in range(12)))
    assert sum(isinstance(one, InvalidCredentials) for one in refusals) == 5
    assert sum(isinstance(one, LockedOut) for one in refusals) == 7


async def test_the_login_queue_keeps_nothing_after_its_last_login() -> None:
    turns, order = LoginQueue(), []

    async def go(name: str, key: str) -> None:
        async with turns.turn(key, 1):
            order.append(name)
            await asyncio.sleep(0)

    waiting = [asyncio.create_task(go(name, "k")) for name in "abc"]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(go("x", "other"), *waiting, return_exceptions=True)
    assert order == ["a", "x", "c"]
    assert not turns._semaphores and not turns._users


async def test_too_many_waiting_logins_get_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doorward.accounts.passwords.login_queue.WAITING", 1)
    turns = LoginQueue()
    async with turns.turn("k", 1):
        second = asyncio.create_task(turns.turn("k", 1).__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await turns.turn("k", 1).__aenter__()
        async with turns.turn("another", 1):
            pass  # a thousand logins from one address do not lock out others
        second.cancel()
