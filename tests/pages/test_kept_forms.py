"""A form that was posted after the session had ended: it is kept for its browser, and sent again on
a click."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.factors import totp
from doorward.app import Application, build_accounts
from doorward.settings import settings_from

from tests.support.clock import FixedClock
from tests.support.house import BROWSER, PASSWORD
from tests.support.origin import Origin

SAVE = "/wiki/save?x=1"
TEXT = 'a & b\r\n\r\n"<textarea></textarea>" 😀'
OURS = {"sec-fetch-site": "same-origin", "referer": "http://app.test/wiki/edit?page=2"}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(time.time())


@pytest.fixture
async def browser(
    tmp_path: Path, origin: Origin, clock: FixedClock
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser for the whole application, with a user alice."""
    chosen = {
        "data_dir": str(tmp_path),
        "public_url": "http://app.test",
        "routes": [{"upstream": origin.url}],
    }
    settings = settings_from(chosen, tmp_path)
    async with Application(settings, clock) as app, build_accounts(settings, clock) as accounts:
        await accounts.users.add("alice", PASSWORD, now=clock())
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        headers = BROWSER | OURS
        async with httpx.AsyncClient(
            transport=transport, base_url="http://app.test", headers=headers
        ) as client:
            client.accounts = accounts  # type: ignore[attr-defined]
            yield client


async def interrupted(browser: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await browser.post(SAVE, data={"text": TEXT, "tag": ["one", "two"]}, **more)


def kept(page: httpx.Response) -> str:
    found = re.search(r'name="kept" value="([^"]+)"', page.text)
    assert found is not None
    return unescape(found[1])


async def log_in(browser: httpx.AsyncClient, sealed: str, **more: Any) -> httpx.Response:
    form = {"username": "alice", "password": PASSWORD, "kept": sealed}
    return await browser.post("/.doorward/login?rd=/wiki/edit%3Fpage%3D2", data=form, **more)


async def test_it_is_kept_and_offered_after_the_login(
    browser: httpx.AsyncClient, origin: Origin
) -> None:
    page = await interrupted(browser)
    assert page.status_code == 401 and "What you just sent is kept" in page.text
    assert 'action="/.doorward/login?rd=/wiki/edit%3Fpage%3D2"' in page.text
    assert "a &amp; b" not in page.text and "wiki/save" not in page.text, "sealed"
    done = await log_in(browser, kept(page))
    assert done.status_code == 200 and 'action="/wiki/save?x=1"' in done.text
    assert 'enctype="application/x-www-form-urlencoded"' in done.text
    fields = re.findall(r'<textarea name="(\w+)" hidden readonly>\n([^<]*)</textarea>', done.text)
    assert [(name, unescape(value)) for name, value in fields] == [
        ("text", TEXT),
        ("tag", "one"),
        ("tag", "two"),
    ]
    assert 'href="/wiki/edit?page=2"' in done.text, "a way that sends nothing"
    assert not origin.heads, "nothing is sent before somebody clicks"


async def test_a_wrong_password_and_a_code_carry_it_along(
    browser: httpx.AsyncClient, clock: FixedClock
) -> None:
    accounts = browser.accounts  # type: ignore[attr-defined]
    secret = totp.new_secret()
    user = await accounts.users.get("alice")
    await accounts.second_factors.adopt_totp(user, secret, clock())
    sealed = kept(await interrupted(browser))
    form = {"username": "alice", "password": "wrong", "kept": sealed}
    assert kept(await browser.post("/.doorward/login", data=form)) == sealed
    second = await log_in(browser, sealed)
    assert second.status_code == 200 and 'name="code"' in second.text
    page = "/.doorward/second-factor"
    wrong = await browser.post(page, data={"code": "000000", "kept": kept(second)})
    assert wrong.status_code == 401 and kept(wrong) == sealed
    code = totp.code_at(secret, totp.step_at(clock()))
    done = await browser.post(page, data={"code": code, "kept": sealed})
    assert 'action="/wiki/save?x=1"' in done.text


async def test_a_kept_form_is_limited_to_its_browser_and_ten_minutes(
    browser: httpx.AsyncClient, clock: FixedClock
) -> None:
    sealed = kept(await interrupted(browser))
    for forged in (sealed[:-8] + "AAAAAAA=", "x", "é", "A" * 200_000):
        assert (await log_in(browser, forged)).headers["location"] == "/wiki/edit?page=2"
    for shift in (600, -86_400):  # and a day earlier, if the clock was ahead
        clock.now += shift
        late = await log_in(browser, sealed)
        assert late.status_code == 303 and late.headers["location"] == "/wiki/edit?page=2"
        clock.now -= shift
    browser.cookies.clear()
    other = await log_in(browser, sealed)
    assert other.status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-mode": "cors", "accept": "*/*"},
        {"content-type": "application/json"},
        {"content-type": "multipart/form-data; boundary=x"},
    ],
)
async def test_a_form_of_another_site_is_not_kept(
    browser: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """As for CVE-2017-1000069: when sent again, another site's form would seem to be from this
    site."""
    page = await interrupted(browser, headers=headers)
    assert page.status_code == 401 and 'name="kept"' not in page.text
    assert "doorward-kept" not in page.headers.get("set-cookie", "")


async def test_a_form_over_the_limit_is_not_kept(browser: httpx.AsyncClient) -> None:
    fits = await browser.post(SAVE, data={"text": '"' * 20_000})
    assert len((await log_in(browser, kept(fits))).text) > 60_000
    browser.cookies.clear()
    large = await browser.post(SAVE, data={"text": "x" * 65 * 1024})
    assert large.status_code == 401 and 'name="kept"' not in large.text


@pytest.mark.parametrize(
    "referer",
    [
        "javascript:alert(1)",
        "javascript://app.test/%0aalert(1)",
        "http://evil.test/wiki",
        "http://app.test@evil.test/wiki",
        "http://app.test//evil.test/",
        "http://app.test/%2f/evil.test",
        "http://app.test/.doorward/logout",
    ],
)
async def test_a_foreign_referer_does_not_set_the_return_address(
    browser: httpx.AsyncClient, referer: str
) -> None:
    """CVE-2024-21496: a Referer ended up in a link."""
    page = await interrupted(browser, headers={"referer": referer})
    assert page.status_code == 401 and "alert" not in page.text and "evil" not in page.text
    action = re.search(r'action="([^"]*login[^"]*)"', page.text)
    assert action is not None and action[1] == "/.doorward/login"
