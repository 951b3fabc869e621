"""Known browsers, in which the user logged in before: others behind the same address cannot lock
them out, and they do not help anybody else around a lock-out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from doorward.accounts.audit.audit_log import Kind
from doorward.accounts.factors import totp
from doorward.accounts.keys import Keys
from doorward.accounts.passwords.known_browsers import KNOWN_S, KnownBrowsers
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import InvalidCredentials, LockedOut, Refusal
from doorward.accounts.session import PROOF_S
from doorward.accounts.sessions.sessions import ClientInfo

from tests.support.core import CLIENT, PASSWORD, Core
from tests.support.memory import NOW

KEYS = Keys((b"k" * 32,))
BROWSERS = KnownBrowsers(KEYS)
ELSEWHERE = ClientInfo("198.51.100.7", "a thief's browser")


async def known(core: Core, name: str = "alice", now: float = NOW) -> str:
    """The cookie after a login of this user."""
    note = BROWSERS.note((await core.login(name, now=now)).session, now)
    assert note is not None
    return note


async def refusal_of(core: Core, password: str = PASSWORD, **more: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await core.login(password=password, **more)
    return caught.value


async def lock_out(core: Core, **more: Any) -> None:
    for _ in range(5):
        assert isinstance(await refusal_of(core, "wrong", **more), InvalidCredentials)
    assert isinstance(await refusal_of(core, **more), LockedOut)


async def test_a_neighbour_cannot_lock_the_owner_out(core: Core) -> None:
    """Both are behind one address, and the neighbour keeps guessing."""
    await core.add()
    note = await known(core)
    await lock_out(core)
    assert (await core.login(known=note)).session.level == "full"
    assert isinstance(await refusal_of(core), LockedOut), "the neighbour is none the better for it"


async def test_a_neighbour_cannot_lock_the_whole_network_out_for_the_owner(core: Core) -> None:
    await core.add()
    note = await known(core)
    for number in range(50):
        with pytest.raises(Refusal):
            await core.login(f"nobody{number}", "wrong")
    locked = await refusal_of(core)
    assert isinstance(locked, LockedOut) and locked.scope == "network"
    assert (await core.login(known=note)).session.level == "full"


async def test_a_known_browser_has_a_budget_of_the_same_size(core: Core) -> None:
    """A stolen cookie allows five guesses, from any address. After that, right and wrong passwords
    look alike."""
    await core.add()
    note = await known(core)
    await lock_out(core, known=note, client=ELSEWHERE)
    for client in (CLIENT, ELSEWHERE):
        for password in (PASSWORD, "wrong"):
            refusal = await refusal_of(core, password, known=note, client=client, now=NOW + 60)
            assert isinstance(refusal, LockedOut)
            assert (refusal.retry_after_s, refusal.scope) == (240.0, "user")
    assert core.audit_log.kinds().count(Kind.LOCKED_OUT) == 1
    assert (await core.login()).session.level == "full", "others have theirs"
    assert (await core.login(known=note, now=NOW + 300)).session.level == "full"


async def test_all_cookies_of_a_user_share_one_budget(core: Core) -> None:
    """Collecting cookies by logging in repeatedly gives no additional guesses."""
    await core.add()
    notes = [await known(core, now=NOW + number) for number in range(20)]
    assert len(set(notes)) == 20
    for note in notes[:5]:
        refusal = await refusal_of(core, "wrong", known=note, now=NOW + 20)
        assert isinstance(refusal, InvalidCredentials)
    for note in notes[5:]:
        assert isinstance(await refusal_of(core, known=note, now=NOW + 20), LockedOut)


async def test_a_right_password_resets_only_the_budget_of_known_browsers(core: Core) -> None:
    await core.add()
    note = await known(core)
    for _ in range(4):
        await refusal_of(core, "wrong", known=note)
        await refusal_of(core, "wrong")
    await core.login(known=note)
    for _ in range(4):
        assert isinstance(await refusal_of(core, "wrong", known=note), InvalidCredentials)
    assert isinstance(await refusal_of(core, "wrong"), InvalidCredentials)
    assert isinstance(await refusal_of(core), LockedOut), "the fifth of the others"


async def test_an_unlock_reaches_known_browsers(core: Core) -> None:
    user = await core.add()
    note = await known(core)
    await lock_out(core, known=note)
    assert await core.regulation.unlock(user, NOW, actor=OWNER)
    assert (await core.login(known=note)).session.level == "full"


async def test_a_cookie_has_no_effect_for_another_user(core: Core) -> None:
    await core.add()
    await core.add("mallory")
    mallorys = await known(core, "mallory")
    await lock_out(core)
    assert isinstance(await refusal_of(core, known=mallorys), LockedOut)
    with pytest.raises(InvalidCredentials):
        await core.login("nobody", known=mallorys)


@pytest.mark.parametrize("change", [0, 4, 12, -1])
async def test_a_forged_cookie_has_no_effect(core: Core, change: int) -> None:
    await core.add()
    letters = list(await known(core))
    letters[change] = "A" if letters[change] != "A" else "B"
    note = await known(core)
    stolen = KnownBrowsers(Keys((b"x" * 32,))).note((await core.login()).session, NOW)
    await lock_out(core)
    for forged in ("".join(letters), "", "x", f"{note}.", f"{note}\n", "9" * 400, stolen, None):
        assert isinstance(await refusal_of(core, known=forged), LockedOut), forged


async def test_a_cookie_expires(core: Core) -> None:
    user = await core.add()
    note = await known(core)
    assert BROWSERS.recognises(note, user, NOW + KNOWN_S - 1)
    assert not BROWSERS.recognises(note, user, NOW + KNOWN_S)
    assert not BROWSERS.recognises(note, user, NOW - 1), "a clock that was set back"


async def password(core: Core) -> None:
    for new in ("another password", PASSWORD):
        await core.users.set_password("alice", new, now=NOW, actor=OWNER)


async def ban(core: Core) -> None:
    await core.users.ban("alice", NOW, actor=OWNER)
    await core.users.unban("alice", NOW, actor=OWNER)


@pytest.mark.parametrize("change", [password, ban])
async def test_a_cookie_is_invalid_after(
    core: Core, change: Callable[[Core], Awaitable[None]]
) -> None:
    await core.add()
    note = await known(core)
    await change(core)
    await lock_out(core)
    assert isinstance(await refusal_of(core, known=note), LockedOut)


async def test_the_browser_that_changes_the_password_stays_known(
    core: Core,
) -> None:
    await core.add()
    session = (await core.login()).session
    new = "violet tractor under seven moons"
    opened = await core.logins.change_password(session, PASSWORD, new, client=CLIENT, now=NOW)
    note = BROWSERS.note(opened.session, NOW)
    assert BROWSERS.recognises(note, await core.users.get("alice"), NOW)


async def test_only_a_complete_login_makes_a_browser_known(core: Core) -> None:
    """Neither a password without the code nor a session that was stolen later."""
    user = await core.add()
    session = (await core.login()).session
    assert BROWSERS.note(session, NOW + PROOF_S) is None
    assert BROWSERS.note(replace(session, proved_at=None), NOW) is None
    await core.second_factors.adopt_totp(user, totp.new_secret(), NOW)
    pending = (await core.login(pending=True)).session
    assert pending.level == "pending" and BROWSERS.note(pending, NOW) is None


async def test_a_known_browser_still_needs_the_second_factor(core: Core) -> None:
    user = await core.add()
    note = await known(core)
    await core.second_factors.adopt_totp(user, totp.new_secret(), NOW)
    assert (await core.login(pending=True, known=note, browser=note)).session.level == "pending"
