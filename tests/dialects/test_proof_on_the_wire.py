"""Proof of presence at every entrance that changes an account's protection: required of a session
six minutes old and of one from before the upgrade, until a login or a right answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from doorward.accounts.factors import totp
from doorward.accounts.passwords.hashing import sha256_hex
from doorward.accounts.sessions.sessions import Opened
from doorward.accounts.user import Email

from tests.support.house import PASSWORD, House, house, set_cookies, text_of
from tests.support.mailbox import Mailbox
from tests.support.rocketchat import api, pair

ACCOUNT = "/.doorward/account"
DIALECTS = {
    "xhr": {},
    "rocketchat": {"rate_limit": "off"},
    "alekeagle": {},
    "datepoll": {"token_on_upstream": True},
}
NEW = "violet tractor under seven moons"


@pytest.fixture
async def home(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[House]:
    async with house(tmp_path, dialects=DIALECTS) as opened:
        await opened.add(emails=[Email("alice@example.com", True)])
        yield opened


@pytest.fixture(params=["six minutes old", "from before the upgrade"])
async def stolen(home: House, request: pytest.FixtureRequest) -> Opened:
    if request.param == "six minutes old":
        opened = await home.opened()
        home.clock.now += 360
        return opened
    return await home.opened(proved_at=None)


async def is_unguarded(home: House) -> bool:
    """Whether the account's protection is unchanged."""
    user = await home.accounts.users.get("alice")
    assert await home.accounts.second_factors.list_enabled(user) == ()
    assert user.email == "alice@example.com"
    return True


async def test_xhr_answers_401_until_a_new_login(home: House, stolen: Opened) -> None:
    async with home.program(cookie=home.cookie(stolen)) as script:
        secret = totp.new_secret()
        asked = [
            await script.get("/xhr/session/totp/generate"),
            await script.post("/xhr/session/totp", json={"secret": secret, "token": "123456"}),
        ]
    for response in asked:
        assert response.status_code == 401
        assert response.json()["error"] == "proof_required"
    assert await is_unguarded(home)
    async with home.program() as script:
        await script.post("/xhr/login", json={"username": "alice", "password": PASSWORD})
        shown = await script.get("/xhr/session/totp/generate")
        code = totp.code_at(shown.json()["secret"], totp.step_at(home.clock()))
        body = {"secret": shown.json()["secret"], "token": code}
        assert (await script.post("/xhr/session/totp", json=body)).status_code == 204


CALLS = {
    "users.2fa.enableEmail": {},
    "users.2fa.disableEmail": {},
    "users.totp.enable": {},
    "users.totp.validate": {"code": "123456"},
}


@pytest.mark.parametrize("name", CALLS)
async def test_rocketchat_asks_for_the_password(home: House, stolen: Opened, name: str) -> None:
    async with home.program() as client:
        response = await client.post(api(name), json=CALLS[name], headers=pair(stolen))
        assert response.status_code == 400
        assert response.json()["errorType"] == "totp-required"
        assert response.json()["details"]["method"] == "password"
        assert await is_unguarded(home)
        proved = pair(stolen, sha256_hex(PASSWORD), "password")
        response = await client.post(api(name), json=CALLS[name], headers=proved)
        assert response.json().get("errorType") in (None, "invalid-totp")


FORMS: dict[str, dict[str, str]] = {
    "/authenticator": {"step": "begin"},
    "/authenticator?confirm": {"step": "confirm", "secret": "A" * 32, "code": "123456"},
    "/email-codes": {"switch": "on"},
    "/email-codes?off": {"switch": "off"},
    "/recovery-codes": {},
    "/email": {"address": "mallory@example.com"},
    "/email?confirm": {"asked": "x", "mailed": "aaaa-aaaa"},
}


def form_token(page: httpx.Response) -> str:
    found = re.search(r'name="form" value="(\w+)"', page.text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", FORMS)
async def test_every_form_of_the_account_page_asks_for_the_password(
    home: House, stolen: Opened, path: str
) -> None:
    cookie = home.cookie(stolen)
    async with home.browser(sec_fetch_site="same-origin", cookie=cookie) as browser:
        token = form_token(await browser.get(ACCOUNT))
        page = await browser.post(ACCOUNT + path, data=FORMS[path] | {"form": token})
        assert page.status_code == 200
        assert "Enter your password again" in text_of(page)
        assert await is_unguarded(home)


async def test_the_password_form_of_a_user_with_a_factor_asks_for_a_code(home: House) -> None:
    opened, secret = await home.opened(), totp.new_secret()
    user = await home.accounts.users.get("alice")
    await home.accounts.second_factors.adopt_totp(user, secret, home.clock())
    cookie = home.cookie(opened)
    async with home.browser(sec_fetch_site="same-origin", cookie=cookie) as browser:
        page = await browser.get(f"{ACCOUNT}/password")
        assert "Enter a code from your authenticator app" in text_of(page)
        form = {"form": form_token(page), "current": PASSWORD, "new": NEW}
        page = await browser.post(f"{ACCOUNT}/password", data=form)
        assert "Enter a code" in text_of(page)
        assert NEW not in page.text and PASSWORD not in page.text
        code = totp.code_at(secret, totp.step_at(home.clock()))
        answered = {"form": form["form"], "code": code, "method": "totp"}
        assert (await browser.post(f"{ACCOUNT}/password", data=answered)).status_code == 303
        assert (await browser.post(f"{ACCOUNT}/password", data=form)).status_code == 303


# The session gets a new token, and every copy of the old one is invalid


async def change_password(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    form = {"form": form_token(await browser.get(ACCOUNT)), "current": PASSWORD, "new": NEW}
    return await browser.post(f"{ACCOUNT}/password", data=form)


async def end_others(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    form = {"form": form_token(await browser.get(ACCOUNT)), "end": "others"}
    return await browser.post(f"{ACCOUNT}/sessions", data=form)


async def switch_on(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    form = {"form": form_token(await browser.get(ACCOUNT)), "switch": "on"}
    return await browser.post(f"{ACCOUNT}/email-codes", data=form)


async def set_up_app(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    path, form = f"{ACCOUNT}/authenticator", {"form": form_token(await browser.get(ACCOUNT))}
    page = await browser.post(path, data=form | {"step": "begin"})
    secret = re.search(r'name="secret" value="(\w+)"', page.text)
    assert secret is not None
    code = totp.code_at(secret[1], totp.step_at(home.clock()))
    return await browser.post(
        path, data=form | {"step": "confirm", "secret": secret[1], "code": code}
    )


async def add_app(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    secret = (await browser.get("/xhr/session/totp/generate")).json()["secret"]
    code = totp.code_at(secret, totp.step_at(home.clock()))
    return await browser.post("/xhr/session/totp", json={"secret": secret, "token": code})


async def end_all_but_self(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    return await browser.delete("/api/user/sessions/all?allButSelf")


async def answer_a_code(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    form = {"form": form_token(await browser.get(ACCOUNT))}
    home.clock.now += 360
    form |= await adopted(home)
    return await browser.post(f"{ACCOUNT}/password", data=form)


async def answer_the_password(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    form = {"form": form_token(await browser.get(ACCOUNT)), "current": PASSWORD, "step": "begin"}
    home.clock.now += 360
    return await browser.post(f"{ACCOUNT}/authenticator", data=form)


async def answer_and_switch_on(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    form = {"form": form_token(await browser.get(ACCOUNT)), "current": PASSWORD, "switch": "on"}
    home.clock.now += 360
    return await browser.post(f"{ACCOUNT}/email-codes", data=form)


async def step_up(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    return await browser.post("/.doorward/second-factor", data=await adopted(home))


async def remove_app(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    form = {"form": form_token(await browser.get(ACCOUNT)), "step": "remove"}
    return await browser.post(f"{ACCOUNT}/authenticator", data=form | await adopted(home))


async def delete_app(home: House, browser: httpx.AsyncClient) -> httpx.Response:
    code = (await adopted(home))["code"]
    return await browser.request("DELETE", "/xhr/session/totp", json={"token": code})


async def adopted(home: House) -> dict[str, str]:
    """A code of alice's new app."""
    user, secret = await home.accounts.users.get("alice"), totp.new_secret()
    await home.accounts.second_factors.adopt_totp(user, secret, home.clock())
    return {"code": totp.code_at(secret, totp.step_at(home.clock()))}


# Operations that raise the session's level: the level of a copy must not rise, too.
RISES = [
    answer_a_code,
    answer_the_password,
    answer_and_switch_on,
    step_up,
    remove_app,
    delete_app,
]
CHANGES = [change_password, end_others, switch_on, set_up_app, add_app, end_all_but_self, *RISES]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_ends_copies_of_the_session(home: House, change: object) -> None:
    """Copies of the cookie, an access token and a refresh secret of the session end; the browser
    that made the change stays logged in."""
    opened, access = await home.opened(), home.accounts.access
    now = home.clock()
    secret = await access.make_secret(opened.session, now)
    token = access.tokens.issue(opened.session, 3600, now)
    own, copy = home.cookie(opened), home.cookie(opened)
    async with home.browser(sec_fetch_site="same-origin", cookie=own) as browser:
        response = await change(home, browser)  # type: ignore[operator]
        assert response.status_code in (200, 204, 303), response.text
        name = home.cookies.name.decode()
        (fresh,) = (line for line in set_cookies(response) if line.startswith(f"{name}="))
    sessions = "/api/v1/user/myself/session"
    async with home.program() as client:
        asked = await client.get("/xhr/session", headers={"cookie": copy})
        assert asked.status_code == 401, "the old cookie"
        asked = await client.get(sessions, params={"token": token})
        assert asked.status_code == 401, "an access token"
        asked = await client.post("/api/auth/IamLoggedIn", json={"session_token": secret})
        assert asked.status_code == 400, "a refresh secret"
        asked = await client.get("/xhr/session", headers={"cookie": fresh.partition(";")[0]})
        assert asked.status_code == 200, "the new cookie"
        found = (await home.accounts.sessions.by_token(opened.token, now)).session
        assert found is None
        (kept,) = await home.sessions()
        assert kept.id == opened.session.id
        later = access.tokens.issue(kept, 3600, now)
        assert (await client.get(sessions, params={"token": later})).status_code == 200


async def test_a_program_keeps_its_bearer_token(home: House) -> None:
    """No documented answer could give it a new one."""
    opened = await home.opened()
    async with home.program(authorization=f"Bearer {opened.token}") as program:
        assert (await add_app(home, program)).status_code == 204
        assert (await end_all_but_self(home, program)).status_code == 200
        assert (await program.get("/xhr/session")).status_code == 200
