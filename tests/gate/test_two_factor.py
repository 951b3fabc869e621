"""A rule that requires a second factor: users are led to enter a code, or to set up a factor."""

from __future__ import annotations

import pyotp
from doorward.accounts.sessions.sessions import ClientInfo, Opened

from tests.support.front import Build, Front
from tests.support.wire import Header

BROWSER: list[Header] = [(b"sec-fetch-mode", b"navigate"), (b"accept", b"text/html")]
STRICT = {"rules": [{"path": "/strict/*", "require": "two_factor"}]}


async def enrolled(front: Front) -> tuple[Opened, pyotp.TOTP]:
    """A session of a user who has turned on TOTP elsewhere."""
    opened, factors = await front.opened(), front.accounts.second_factors
    enrolment = await factors.begin_totp(opened.session, front.clock())
    app = pyotp.TOTP(enrolment.secret)
    await factors.confirm_totp(opened.session, None, app.at(int(front.clock())), front.clock())
    front.clock.now += 60
    return await front.opened(), app


async def test_a_user_without_a_factor_is_redirected_to_set_one_up(fronts: Build) -> None:
    front = await fronts(access=STRICT)
    cookie = front.cookie(await front.opened())
    page = await front.get("/strict/x", cookie, *BROWSER)
    assert page.status == 303
    assert page.values(b"location") == [b"/.doorward/second-factor?rd=/strict/x"]
    assert (await front.get("/strict/x", cookie)).status == 401
    assert (await front.get("/lax", cookie)).status == 200
    assert len(front.origin.heads) == 1


async def test_a_user_whose_only_factor_is_unusable_is_refused(fronts: Build) -> None:
    """The mail server was removed from the settings: a new factor must not bypass the first one."""
    front = await fronts(access=STRICT)
    opened = await front.opened()
    store, number = front.accounts.second_factors._store, opened.session.user.number
    await store.create(number, b"key")
    await store.set_email(number, True, front.clock())
    for headers in ((*BROWSER,), ()):
        assert (await front.get("/strict/x", front.cookie(opened), *headers)).status == 403
    assert not front.origin.heads


async def test_a_user_with_a_factor_is_redirected_to_enter_a_code(fronts: Build) -> None:
    front = await fronts(access=STRICT)
    opened, _ = await enrolled(front)
    page = await front.get("/strict/x?y=1", front.cookie(opened), *BROWSER)
    assert page.status == 303
    assert page.values(b"location") == [b"/.doorward/second-factor?rd=/strict/x%3Fy%3D1"]
    program = await front.get("/strict/x", front.cookie(opened))
    assert program.status == 401 and b"second_factor_required" in program.body
    assert not front.origin.heads


async def test_a_session_with_a_fresh_factor_is_allowed(fronts: Build) -> None:
    front = await fronts(access=STRICT)
    opened, app = await enrolled(front)
    await front.accounts.second_factors.demand(
        opened.session,
        ClientInfo("192.0.2.7", "elsewhere"),
        app.at(int(front.clock())),
        "totp",
        honours_trust=True,
        now=front.clock(),
    )
    assert (await front.get("/strict/x", front.cookie(opened))).status == 200
