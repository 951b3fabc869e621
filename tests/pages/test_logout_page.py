"""The logout page: GET shows a button, and POST ends the session everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from doorward.accounts.session import FULL, PENDING

from tests.support.house import House, house, set_cookies, text_of

LOGOUT = "/.doorward/logout"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as built:
        await built.add("alice")
        yield built


@pytest.fixture
async def browser(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.browser() as client:
        yield client


async def test_opening_the_page_ends_no_session(home: House, browser: httpx.AsyncClient) -> None:
    opened = await home.opened()
    for method in ("GET", "HEAD"):
        page = await browser.request(method, LOGOUT, headers={"cookie": home.cookie(opened)})
        assert page.status_code == 200 and not set_cookies(page)
    page = await browser.get(LOGOUT, headers={"cookie": home.cookie(opened)})
    assert "You are logged in as alice" in text_of(page)
    assert '<form method="post" action="/.doorward/logout">' in page.text
    assert await home.found(opened) is not None


async def test_a_post_ends_the_session_and_expires_every_variant(
    home: House, browser: httpx.AsyncClient
) -> None:
    """CVE-2024-21492: a logout left the token valid."""
    opened = await home.opened()
    done = await browser.post(LOGOUT, headers={"cookie": home.cookie(opened)})
    assert (done.status_code, done.headers["location"]) == (303, "/.doorward/login")
    assert done.headers["cache-control"] == "no-store"
    lines = set_cookies(done)
    assert all("Max-Age=0" in line for line in lines)
    assert any("Domain=wiki.test" in line for line in lines)
    assert await home.found(opened) is None


async def test_on_https_both_names_are_expired(tmp_path: Path) -> None:
    async with house(tmp_path, public_url="https://wiki.test") as home:
        async with home.browser() as browser:
            lines = set_cookies(await browser.post(LOGOUT))
    assert {line.partition("=")[0] for line in lines} == {"__Host-doorward", "doorward"}


async def test_every_session_in_the_cookies_is_ended(
    home: House, browser: httpx.AsyncClient
) -> None:
    one, two, other = await home.opened(), await home.opened(), await home.opened()
    headers = {"cookie": f"{home.cookie(one)}; {home.cookie(two)}; doorward=forged"}
    assert (await browser.post(LOGOUT, headers=headers)).status_code == 303
    assert await home.found(one) is None and await home.found(two) is None
    assert await home.found(other) is not None


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_the_sessions_of_a_bearer_token_and_of_a_cookie_are_ended(
    home: House, browser: httpx.AsyncClient, name: str
) -> None:
    """CVE-2024-21492: the page named the token's user, and its button left the token valid. If the
    cookie is another user's, the request is nobody's, but both sessions end."""
    await home.add("bob")
    for level in (FULL, PENDING):
        bearer, cookie = await home.opened(name, level=level), await home.opened()
        headers = {"authorization": f"Bearer {bearer.token}", "cookie": home.cookie(cookie)}
        assert (await browser.post(LOGOUT, headers=headers)).status_code == 303
        assert await home.found(bearer) is None and await home.found(cookie) is None


async def test_a_token_s_session_ends_also_if_a_cookie_came_twice(
    home: House, browser: httpx.AsyncClient
) -> None:
    bearer, one, two = await home.opened(), await home.opened(), await home.opened()
    cookies = f"{home.cookie(one)}; {home.cookie(two)}"
    headers = {"authorization": f"Bearer {bearer.token}", "cookie": cookies}
    assert (await browser.post(LOGOUT, headers=headers)).status_code == 303
    assert [await home.found(each) for each in (bearer, one, two)] == [None] * 3


async def test_a_logout_by_bearer_token_that_failed_is_reported(
    home: House, browser: httpx.AsyncClient
) -> None:
    opened = await home.opened()
    headers = {"authorization": f"Bearer {opened.token}"}
    await browser.get(LOGOUT, headers=headers)  # the session is now in memory
    home.break_storage()
    assert (await browser.post(LOGOUT, headers=headers)).status_code == 503


async def test_a_logout_ends_a_pending_session(home: House, browser: httpx.AsyncClient) -> None:
    pending = await home.opened(level=PENDING)
    await browser.post(LOGOUT, headers={"cookie": home.cookie(pending)})
    assert await home.found(pending) is None


async def test_a_logout_without_a_session_expires_the_cookie(browser: httpx.AsyncClient) -> None:
    done = await browser.post(LOGOUT)
    assert done.status_code == 303 and set_cookies(done)
    assert "You are logged out" in text_of(await browser.get(LOGOUT))


async def test_a_safe_return_is_followed(browser: httpx.AsyncClient) -> None:
    assert (await browser.post(f"{LOGOUT}?rd=/bye")).headers["location"] == "/bye"
    assert (await browser.post(f"{LOGOUT}?rd=/")).headers["location"] == "/"


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
async def test_another_site_cannot_log_its_visitor_out(
    home: House, browser: httpx.AsyncClient, site: str
) -> None:
    opened = await home.opened()
    headers = {"cookie": home.cookie(opened), "sec-fetch-site": site}
    page = await browser.post(LOGOUT, headers=headers)
    assert page.status_code == 403 and not set_cookies(page)
    assert await home.found(opened) is not None


async def test_a_logout_that_failed_is_reported(home: House, browser: httpx.AsyncClient) -> None:
    opened = await home.opened()
    home.break_storage()
    page = await browser.post(LOGOUT, headers={"cookie": home.cookie(opened)})
    assert page.status_code == 503 and "You are still logged in" in text_of(page)
    assert not set_cookies(page)


async def test_a_hostile_name_is_harmless(home: House, browser: httpx.AsyncClient) -> None:
    await home.add("<img src=x onerror=alert(1)>")
    headers = {"cookie": home.cookie(await home.opened("<img src=x onerror=alert(1)>"))}
    page = await browser.get(LOGOUT, headers=headers)
    assert "<img src=x" not in page.text and "&lt;img src=x" in page.text
