"""The page where users save their names and passwords at applications."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from doorward.accounts.application_credentials import ApplicationCredential

from tests.pages.test_account_page import LOGIN, hidden, post, token
from tests.support.house import PASSWORD, House, house, text_of

PAGE = "/.doorward/account/applications"
FORM = f"{PAGE}?route=/mail"
SECRET = "a password elsewhere"
ROUTES = [
    {"upstream": "http://127.0.0.1:9"},
    {"path": "/mail", "upstream": "http://127.0.0.1:9", "credentials": {"per_user": "basic"}},
]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, routes=ROUTES) as opened:
        await opened.add()
        yield opened


async def found(home: House) -> ApplicationCredential | None:
    user = await home.accounts.users.get("alice")
    return await home.accounts.credentials.find(user, "/mail")


async def test_a_user_saves_changes_and_removes_them(
    home: House, browser: httpx.AsyncClient
) -> None:
    assert PAGE in (await browser.get("/.doorward/account")).text
    assert "nothing saved" in text_of(await browser.get(PAGE))
    form = await browser.get(FORM)
    assert 'value="alice"' in form.text and form.headers["cache-control"] == "no-store"
    done = await post(browser, FORM, account=" alice.smith ", password=SECRET)
    assert done.status_code == 303
    page = await browser.get(done.headers["location"])
    assert "are saved" in text_of(page) and "alice.smith" in page.text
    assert SECRET not in page.text
    assert await found(home) == ApplicationCredential("alice.smith", SECRET)
    form = await browser.get(FORM)
    assert 'value="alice.smith"' in form.text and SECRET not in form.text
    done = await post(browser, FORM, account="alice", password="other")
    assert await found(home) == ApplicationCredential("alice", "other")
    done = await post(browser, PAGE, remove="/mail")
    assert "are removed" in text_of(await browser.get(done.headers["location"]))
    assert await found(home) is None
    assert (await post(browser, PAGE, remove="/mail")).status_code == 303


async def test_saving_asks_for_proof_without_repeating_the_password(
    home: House, browser: httpx.AsyncClient
) -> None:
    given = await token(browser, FORM)
    home.clock.now += 3600
    question = await browser.get(FORM)
    assert "Confirm" in text_of(question) and 'name="account"' not in question.text
    form = {"form": given, "account": "alice", "password": SECRET}
    question = await browser.post(FORM, data=form)
    assert question.status_code == 200 and SECRET not in question.text
    assert await found(home) is None
    wrong = await browser.post(FORM, data={"form": hidden(question, "form"), "current": "wrong"})
    assert wrong.status_code == 401
    proof = {"form": hidden(question, "form"), "current": PASSWORD}
    page = await browser.post(FORM, data=proof)
    assert page.status_code == 200 and 'name="account"' in page.text
    assert await found(home) is None
    again = {"form": hidden(page, "form"), "account": "alice", "password": SECRET}
    assert (await browser.post(FORM, data=again)).status_code == 303
    assert await found(home) == ApplicationCredential("alice", SECRET)


@pytest.mark.parametrize(
    ("account", "password"), [("a:b", "x"), ("", "x"), ("alice", ""), ("alice", "x" * 1025)]
)
async def test_invalid_credentials_are_refused_without_repeating_the_password(
    home: House, browser: httpx.AsyncClient, account: str, password: str
) -> None:
    page = await post(browser, FORM, account=account, password=password)
    assert page.status_code == 400 and "without a colon" in text_of(page)
    assert 'type="password"' in page.text and f'value="{password}"' not in page.text.replace(
        'value=""', ""
    )
    assert await found(home) is None


@pytest.mark.parametrize("query", ["", "?route=/", "?route=/other", "?route=%00", "?route="])
async def test_another_route_has_no_form(
    home: House, browser: httpx.AsyncClient, query: str
) -> None:
    assert "nothing saved" in text_of(await browser.get(PAGE + query))
    done = await post(browser, PAGE + query, account="alice", password=SECRET)
    assert done.status_code == 303
    assert await home.accounts.credentials.list(await home.accounts.users.get("alice")) == []


async def test_changes_need_a_session_and_its_own_form(
    home: House, browser: httpx.AsyncClient
) -> None:
    async with home.browser() as stranger:
        assert (await stranger.get(PAGE)).status_code == 303
    forged = {"form": "0" * 64, "account": "mallory", "password": SECRET}
    assert (await browser.post(FORM, data=forged)).status_code == 403
    assert await found(home) is None


async def test_without_per_user_credentials_the_page_does_not_exist(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        assert PAGE not in home.paths
        await home.add()
        async with home.browser(sec_fetch_site="same-origin") as client:
            await client.post(LOGIN, data={"username": "alice", "password": PASSWORD})
            assert PAGE not in (await client.get("/.doorward/account")).text
