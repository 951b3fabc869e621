"""The account page and its subpages, in process: what each form does, and whom it refuses."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.factors import totp
from doorward.accounts.passwords import hashing as passwords
from doorward.accounts.session import PENDING
from doorward.accounts.user import Email
from doorward.pages import credentials

from tests.support.house import PASSWORD, House, house, set_cookies, text_of
from tests.support.mailbox import Mailbox
from tests.support.people import proven
from tests.support.second_factors import code_of

ACCOUNT = "/.doorward/account"
APP = f"{ACCOUNT}/authenticator"
LOGIN = "/.doorward/login"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NEW = "violet tractor under seven moons"


@pytest.fixture
async def home(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[House]:
    async with house(tmp_path, second_factor={"remember_browser": "30d"}) as opened:
        await opened.add(emails=[Email("alice@example.com", True)])
        yield opened


async def token(browser: httpx.AsyncClient, path: str = ACCOUNT) -> str:
    found = re.search(r'name="form" value="(\w+)"', (await browser.get(path)).text)
    assert found is not None
    return found[1]


async def post(browser: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    return await browser.post(path, data={"form": await token(browser), **form})


def hidden(page: httpx.Response, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found is not None, name
    return found[1]


async def set_up(home: House, browser: httpx.AsyncClient, path: str = APP) -> tuple[str, list[str]]:
    """Set up an app; its secret and the recovery codes."""
    shown = await browser.post(path, data={"form": await token(browser), "step": "begin"})
    secret = hidden(shown, "secret")
    form = {"form": hidden(shown, "form"), "step": "confirm", "secret": secret}
    done = await browser.post(path, data=form | {"code": code_of(home, secret)})
    assert done.status_code == 200, text_of(done)
    home.clock.now += 30  # a code works once
    return secret, re.findall(r"<code>([\w-]+)</code>", done.text)


# Access


@pytest.mark.parametrize("path", ["", "/authenticator", "/password", "/email"])
async def test_a_client_without_a_session_logs_in_and_returns(home: House, path: str) -> None:
    async with home.browser() as nobody, home.program() as program:
        page = await nobody.get(f"{ACCOUNT}{path}")
        assert page.status_code == 303
        assert page.headers["location"] == f"{LOGIN}?rd={ACCOUNT}{path}"
        assert (await program.get(f"{ACCOUNT}{path}")).status_code == 401


async def test_a_pending_session_is_refused(home: House) -> None:
    """CVE-2026-32246: a pending login was accepted by another endpoint."""
    pending = await home.opened(level=PENDING)
    async with home.browser(cookie=home.cookie(pending)) as browser:
        for path in ("", "/authenticator", "/password", "/email"):
            assert (await browser.get(f"{ACCOUNT}{path}")).status_code == 303
            assert (await browser.post(f"{ACCOUNT}{path}", data={"x": "y"})).status_code in (
                303,
                405,
            )
        assert (await browser.get("/.doorward/session")).status_code == 401


FORMS = ["/sessions", "/authenticator", "/recovery-codes", "/email-codes", "/password", "/email"]


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_is_of_its_session_and_of_this_site(
    home: House, browser: httpx.AsyncClient, path: str
) -> None:
    """As for CVE-2017-1000069 and CVE-2020-36191."""
    async with home.browser(cookie=home.cookie(await home.opened())) as other:
        foreign = await token(other)
    for wrong in ("", "x", "é", foreign):
        refused = await browser.post(f"{ACCOUNT}{path}", data={"form": wrong})
        assert refused.status_code == 403 and "belongs to an earlier session" in text_of(refused)
    form = {"form": await token(browser)}
    headers = {"sec-fetch-site": "cross-site"}
    refused = await browser.post(f"{ACCOUNT}{path}", data=form, headers=headers)
    assert refused.status_code == 403 and "another site" in text_of(refused)
    assert (await browser.get(f"{ACCOUNT}{path}")).status_code in (200, 303), "GET changes nothing"


# Sessions


async def test_sessions_are_listed_with_device_address_and_times(
    home: House, browser: httpx.AsyncClient
) -> None:
    user = await home.accounts.users.get("alice")
    assert user.emails
    async with home.browser(user_agent=FIREFOX) as other:
        await other.post(LOGIN, data={"username": "alice", "password": PASSWORD})
    home.clock.now += 7200
    page = await browser.get(ACCOUNT)
    assert page.status_code == 303, "the session ended unused"
    await browser.post(LOGIN, data={"username": "alice", "password": PASSWORD})
    page = await browser.get(ACCOUNT)
    said = text_of(page)
    assert said.count("this one") == 1 and "192.0.2.1" in said
    assert "This session ends in 2 hours unless it is used." in said
    assert page.headers["cache-control"] == "no-store"


async def test_only_the_newest_sessions_and_this_one_are_listed(
    home: House, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorward.pages.account.LISTED", 2)
    await browser.post(LOGIN, data={"username": "alice", "password": PASSWORD})
    assert "newest sessions" not in text_of(await browser.get(ACCOUNT))
    for _ in range(3):
        home.clock.now += 1
        async with home.browser(user_agent=FIREFOX) as other:
            await other.post(LOGIN, data={"username": "alice", "password": PASSWORD})
    page = await browser.get(ACCOUNT)
    said = text_of(page)
    assert "Only the 2 newest sessions are listed." in said and said.count("this one") == 1
    assert page.text.count("End the session of") == 3


async def test_a_device_is_named_and_a_hostile_one_is_harmless(
    home: House, browser: httpx.AsyncClient
) -> None:
    """CVE-2023-52430: script in a name or a User-Agent."""
    for agent in (
        FIREFOX,
        "<script>alert(1)</script>" + "x" * 600,
        "\\x00' OR 1=1",
    ):
        async with home.browser(user_agent=agent) as other:
            await other.post(LOGIN, data={"username": "alice", "password": PASSWORD})
    page = await browser.get(ACCOUNT)
    assert "Firefox · Linux" in text_of(page)
    assert "<script>alert" not in page.text and "&lt;script&gt;alert" in page.text


async def test_a_session_can_be_ended_at_once(home: House, browser: httpx.AsyncClient) -> None:
    opened = await home.opened()
    done = await post(browser, f"{ACCOUNT}/sessions", end=opened.session.id)
    assert done.headers["location"] == f"{ACCOUNT}?done=ended"
    assert await home.found(opened) is None
    assert "The session is ended." in text_of(await browser.get(done.headers["location"]))
    assert len(await home.sessions()) == 1


async def test_a_user_cannot_end_the_session_of_another_user(
    home: House, browser: httpx.AsyncClient
) -> None:
    await home.add("bob")
    opened = await home.opened("bob")
    for id in (opened.session.id, "", "nonsense"):
        await post(browser, f"{ACCOUNT}/sessions", end=id)
    assert await home.found(opened) is not None


async def test_all_other_sessions_are_ended(home: House, browser: httpx.AsyncClient) -> None:
    others = [await home.opened() for _ in range(3)]
    done = await post(browser, f"{ACCOUNT}/sessions", end="others")
    assert done.headers["location"] == f"{ACCOUNT}?done=others"
    assert not [one for one in others if await home.found(one)]
    assert (await browser.get(ACCOUNT)).status_code == 200


async def test_ending_this_one_is_a_logout_for_applications_too(tmp_path: Path) -> None:
    route = {"upstream": "http://127.0.0.1:9", "logout": {"cookies": ["PHPSESSID"]}}
    async with house(tmp_path, routes=[route]) as home:
        await home.add()
        async with home.browser(sec_fetch_site="same-origin") as browser:
            await browser.post(LOGIN, data={"username": "alice", "password": PASSWORD})
            (session,) = await home.sessions()
            done = await post(browser, f"{ACCOUNT}/sessions", end=session.id)
    assert "PHPSESSID=; Max-Age=0; Path=/" in done.headers.get_list("set-cookie")


async def test_ending_this_one_logs_out(home: House, browser: httpx.AsyncClient) -> None:
    (mine,) = await home.sessions()
    done = await post(browser, f"{ACCOUNT}/sessions", end=mine.id)
    assert done.headers["location"] == LOGIN and set_cookies(done)
    assert await home.sessions() == ()


# Session lifetime


async def test_a_script_asks_how_long_the_session_lasts_and_does_not_prolong_it(
    home: House, browser: httpx.AsyncClient
) -> None:
    home.clock.now += 3600
    for _ in range(3):
        answer = await browser.get("/.doorward/session")
        assert answer.status_code == 200 and answer.json() == {"expires_in": 3600}
        assert answer.headers["x-doorward-session-expires-in"] == "3600"
    head = await browser.head("/.doorward/session")
    assert head.headers["x-doorward-session-expires-in"] == "3600"
    home.clock.now += 3600
    assert (await browser.get("/.doorward/session")).status_code == 401


# The authenticator app


async def test_an_app_is_set_up_and_the_session_has_its_factor(
    home: House, browser: httpx.AsyncClient
) -> None:
    shown = await post(browser, APP, step="begin")
    assert "<svg" in shown.text and 'class="qr"' in shown.text
    secret = hidden(shown, "secret")
    assert f"secret={secret}" in shown.text and secret[:4] in text_of(shown)
    form = {"form": hidden(shown, "form"), "step": "confirm", "secret": secret}
    wrong = await browser.post(APP, data=form | {"code": "000000"})
    assert wrong.status_code == 401 and "The code is not right." in text_of(wrong)
    assert hidden(wrong, "secret") == secret, "the picture is still there"
    cookie = browser.cookies[home.cookies.name.decode()]
    done = await browser.post(APP, data=form | {"code": code_of(home, secret)})
    assert len(re.findall(r"<code>\w{4}-\w{4}</code>", done.text)) == 12
    assert done.headers["cache-control"] == "no-store"
    assert browser.cookies[home.cookies.name.decode()] != cookie, "a new token at a new level"
    (session,) = await home.sessions()
    assert session.second_factor_at == home.clock() and session.method == "password+totp"
    again = await browser.post(APP, data=form | {"code": code_of(home, secret)})
    assert again.headers["location"] == ACCOUNT
    assert "12 left" in text_of(await browser.get(ACCOUNT))


async def test_a_secret_that_was_not_shown_here_is_never_taken(
    home: House, browser: httpx.AsyncClient
) -> None:
    shown = await post(browser, APP, step="begin")
    mine = totp.new_secret()
    form = {"form": hidden(shown, "form"), "step": "confirm", "secret": mine}
    refused = await browser.post(APP, data=form | {"code": code_of(home, mine)})
    assert refused.status_code == 400 and "Start again" in text_of(refused)
    user = await home.accounts.users.get("alice")
    assert await home.accounts.second_factors.list_enabled(user) == ()


async def test_a_session_that_is_not_fresh_needs_the_password_first(
    home: House, browser: httpx.AsyncClient
) -> None:
    """A thief of a session must not lock its owner out."""
    home.clock.now += 300
    asked = await post(browser, APP, step="begin")
    assert "Enter your password again" in text_of(asked) and "<svg" not in asked.text
    form = {"form": hidden(asked, "form"), "step": hidden(asked, "step")}
    wrong = await browser.post(APP, data=form | {"current": "wrong"})
    assert wrong.status_code == 401 and "The password is not right." in text_of(wrong)
    assert "<svg" in (await browser.post(APP, data=form | {"current": PASSWORD})).text


async def test_guesses_at_the_password_there_are_counted_like_those_at_the_login(
    home: House, browser: httpx.AsyncClient
) -> None:
    home.clock.now += 300
    for _ in range(5):
        await post(browser, APP, step="begin", current="wrong")
    locked = await post(browser, APP, step="begin", current=PASSWORD)
    assert locked.status_code == 429 and locked.headers["retry-after"]
    assert "<svg" not in locked.text


async def test_a_rule_that_requires_a_factor_leads_to_its_setup_and_back(
    home: House, browser: httpx.AsyncClient
) -> None:
    led = await browser.get("/.doorward/second-factor?rd=/strict/x")
    assert led.headers["location"] == f"{APP}?rd=/strict/x"
    page = await browser.get(led.headers["location"])
    assert "This page needs a second factor" in text_of(page)
    _, codes = await set_up(home, browser, f"{APP}?rd=/strict/x")
    assert len(codes) == 12
    assert (await browser.get("/.doorward/second-factor?rd=/strict/x")).headers[
        "location"
    ] == "/strict/x"


async def test_setting_up_a_factor_requires_a_code_of_the_other(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    user = await home.accounts.users.get("alice")
    await home.accounts.second_factors.enable_email(proven(user, home.clock()), home.clock())
    page = await browser.get("/.doorward/second-factor?rd=/strict/x")
    assert page.status_code == 200 and "e-mail" in text_of(page)
    asked = await post(browser, APP, step="begin")
    assert "<svg" not in asked.text and "six-digit code" in text_of(asked)
    shown = await post(browser, APP, step="begin", method="email", code=mailbox.sent[-1][1])
    assert "<svg" in shown.text


async def test_the_app_is_removed_with_a_code(home: House, browser: httpx.AsyncClient) -> None:
    secret, _ = await set_up(home, browser)
    wrong = await post(browser, APP, step="remove", code="000000")
    assert wrong.status_code == 401 and "The code is not right." in text_of(wrong)
    done = await post(browser, APP, step="remove", code=code_of(home, secret))
    assert done.headers["location"] == f"{ACCOUNT}?done=removed"
    assert "12 left" not in text_of(await browser.get(ACCOUNT))


async def test_new_recovery_codes_invalidate_the_old_ones(
    home: House, browser: httpx.AsyncClient
) -> None:
    secret, old = await set_up(home, browser)
    home.clock.now += 300
    asked = await post(browser, f"{ACCOUNT}/recovery-codes")
    assert "Enter a code from your authenticator app" in text_of(asked)
    renewed = await post(
        browser, f"{ACCOUNT}/recovery-codes", method="totp", code=code_of(home, secret)
    )
    new = re.findall(r"<code>([\w-]+)</code>", renewed.text)
    assert len(new) == 12 and not set(new) & set(old)
    assert "data:text/plain" in renewed.text and 'download="recovery-codes.txt"' in renewed.text


async def test_codes_by_email_are_switched_on_and_off(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    on = await post(browser, f"{ACCOUNT}/email-codes", switch="on")
    assert on.headers["location"] == f"{ACCOUNT}?done=on"
    asked = await post(browser, f"{ACCOUNT}/email-codes", switch="off")
    assert "six-digit code" in text_of(asked) and hidden(asked, "switch") == "off"
    sent = mailbox.sent[-1][1]
    off = await post(browser, f"{ACCOUNT}/email-codes", switch="off", method="email", code=sent)
    assert off.headers["location"] == f"{ACCOUNT}?done=off"


# Remembered browsers


async def test_a_browser_is_remembered_for_logins_and_not_for_rules(
    home: House, browser: httpx.AsyncClient
) -> None:
    secret, _ = await set_up(home, browser)
    await browser.post("/.doorward/logout")
    right = {"username": "alice", "password": PASSWORD}
    login = await browser.post(f"{LOGIN}?rd=/a", data=right)
    assert login.headers["location"] == "/.doorward/second-factor?rd=/a"
    page = await browser.get("/.doorward/second-factor")
    assert "Don't ask for a code in this browser for 1 month" in text_of(page)
    given = {"code": code_of(home, secret), "browser": "1"}
    done = await browser.post("/.doorward/second-factor", data=given)
    (line,) = [line for line in set_cookies(done) if "doorward-browser" in line]
    assert "Path=/.doorward/; HttpOnly; SameSite=Strict" in line
    await browser.post("/.doorward/logout")
    assert (await browser.post(f"{LOGIN}?rd=/a", data=right)).headers["location"] == "/a"
    (session,) = await home.sessions()
    assert session.level == "full" and session.second_factor_at is None
    assert (await browser.get("/.doorward/second-factor?rd=/a")).status_code == 200, "still asked"
    await post(browser, f"{ACCOUNT}/sessions", end="others")
    await browser.post("/.doorward/logout")
    asked = await browser.post(f"{LOGIN}?rd=/a", data=right)
    assert asked.headers["location"].startswith("/.doorward/second-factor")


async def test_without_the_setting_no_browser_is_remembered(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.browser() as browser:
        await home.add()
        await browser.post(LOGIN, data={"username": "alice", "password": PASSWORD})
        secret, _ = await set_up(home, browser)
        await browser.post("/.doorward/logout")
        await browser.post(LOGIN, data={"username": "alice", "password": PASSWORD})
        assert "Ask for no code" not in (await browser.get("/.doorward/second-factor")).text
        given = {"code": code_of(home, secret), "browser": "1"}
        done = await browser.post("/.doorward/second-factor", data=given)
        assert not [line for line in set_cookies(done) if "doorward-browser" in line]


# Password


async def test_a_password_is_changed_and_other_sessions_end(
    home: House, browser: httpx.AsyncClient
) -> None:
    """CVE-2026-40934: cookies stayed valid after a password change."""
    other = await home.opened()
    done = await post(browser, f"{ACCOUNT}/password", current=PASSWORD, new=NEW)
    assert done.headers["location"] == f"{ACCOUNT}?done=password"
    assert "Your password is changed" in text_of(await browser.get(done.headers["location"]))
    assert await home.found(other) is None
    async with home.browser() as again:
        login = await again.post(LOGIN, data={"username": "alice", "password": NEW})
        assert login.status_code == 303


def test_the_messages_are_those_of_the_core() -> None:
    """Otherwise the core's sentences would be shown untranslated."""
    for name in ("TOO_SHORT", "TOO_LONG", "GUESSABLE", "SAME"):
        assert getattr(credentials, name) == getattr(passwords, name)


@pytest.mark.parametrize(
    ("current", "new", "status", "told"),
    [
        ("wrong", NEW, 401, "The password is not right."),
        ("", NEW, 401, "The password is not right."),
        (PASSWORD, "short", 400, "at least 8 characters"),
        (PASSWORD, "password1", 400, "too easy to guess"),
        (PASSWORD, PASSWORD, 400, "This is your current password."),
        (PASSWORD, "x" * 5000, 400, "at most 1,024"),
    ],
)
async def test_a_refused_password_change_shows_the_reason(
    home: House, browser: httpx.AsyncClient, current: str, new: str, status: int, told: str
) -> None:
    page = await post(browser, f"{ACCOUNT}/password", current=current, new=new)
    assert page.status_code == status and told in text_of(page)
    assert len(await home.sessions()) == 1 and new not in page.text


async def test_the_hint_judges_a_password(browser: httpx.AsyncClient) -> None:
    judge = f"{ACCOUNT}/password/strength"
    for new, score in (("short", 0), ("password1", 0), (NEW, 4)):
        said = (await post(browser, judge, new=new)).json()
        assert said["score"] == score and said["hint"]
    assert (await browser.post(judge, data={"new": NEW})).status_code == 403


async def test_users_of_the_file_change_their_password_there(tmp_path: Path) -> None:
    from tests.support.live import CHEAP_HASH
    from tests.support.live import PASSWORD as OF_THE_FILE

    users = [{"username": "carol", "password_hash": CHEAP_HASH, "email": "c@example.com"}]
    async with house(tmp_path, users=users) as home, home.browser() as browser:
        await browser.post(LOGIN, data={"username": "carol", "password": OF_THE_FILE})
        assert "managed in a file" in text_of(await browser.get(ACCOUNT))
        page = await browser.get(f"{ACCOUNT}/password")
        assert page.status_code == 403 and "configuration file" in text_of(page)
        form: dict[str, Any] = {"current": OF_THE_FILE, "new": NEW}
        assert (await post(browser, f"{ACCOUNT}/password", **form)).status_code == 403
        assert "cannot be changed here" in text_of(await browser.get(f"{ACCOUNT}/email"))


async def test_a_password_that_has_to_change_is_changed_at_the_login(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.browser() as browser:
        await home.add(must_change_password=True)
        right = {"username": "alice", "password": PASSWORD}
        asked = await browser.post(LOGIN, data=right)
        assert asked.status_code == 403 and 'name="new"' in asked.text
        weak = await browser.post(LOGIN, data=right | {"new": "short"})
        assert weak.status_code == 400 and 'name="new"' in weak.text
        assert (await browser.post(LOGIN, data=right | {"new": NEW})).status_code == 303
        assert (await browser.get(ACCOUNT)).status_code == 200


# Address


async def test_a_mailed_code_confirms_a_new_address(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    """As for GHSA-qgqp-xh8r-v73r: an address belongs to a user only after a code sent to it was
    entered."""
    shown = await post(browser, f"{ACCOUNT}/email", address="new@example.com")
    assert "code of eight characters to new@example.com" in text_of(shown)
    form = {"form": hidden(shown, "form"), "asked": hidden(shown, "asked")}
    wrong = await browser.post(f"{ACCOUNT}/email", data=form | {"mailed": "aaaa-aaaa"})
    assert wrong.status_code == 401 and hidden(wrong, "asked") == form["asked"]
    assert (await home.accounts.users.get("alice")).email == "alice@example.com"
    right = form | {"mailed": mailbox.sent[-1][1]}
    done = await browser.post(f"{ACCOUNT}/email", data=right)
    assert done.headers["location"] == f"{ACCOUNT}?done=email"
    assert (await home.accounts.users.get("alice")).email == "new@example.com"


async def test_an_invalid_or_taken_address_is_reported(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await home.add("bob", emails=[Email("bob@example.com", True)])
    wrong = await post(browser, f"{ACCOUNT}/email", address='"><script>')
    assert wrong.status_code == 400 and "<script>" not in wrong.text.replace("<script nonce", "")
    shown = await post(browser, f"{ACCOUNT}/email", address="bob@example.com")
    form = {"form": hidden(shown, "form"), "asked": hidden(shown, "asked")}
    taken = await browser.post(f"{ACCOUNT}/email", data=form | {"mailed": mailbox.sent[-1][1]})
    assert taken.status_code == 409 and "already has this" in text_of(taken)
    mailbox.broken = True
    assert (await post(browser, f"{ACCOUNT}/email", address="a@b.example")).status_code == 503


# The loop


async def test_a_login_loop_is_explained(home: House) -> None:
    referer = {"referer": f"http://wiki.test{LOGIN}?rd=/a"}
    async with home.browser() as browser:
        page = await browser.get(f"{LOGIN}?rd=/a", headers=referer)
        assert page.status_code == 409 and "did not send the login" in text_of(page)
        again = re.search(r'class="button" href="([^"]+)"', page.text)
        assert again is not None
        form = await browser.get(again[1].replace("&amp;", "&"), headers=referer)
        assert form.status_code == 200 and 'name="password"' in form.text
        doubled = await browser.get(LOGIN, headers=referer | {"cookie": "doorward=a; doorward=b"})
        assert "two cookies with the same name" in text_of(doubled) and set_cookies(doubled)
        dead = await browser.get(LOGIN, headers=referer | {"cookie": "doorward=a"})
        assert "its session is over" in text_of(dead)
        elsewhere = {"host": "other.test", "referer": f"http://other.test{LOGIN}"}
        page = await browser.get(LOGIN, headers=elsewhere)
        assert "http://wiki.test" in text_of(page) and "other.test" not in text_of(page)
        for harmless in (
            "http://evil.test/.doorward/login",
            "http://wiki.test/a",
            "",
            "http://[",
        ):
            assert (await browser.get(LOGIN, headers={"referer": harmless})).status_code == 200


async def test_a_secure_cookie_on_http_is_named_as_the_cause(tmp_path: Path) -> None:
    async with house(tmp_path, public_url="https://wiki.test") as home, home.browser() as browser:
        page = await browser.get(LOGIN, headers={"referer": f"http://wiki.test{LOGIN}"})
        assert page.status_code == 409 and "for https only" in text_of(page)


async def test_several_tabs_at_once_lose_no_login(home: House) -> None:
    right = {"username": "alice", "password": PASSWORD}
    async with home.browser() as tabs:
        one, two = await tabs.get(f"{LOGIN}?rd=/one"), await tabs.get(f"{LOGIN}?rd=/two")
        assert one.status_code == two.status_code == 200
        assert (await tabs.post(f"{LOGIN}?rd=/one", data=right)).headers["location"] == "/one"
        assert (await tabs.post(f"{LOGIN}?rd=/two", data=right)).headers["location"] == "/two"
        assert (await tabs.get(f"{LOGIN}?rd=/three")).headers["location"] == "/three"
        assert len(await home.sessions()) == 1


async def test_a_logout_can_clear_the_sites_data(tmp_path: Path) -> None:
    async with house(tmp_path, pages={"clear_site_data": True}) as home, home.browser() as browser:
        done = await browser.post("/.doorward/logout")
        assert done.headers["clear-site-data"] == '"cache", "storage"'
