"""The page that asks for a code, from the password to the requested page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.factors.emailed import EmailedCodes
from doorward.accounts.user import Email

from tests.support.house import PASSWORD, House, house, set_cookies, text_of
from tests.support.mailbox import Mailbox
from tests.support.people import proven
from tests.support.second_factors import code_of, turn_on_email, turn_on_totp

RIGHT = {"username": "alice", "password": PASSWORD}
LOGIN = "/.doorward/login?rd=/wiki/page%3Fx%3D1"
PAGE = "/.doorward/second-factor?rd=/wiki/page%3Fx%3D1"


@pytest.fixture
async def home(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[House]:
    async with house(tmp_path) as opened:
        await opened.add(emails=[Email("alice@example.com", True)])
        yield opened


@pytest.fixture
async def browser(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.browser(sec_fetch_site="same-origin") as client:
        yield client


async def post(browser: httpx.AsyncClient, **form: Any) -> httpx.Response:
    return await browser.post(PAGE, data=form)


async def test_after_a_totp_code_the_requested_page_opens(
    home: House, browser: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    login = await browser.post(LOGIN, data=RIGHT | {"remember": "1"})
    assert login.status_code == 303 and login.headers["location"] == PAGE
    assert "Max-Age" not in set_cookies(login)[0], "nothing to remember yet"
    pending = browser.cookies[home.cookies.name.decode()]
    page = await browser.get(PAGE)
    assert page.status_code == 200 and "authenticator app" in text_of(page)
    done = await post(browser, method="totp", code=f" {code_of(home, secret)} ")
    assert done.status_code == 303 and done.headers["location"] == "/wiki/page?x=1"
    assert "Max-Age" in set_cookies(done)[0]
    assert browser.cookies[home.cookies.name.decode()] != pending
    (session,) = await home.sessions()
    assert session.level == "full" and session.second_factor_at == home.clock()
    assert (await browser.get(PAGE)).headers["location"] == "/wiki/page?x=1"


async def test_a_pending_session_is_ignored_elsewhere(
    home: House, browser: httpx.AsyncClient
) -> None:
    """CVE-2026-32246: a pending login was accepted by another endpoint."""
    await turn_on_totp(home)
    await browser.post(LOGIN, data=RIGHT)
    assert (await browser.get("/.doorward/login")).status_code == 200
    assert (await browser.get("/xhr/session")).status_code == 401
    left = await browser.post("/.doorward/logout")
    assert left.status_code == 303 and await home.sessions() == ()


async def test_the_pending_token_is_invalid_at_once(
    home: House, browser: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    await browser.post(LOGIN, data=RIGHT)
    name = home.cookies.name.decode()
    pending = browser.cookies[name]
    await browser.get(PAGE)  # now it is in memory
    await post(browser, code=code_of(home, secret))
    async with home.browser(cookie=f"{name}={pending}") as other:
        assert (await other.get(PAGE)).headers["location"].startswith("/.doorward/login")


async def test_a_wrong_code_is_reported_and_the_fifth_locks(
    home: House, browser: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    await browser.post(LOGIN, data=RIGHT)
    for _ in range(4):
        wrong = await post(browser, method="totp", code="000000")
        assert wrong.status_code == 401 and "The code is not right." in text_of(wrong)
        assert "phone sets its clock automatically" in text_of(wrong)
    locked = await post(browser, method="totp", code="000000")
    assert locked.status_code == 429 and locked.headers["retry-after"] == "300"
    refused = await post(browser, method="totp", code=code_of(home, secret))
    assert refused.status_code == 429 and not set_cookies(refused)
    assert (await browser.get(PAGE)).status_code == 429


async def test_a_code_is_mailed_when_the_page_is_shown_and_once(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    await browser.post(LOGIN, data=RIGHT)
    for _ in range(2):
        page = await browser.get(PAGE)
        assert "e-mail address" in text_of(page) and "alice@" not in page.text
    assert len(mailbox.sent) == 1
    done = await post(browser, method="email", code=mailbox.sent[0][1])
    assert done.status_code == 303 and done.headers["location"] == "/wiki/page?x=1"


async def test_a_button_switches_to_email(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_totp(home)
    await turn_on_email(home)
    await browser.post(LOGIN, data=RIGHT)
    assert "Send me a code by e-mail" in (await browser.get(PAGE)).text
    assert not mailbox.sent
    switched = await post(browser, method="email")
    assert switched.status_code == 200 and 'name="method" value="email"' in switched.text
    assert "Use my authenticator app" in switched.text
    assert (await post(browser, method="email", code=mailbox.sent[0][1])).status_code == 303


async def test_a_recovery_code_is_accepted_in_the_same_field(
    home: House, browser: httpx.AsyncClient
) -> None:
    await turn_on_totp(home)
    user = await home.accounts.users.get("alice")
    codes = await home.accounts.second_factors.regenerate_recovery(
        proven(user, home.clock()), home.clock()
    )
    await browser.post(LOGIN, data=RIGHT)
    assert (await post(browser, method="totp", code=codes[3].upper())).status_code == 303


async def test_a_failed_mail_is_reported_and_a_recovery_code_still_works(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    user = await home.accounts.users.get("alice")
    codes = await home.accounts.second_factors.regenerate_recovery(
        proven(user, home.clock()), home.clock()
    )
    mailbox.broken = True
    await browser.post(LOGIN, data=RIGHT)
    page = await browser.get(PAGE)
    assert page.status_code == 503 and "could not be sent" in text_of(page)
    assert (await post(browser, method="", code=codes[0])).status_code == 303


async def test_an_empty_field_is_no_attempt(home: House, browser: httpx.AsyncClient) -> None:
    await turn_on_totp(home)
    await browser.post(LOGIN, data=RIGHT)
    for _ in range(6):
        empty = await post(browser, method="totp", code=" ")
        assert empty.status_code == 400 and "Enter the code." in text_of(empty)


async def test_a_pending_login_expires_after_five_minutes(
    home: House, browser: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    await browser.post(LOGIN, data=RIGHT | {"remember": "1"})
    home.clock.now += 300
    late = await post(browser, code=code_of(home, secret))
    assert late.status_code == 303 and late.headers["location"] == f"{LOGIN}&expired=1"


async def test_a_client_without_a_session_is_redirected_to_the_login(
    browser: httpx.AsyncClient,
) -> None:
    for answer in (await browser.get(PAGE), await post(browser, code="123456")):
        assert answer.status_code == 303 and answer.headers["location"] == LOGIN


async def test_another_site_cannot_post_a_code(home: House) -> None:
    async with home.browser(sec_fetch_site="cross-site") as browser:
        assert (await post(browser, code="123456")).status_code == 403


async def test_a_full_session_can_enter_a_code_for_a_rule(
    home: House, browser: httpx.AsyncClient
) -> None:
    old = await home.opened()
    secret = await turn_on_totp(home)
    browser.headers["cookie"] = home.cookie(old)
    assert (await browser.get(PAGE)).status_code == 200
    done = await post(browser, code=code_of(home, secret))
    assert done.status_code == 303 and done.headers["location"] == "/wiki/page?x=1"
    assert await home.found(old) is None
    (session,) = await home.sessions()
    assert session.id == old.session.id and session.second_factor_at == home.clock()


async def test_a_user_without_a_factor_has_to_set_one_up(
    home: House, browser: httpx.AsyncClient
) -> None:
    browser.headers["cookie"] = home.cookie(await home.opened())
    led = await browser.get(PAGE)
    assert led.status_code == 303
    assert led.headers["location"] == PAGE.replace("second-factor", "account/authenticator")


async def test_a_user_whose_only_factor_is_unavailable_gets_a_message(
    home: House, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await turn_on_email(home)
    monkeypatch.setattr(EmailedCodes, "can_reach", lambda *_: False)
    browser.headers["cookie"] = home.cookie(await home.opened())
    page = await browser.get(PAGE)
    assert page.status_code == 403 and "is not available right now" in text_of(page)


@pytest.mark.parametrize("target", ["//evil.test", "https://evil.test", "/\\evil.test"])
async def test_the_page_redirects_to_no_other_host(
    home: House, browser: httpx.AsyncClient, target: str
) -> None:
    secret = await turn_on_totp(home)
    await browser.post("/.doorward/login", data=RIGHT)
    done = await browser.post(
        "/.doorward/second-factor", params={"rd": target}, data={"code": code_of(home, secret)}
    )
    assert done.headers["location"] == "/"


# The same with xhr


async def test_xhr_asks_for_a_code_and_accepts_it(home: House, browser: httpx.AsyncClient) -> None:
    secret = await turn_on_totp(home)
    login = await browser.post("/xhr/login", json=RIGHT)
    assert login.json() == {"session": {"maxAge": 300_000, "totp": True}}
    assert (await browser.get("/xhr/session")).status_code == 401
    wrong = await browser.post("/xhr/totp", json={"token": "000000"})
    assert wrong.status_code == 401 and wrong.json()["error"] == "totp_invalid"
    done = await browser.post("/xhr/totp", json={"token": code_of(home, secret)})
    assert done.status_code == 204 and set_cookies(done)
    assert (await browser.get("/xhr/session")).json()["session"]["totp"] is True
    again = await browser.post("/xhr/totp", json={"token": code_of(home, secret)})
    assert again.status_code == 401, "it is for half-done logins"


async def test_xhr_mails_a_code_and_accepts_it(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    assert (await browser.post("/xhr/login", json=RIGHT)).json()["session"]["totp"] is True
    token = mailbox.sent[0][1]
    assert (await browser.post("/xhr/totp", json={"token": token})).status_code == 204
    assert (await browser.get("/xhr/session")).json()["session"]["totp"] is False


async def test_xhr_says_when_the_mail_failed_and_when_codes_are_locked(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    mailbox.broken = True
    failed = await browser.post("/xhr/login", json=RIGHT)
    assert failed.status_code == 503 and failed.json()["error"] == "mail_failed"
    assert not set_cookies(failed)
    mailbox.broken = False
    await browser.post("/xhr/login", json=RIGHT)
    for _ in range(5):
        last = await browser.post("/xhr/totp", json={"token": "not a code"})
    assert last.status_code == 429 and last.json()["error"] == "totp_max_attempts"
    assert last.headers["retry-after"] == "300"
