"""Behaviour that all dialects share: using and ending sessions, refusals, rate limits, codes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.user import Email

from tests.support.house import PASSWORD, House, house, set_cookies, set_notes
from tests.support.second_factors import next_code, turn_on_totp
from tests.support.speakers import SPEAKERS, Speaker

EVERY = {speaker.name: speaker.settings for speaker in SPEAKERS}
OTHER_SITE = {"sec-fetch-site": "cross-site", "origin": "https://evil.test"}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    route = {"upstream": "http://127.0.0.1:9", "logout": {"cookies": ["PHPSESSID"]}}
    async with house(tmp_path, dialects=EVERY, routes=[route]) as built:
        await built.add("alice")
        yield built


@pytest.fixture(params=SPEAKERS, ids=lambda speaker: speaker.name)
async def speaker(home: House, request: pytest.FixtureRequest) -> AsyncIterator[Speaker]:
    async with home.program() as client:
        yield request.param(home, client)


async def opened(speaker: Speaker) -> dict[str, str]:
    """The carrier of a new session. The client itself keeps no cookies."""
    login = await speaker.login()
    assert speaker.is_told(login, "opened")
    speaker.client.cookies.clear()
    return speaker.carrier(login)


async def test_a_login_opens_a_session_that_can_be_used(home: House, speaker: Speaker) -> None:
    carrier = await opened(speaker)
    assert speaker.is_told(await speaker.use(carrier), "used")
    (session,) = await home.sessions()
    assert session.kind == speaker.name and session.level == "full"


async def test_without_a_session_access_is_refused(speaker: Speaker) -> None:
    for carrier in ({}, {"authorization": "Bearer " + "A" * 43}, {"cookie": "doorward=x.y"}):
        assert speaker.is_told(await speaker.use(carrier), "nobody")


@pytest.mark.parametrize("carrier", ["cookie", "bearer"])
async def test_a_session_of_another_entrance_is_accepted(
    home: House, speaker: Speaker, carrier: str
) -> None:
    elsewhere = await home.opened()
    bearer = {"authorization": f"Bearer {elsewhere.token}"}
    headers = bearer if carrier == "bearer" else {"cookie": home.cookie(elsewhere)}
    assert speaker.is_told(await speaker.use(headers), "used")


@pytest.mark.parametrize(
    ("name", "password", "told"),
    [("alice", "wrong", "wrong password"), ("nobody", PASSWORD, "unknown name")],
)
async def test_a_wrong_login_opens_no_session(
    home: House, speaker: Speaker, name: str, password: str, told: str
) -> None:
    login = await speaker.login(name, password)
    assert speaker.is_told(login, told)
    assert "set-cookie" not in login.headers
    assert not await home.sessions()


async def test_a_logout_ends_the_session_everywhere(home: House, speaker: Speaker) -> None:
    carrier = await opened(speaker)
    assert speaker.is_told(await speaker.close(carrier), "closed")
    assert not await home.sessions()
    assert speaker.is_told(await speaker.use(carrier), "nobody")
    assert speaker.is_told(await speaker.use({"cookie": home.cookie(await home.opened())}), "used")


async def test_a_session_ended_elsewhere_is_refused(home: House, speaker: Speaker) -> None:
    carrier = await opened(speaker)
    (session,) = await home.sessions()
    await home.accounts.sessions.end(session, home.clock())
    assert speaker.is_told(await speaker.use(carrier), "nobody")


async def test_a_session_ends_with_its_lifetime(home: House, speaker: Speaker) -> None:
    """CVE-2025-64708: an expiry that only a clean-up enforced."""
    carrier = await opened(speaker)
    home.clock.now += speaker.life_s - 1
    assert speaker.is_told(await speaker.use(carrier), "used")
    home.clock.now += speaker.life_s + 1
    assert speaker.is_told(await speaker.use(carrier), "nobody")


async def test_after_too_many_guesses_the_right_password_is_refused_too(
    home: House, speaker: Speaker
) -> None:
    for _ in range(5):
        assert speaker.is_told(await speaker.login(password="wrong"), "wrong password")
    assert speaker.is_told(await speaker.login(), "locked")
    assert not await home.sessions()
    home.clock.now += 301
    assert speaker.is_told(await speaker.login(), "opened")


def notes_of(login: httpx.Response) -> dict[str, str]:
    """The Cookie header of this browser at its next login."""
    (line,) = set_notes(login)
    pair, *attributes = line.split("; ")
    path = next(one for one in attributes if one.startswith("Path=")).removeprefix("Path=")
    assert login.request.url.path.startswith(path) and {"HttpOnly", "SameSite=Strict"} <= {
        *attributes
    }
    return {"Cookie": pair}


async def test_a_neighbour_does_not_lock_out_a_browser_that_logged_in_before(
    home: House, speaker: Speaker
) -> None:
    """All clients share one address. The cookie has a budget of its own, of the same size."""
    speaker.client.headers["sec-fetch-mode"] = "cors"
    login = await speaker.login()
    known = notes_of(login)
    speaker.client.cookies.clear()
    for _ in range(5):
        assert speaker.is_told(await speaker.login(password="wrong"), "wrong password")
    assert speaker.is_told(await speaker.login(), "locked")
    speaker.client.headers.update(known)
    assert speaker.is_told(await speaker.login(), "opened")
    for _ in range(5):
        speaker.client.cookies.clear()
        assert speaker.is_told(await speaker.login(password="wrong"), "wrong password")
    for password in (PASSWORD, "wrong"):
        assert speaker.is_told(await speaker.login(password=password), "locked")
    home.clock.now += 301
    await home.accounts.users.set_password("alice", "violet tractor", now=home.clock(), actor=OWNER)
    for _ in range(5):
        assert speaker.is_told(await speaker.login(password="wrong"), "wrong password")
    del speaker.client.headers["Cookie"]
    assert speaker.is_told(await speaker.login(), "locked"), "no longer counted apart"


async def test_only_a_complete_login_makes_a_browser_known(home: House, speaker: Speaker) -> None:
    secret = await turn_on_totp(home)
    speaker.client.headers["sec-fetch-mode"] = "cors"
    login = await speaker.login()
    assert not set_notes(login)
    done = await speaker.code(login, next_code(home, secret))
    if speaker.name != "xhr":  # its login and its second step have different paths
        notes_of(done)
    assert set_notes(done)


async def test_a_program_gets_only_the_session_cookie(speaker: Speaker) -> None:
    login = await speaker.login()
    assert speaker.is_told(login, "opened")
    assert len(login.headers.get_list("set-cookie")) == 1


async def test_a_lock_out_does_not_link_a_name_to_its_address(
    home: House, speaker: Speaker
) -> None:
    """Both spend one budget (CVE-2025-24806), and no answer of this entrance reveals it."""
    for name in ("bob", "carol", "dave"):
        await home.add(name, emails=[Email(f"{name}@example.com", True)])

    async def answers(name: str, address: str) -> list[tuple[int, str, str | None]]:
        tried = [name] * 6 + [address] * 6
        told = [await speaker.login(tried_name, "wrong") for tried_name in tried]
        return [
            (one.status_code, one.text.replace(tried_name, ""), one.headers.get("retry-after"))
            for one, tried_name in zip(told, tried, strict=True)
        ]

    assert await answers("bob", "bob@example.com") == await answers("carol", "dave@example.com")
    assert speaker.is_told(await speaker.login("bob"), "locked")
    assert not await home.sessions("bob")


async def test_a_ban_is_revealed_only_after_the_right_password(
    home: House, speaker: Speaker
) -> None:
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    assert speaker.is_told(await speaker.login(password="wrong"), "wrong password")
    assert speaker.is_told(await speaker.login(), "login of a banned user")


async def test_a_ban_suspends_sessions_and_lifting_it_restores_them(
    home: House, speaker: Speaker
) -> None:
    carrier = await opened(speaker)
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    assert speaker.is_told(await speaker.use(carrier), "session of a banned user")
    await home.accounts.users.unban("alice", home.clock(), actor=OWNER)
    assert speaker.is_told(await speaker.use(carrier), "used")


async def test_a_disabled_user_is_answered_like_a_wrong_password(
    home: House, speaker: Speaker
) -> None:
    carrier = await opened(speaker)
    await home.accounts.users.disable("alice", home.clock(), actor=OWNER)
    assert speaker.is_told(await speaker.use(carrier), "nobody")
    login = await speaker.login()
    assert speaker.is_told(login, "wrong password")


async def test_a_login_with_a_second_factor_takes_two_steps(home: House, speaker: Speaker) -> None:
    secret = await turn_on_totp(home)
    login = await speaker.login()
    assert speaker.is_told(login, "code due") and speaker.demands_code(login)
    speaker.client.cookies.clear()
    assert speaker.is_told(await speaker.code(login, "000000"), "code wrong")
    done = await speaker.code(login, next_code(home, secret))
    assert speaker.is_told(done, "code right")
    speaker.client.cookies.clear()
    assert speaker.is_told(await speaker.use(speaker.carrier(done)), "used")


async def test_a_login_with_half_its_factors_opens_nothing(home: House, speaker: Speaker) -> None:
    """CVE-2026-32246: a pending session was accepted by another endpoint."""
    await turn_on_totp(home)
    await speaker.login()
    cookies = "; ".join(f"{c.name}={c.value}" for c in speaker.client.cookies.jar)
    for carrier in ({"cookie": cookies} if cookies else {}, {}):
        assert speaker.is_told(await speaker.use(carrier), "nobody")
    assert all(session.level == "pending" for session in await home.sessions())


async def test_a_code_used_once_is_refused_the_second_time(home: House, speaker: Speaker) -> None:
    secret = await turn_on_totp(home)
    once = next_code(home, secret)
    for told in ("code right", "code wrong"):
        login = await speaker.login()
        speaker.client.cookies.clear()
        assert speaker.is_told(await speaker.code(login, once), told)
        speaker.client.cookies.clear()


async def test_wrong_codes_are_limited_over_all_logins(home: House, speaker: Speaker) -> None:
    """CVE-2024-21500: the lock was evaded by starting the flow again."""
    secret = await turn_on_totp(home)
    for _ in range(5):
        login = await speaker.login()
        speaker.client.cookies.clear()
        await speaker.code(login, "000000")
    login = await speaker.login()
    if login.status_code < 400:  # the answer to the password must not reveal it
        login = await speaker.code(login, next_code(home, secret))
    assert login.status_code >= 400
    assert all(session.level == "pending" for session in await home.sessions())


async def test_a_database_failure_ends_no_session(home: House, speaker: Speaker) -> None:
    carrier = await opened(speaker)
    home.clock.now += 3600  # longer than any cache
    home.break_storage()
    for answer in (await speaker.use(carrier), await speaker.login()):
        assert speaker.is_told(answer, "storage gone")
        assert "set-cookie" not in answer.headers


async def test_another_site_cannot_log_its_visitor_in(home: House, speaker: Speaker) -> None:
    """CVE-2017-1000069: the login was not bound to the page that asked for it."""
    speaker.client.headers.update(OTHER_SITE)
    assert speaker.is_told(await speaker.login(), "another site")
    assert not await home.sessions()


async def test_a_name_that_is_no_string_is_malformed(speaker: Speaker) -> None:
    for name in (None, 1, ["alice"], {"$ne": ""}):
        assert speaker.is_told(await speaker.login(name), "malformed")  # type: ignore[arg-type]


# Logout


async def test_a_logout_expires_the_applications_cookies(speaker: Speaker) -> None:
    closed = await speaker.close(await opened(speaker))
    assert speaker.is_told(closed, "closed")
    assert "PHPSESSID=; Max-Age=0; Path=/" in set_cookies(closed)
