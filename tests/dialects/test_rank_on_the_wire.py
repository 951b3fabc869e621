"""Rank at every entrance: an admin cannot do through one entrance what another refuses."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts.factors import totp
from doorward.accounts.permissions import ADMIN
from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions.sessions import Opened
from doorward.pages.admin_user import list_acts

from tests.support.house import House, house
from tests.support.rocketchat import ON, api, pair

DIALECTS = ON | {"xhr": {}, "alekeagle": {}, "datepoll": {}}
PEOPLE = ("boss", "other", "alice")  # a super admin, another admin, a user
ALLOWED = {"boss": False, "other": False, "admin": False, "alice": True}
SECRET = totp.new_secret()
BUTTONS = ("ban", "unban", "disable", "enable", "demand", "reset", "end-all")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, dialects=DIALECTS) as opened:
        await opened.add("boss", super_admin=True)
        await opened.add("other", roles=[ADMIN])
        await opened.add("admin", roles=[ADMIN])
        await opened.add("alice")
        yield opened


@pytest.fixture
async def admin(home: House) -> Opened:
    """An admin with a fresh second factor, which the admin pages and rocketchat require."""
    opened = await home.opened("admin", second_factor_at=home.clock())
    user = opened.session.user
    await home.accounts.second_factors.adopt_totp(user, SECRET, home.clock())
    fresh: dict[str, Any] = {"until": home.clock() + 300, "fingerprint": None, "now": home.clock()}
    await home.accounts.sessions.trust(opened.session, factor_at=home.clock(), **fresh)
    return opened


async def lock_out(home: House, name: str) -> None:
    """Spend the budget with five wrong attempts."""
    for _ in range(5):
        await is_locked(home, name)


async def is_locked(home: House, name: str) -> bool:
    user = await home.accounts.users.get(name)
    try:
        await home.accounts.regulation.begin(name, user, "198.51.100.7", home.clock())
    except Refusal:
        return True
    return False


@pytest.mark.parametrize("name", ALLOWED)
async def test_an_admin_can_unlock_only_users(home: House, admin: Opened, name: str) -> None:
    """Both forms on the pages: in the list of lock-outs and on the user's own page."""
    user = await home.accounts.users.get(name)
    cookie = home.cookie(admin)
    for path, form in (
        ("/.doorward/admin/lockouts", {"do": "user", "user": name}),
        (f"/.doorward/admin/users/{user.id}", {"do": "unlock"}),
    ):
        await lock_out(home, name)
        async with home.browser(sec_fetch_site="same-origin", cookie=cookie) as browser:
            page = await browser.get("/.doorward/admin/lockouts")
            token = re.search(r'name="form" value="(\w+)"', page.text)
            assert token is not None, page.text
            response = await browser.post(path, data=form | {"form": token[1]})
        assert response.status_code == (303 if ALLOWED[name] else 403)
        assert await is_locked(home, name) != ALLOWED[name]


async def test_every_action_of_the_admin_pages_is_tested(home: House) -> None:
    assert set(list_acts(home.accounts.administration)) == {*BUTTONS, "unlock"}


@pytest.mark.parametrize("what", BUTTONS)
@pytest.mark.parametrize("name", ALLOWED)
async def test_the_admin_pages_act_only_on_users(
    home: House, admin: Opened, name: str, what: str
) -> None:
    victim = await home.opened(name) if name != "admin" else admin
    user = await home.accounts.users.get(name)
    if what == "reset" and name != "admin":
        await home.accounts.second_factors.adopt_totp(user, totp.new_secret(), home.clock())
    cookie = home.cookie(admin)
    async with home.browser(sec_fetch_site="same-origin", cookie=cookie) as browser:
        page = await browser.get("/.doorward/admin/lockouts")
        token = re.search(r'name="form" value="(\w+)"', page.text)
        assert token is not None, page.text
        form = {"form": token[1], "do": what}
        response = await browser.post(f"/.doorward/admin/users/{user.id}", data=form)
    assert response.status_code == (303 if ALLOWED[name] else 403)
    ends = ALLOWED[name] and what in ("ban", "disable", "reset", "end-all")
    assert (await home.found(victim) is None) == ends


@pytest.mark.parametrize("name", PEOPLE)
async def test_rocketchat_logs_out_only_users(home: House, admin: Opened, name: str) -> None:
    victim = await home.opened(name)
    async with home.program() as client:
        body = {"userId": victim.session.user.id}
        response = await client.post(api("users.logout"), json=body, headers=pair(admin))
    assert response.status_code == (200 if ALLOWED[name] else 403)
    if not ALLOWED[name]:
        assert response.json() == {"success": False, "error": "unauthorized"}
    assert (await home.found(victim) is None) == ALLOWED[name]


@pytest.mark.parametrize("name", PEOPLE)
async def test_rocketchat_ends_only_sessions_of_users(
    home: House, admin: Opened, name: str
) -> None:
    victim = await home.opened(name)
    code = totp.code_at(SECRET, totp.step_at(home.clock()))
    async with home.program() as client:
        body = {"sessionId": victim.session.id}
        response = await client.post(
            api("sessions/logout"), json=body, headers=pair(admin, code, "totp")
        )
    assert response.status_code == (200 if ALLOWED[name] else 403), response.text
    assert (await home.found(victim) is None) == ALLOWED[name]


async def test_the_other_dialects_end_only_own_sessions(home: House, admin: Opened) -> None:
    victim = await home.opened("boss")
    bearer = {"authorization": f"Bearer {admin.token}"}
    async with home.program() as client:
        path = f"/api/user/session/{victim.session.iat}"
        response = await client.delete(path, headers=bearer)
        if victim.session.iat != admin.session.iat:
            assert response.status_code == 404
        path = f"/api/v1/user/myself/session/{victim.session.number}"
        assert (await client.delete(path, headers=bearer)).status_code in (401, 404)
    assert await home.found(victim) is not None
