"""Remembered browsers, in which a code was entered before: what their cookie allows, and what ends
it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from doorward.accounts.factors import totp
from doorward.accounts.factors.browsers import Browsers
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.keys import Keys
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import SecondFactorRequired
from doorward.accounts.user import Email
from doorward.accounts.users.editing import Edit

from tests.support.core import PASSWORD, Core
from tests.support.memory import NOW
from tests.support.people import proven

DAY_S = 86_400.0
KEYS = Keys((b"k" * 32,))


@pytest.fixture
def factors(core: Core) -> SecondFactors:
    """The core's second factors, with browsers remembered for a day."""
    core.second_factors._browsers = Browsers(KEYS, DAY_S)
    return core.second_factors


async def noted(core: Core, factors: SecondFactors) -> str:
    user = await core.add(emails=[Email("alice@example.com", True)])
    await factors.adopt_totp(user, totp.new_secret(), NOW)
    note = await factors.remember_browser(user, NOW)
    assert note is not None
    return note


async def test_a_login_with_the_cookie_is_full_but_has_no_fresh_factor(
    core: Core, factors: SecondFactors
) -> None:
    note = await noted(core, factors)
    session = (await core.login(pending=True, browser=note)).session
    assert session.level == "full" and session.method == "password+browser"
    assert session.second_factor_at is None, "never good for a rule that wants one"
    assert (await core.login(pending=True)).session.level == "pending"


async def test_the_cookie_does_not_replace_the_code_of_a_password_change(
    core: Core, factors: SecondFactors
) -> None:
    """CVE-2026-54730: with a second factor, a change of password requires a code; a remembered
    browser may be stolen."""
    note = await noted(core, factors)
    await core.users.edit("alice", Edit(must_change_password=True), NOW, actor=OWNER)
    new = "violet tractor under seven moons"
    with pytest.raises(SecondFactorRequired):
        await core.login(pending=True, browser=note, new_password=new)
    assert (await core.users.get("alice")).must_change_password


@pytest.mark.parametrize("change", [0, 4, 10, -1])
async def test_a_forged_cookie_has_no_effect(
    core: Core, factors: SecondFactors, change: int
) -> None:
    note = await noted(core, factors)
    letters = list(note)
    letters[change] = "A" if letters[change] != "A" else "B"
    for forged in ("".join(letters), "", "x", f"{note}.", "9" * 400):
        assert (await core.login(pending=True, browser=forged)).session.level == "pending"


async def test_the_cookie_expires_and_the_setting_can_shorten_it(
    core: Core, factors: SecondFactors
) -> None:
    note = await noted(core, factors)
    user = await core.users.get("alice")
    assert await factors.knows_browser(user, note, NOW + DAY_S - 1)
    assert not await factors.knows_browser(user, note, NOW + DAY_S)
    assert not await factors.knows_browser(user, note, NOW - 1), "a clock that was set back"
    assert not Browsers(KEYS, 60.0).recognises(note, user, 1, NOW)
    assert not Browsers(KEYS, None).recognises(note, user, 1, NOW)
    assert Browsers(KEYS, None).note(user, 1, NOW) is None


async def test_the_cookie_is_invalid_for_another_user_or_key(
    core: Core, factors: SecondFactors
) -> None:
    note = await noted(core, factors)
    bob = await core.add("bob")
    assert not await factors.knows_browser(bob, note, NOW)
    alice = await core.users.get("alice")
    epoch = (await core.factor_rows.read(alice.number)).browsers
    assert Browsers(Keys((b"n" * 32, b"k" * 32)), DAY_S).recognises(note, alice, epoch, NOW)
    assert not Browsers(Keys((b"n" * 32,)), DAY_S).recognises(note, alice, epoch, NOW)


async def password(core: Core) -> None:
    for new in ("another password", PASSWORD):
        await core.users.set_password("alice", new, now=NOW, actor=OWNER)


async def ban(core: Core) -> None:
    await core.users.ban("alice", NOW, actor=OWNER)
    await core.users.unban("alice", NOW, actor=OWNER)


async def email(core: Core) -> None:
    user = await core.users.get("alice")
    await core.second_factors.enable_email(proven(user, NOW), NOW)
    await core.second_factors.disable_email(proven(user, NOW), NOW)


async def reset(core: Core) -> None:
    user = await core.users.get("alice")
    await core.second_factors.reset_totp(user, NOW, actor=OWNER)
    await core.second_factors.adopt_totp(user, totp.new_secret(), NOW)


@pytest.mark.parametrize("change", [password, ban, email, reset])
async def test_the_cookie_is_invalid_after(
    core: Core, factors: SecondFactors, change: Callable[[Core], Awaitable[None]]
) -> None:
    note = await noted(core, factors)
    await change(core)
    assert (await core.login(pending=True, browser=note)).session.level == "pending"
