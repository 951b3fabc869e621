"""The page for tokens, and the administrators' list of all users' tokens."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.permissions import OWNER
from doorward.accounts.session import ClientInfo, TokenScope
from doorward.accounts.token import NewToken, TokenUse
from doorward.accounts.tokens.api_tokens import MOST_PER_USER

from tests.pages.test_account_page import LOGIN, hidden, post, set_up
from tests.support.house import PASSWORD, House, house, text_of

TOKENS = "/.doorward/account/tokens"
ADMIN = "/.doorward/admin/tokens"
CLIENT = ClientInfo("192.0.2.1", "git/2.47")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as opened:
        await opened.add()
        yield opened


async def make(home: House, name: str = "alice", label: str = "phone", **more: object) -> str:
    user = await home.accounts.users.get(name)
    new = NewToken(label, **more)  # type: ignore[arg-type]
    made = await home.accounts.api_tokens.add_token(user, new, actor=OWNER, now=home.clock())
    return made.token.id


async def listed(home: House, name: str = "alice") -> list[str]:
    user = await home.accounts.users.get(name)
    return [one.name for one in await home.accounts.api_tokens.list(user, home.clock())]


def token_in(page: httpx.Response) -> str:
    found = re.search(r"dw_\w{55}", page.text)
    assert found is not None, text_of(page)
    return found[0]


async def test_a_token_is_created_and_shown_once(home: House, browser: httpx.AsyncClient) -> None:
    page = await post(
        browser, TOKENS, name="phone", life="30", routes="/wiki, /x", methods="GET HEAD",
        networks="192.0.2.0/24",
    )  # fmt: skip
    assert page.status_code == 200 and page.headers["cache-control"] == "no-store"
    text = token_in(page)
    found = await home.accounts.api_tokens.find(text.encode(), None, CLIENT, home.clock())
    assert found.session is not None
    assert found.session.scope == TokenScope(("/wiki", "/x"), ("GET", "HEAD"), ("192.0.2.0/24",))
    assert found.session.expires_at == home.clock() + 30 * 86_400
    shown = await browser.get(TOKENS)
    assert text not in shown.text
    said = text_of(shown)
    for words in ("phone", "GET · HEAD · /wiki · /x · 192.0.2.0/24", "never used"):
        assert words in said, words


async def test_the_account_page_leads_there_and_warns(
    home: House, browser: httpx.AsyncClient
) -> None:
    page = await browser.get("/.doorward/account")
    assert TOKENS in page.text and "expires soon" not in page.text
    await make(home, life_s=86_400.0)
    assert "expires soon" in text_of(await browser.get("/.doorward/account"))
    assert "expires in" in text_of(await browser.get(TOKENS))


async def test_the_last_use_is_shown(home: House, browser: httpx.AsyncClient) -> None:
    token = await home.accounts.api_tokens.get(await make(home))
    use = TokenUse(token.number, home.clock() - 3600, "203.0.113.9", "git/2.47 <b>")
    await home.accounts.api_tokens.touch([use])
    page = await browser.get(TOKENS)
    assert "203.0.113.9" in page.text and "git/2.47 &lt;b&gt;" in page.text
    assert "an hour ago" in text_of(page) or "1 hour ago" in text_of(page)


async def test_a_token_is_ended_by_its_user(home: House, browser: httpx.AsyncClient) -> None:
    kept, ended = await make(home, label="kept"), await make(home, label="ended")
    done = await post(browser, TOKENS, end=ended)
    assert done.status_code == 303
    assert "The token is ended." in text_of(await browser.get(done.headers["location"]))
    assert await listed(home) == ["kept"] and kept
    again = await post(browser, TOKENS, end=ended)
    assert again.status_code == 303


@pytest.mark.parametrize("which", ["another's", "nobody's", ""])
async def test_other_users_tokens_cannot_be_ended_there(
    home: House, browser: httpx.AsyncClient, which: str
) -> None:
    """Not even by an administrator: that requires a fresh code on the administrators' page."""
    await home.accounts.users.add("bob", PASSWORD, now=home.clock())
    other = await make(home, "bob")
    end = {"another's": other, "nobody's": "x" * 17, "": ""}[which]
    assert (await post(browser, TOKENS, end=end)).status_code == 303
    assert await listed(home, "bob") == ["phone"]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "", "Give the token a name"),
        ("name", "x" * 191, "Give the token a name"),
        ("routes", "wiki", "A path begins with /"),
        ("methods", "get", "A method is a word in capitals"),
        ("networks", "here", "Write a network as"),
    ],
)
async def test_invalid_values_are_reported_and_the_form_keeps_them(
    home: House, browser: httpx.AsyncClient, field: str, value: str, says: str
) -> None:
    form = {"name": "my phone", "routes": "/wiki", "life": "365"} | {field: value}
    page = await post(browser, TOKENS, **form)
    assert page.status_code == 400 and says in text_of(page)
    assert f'value="{form["routes"]}"' in page.text
    assert '<option value="365" selected>' in page.text
    assert await listed(home) == []


async def test_too_many_are_refused(home: House, browser: httpx.AsyncClient) -> None:
    for number in range(MOST_PER_USER):
        await make(home, label=f"n{number}")
    page = await post(browser, TOKENS, name="one more")
    assert page.status_code == 400 and "maximum number of tokens" in text_of(page)


async def test_creating_a_token_asks_for_the_password(
    home: House, browser: httpx.AsyncClient
) -> None:
    """A stolen session must not be enough to create a token that outlives it."""
    home.clock.now += 3600
    asked = await post(browser, TOKENS, name="phone", routes="/wiki", life="30")
    assert asked.status_code == 200 and "dw_" not in asked.text
    assert await listed(home) == []
    form = {name: hidden(asked, name) for name in ("form", "name", "routes", "life")}
    wrong = await browser.post(TOKENS, data=form | {"current": "wrong"})
    assert wrong.status_code == 401 and await listed(home) == []
    done = await browser.post(TOKENS, data=form | {"current": PASSWORD})
    assert done.status_code == 200 and token_in(done)
    assert await listed(home) == ["phone"]


async def test_with_a_factor_on_it_asks_for_a_code(home: House, browser: httpx.AsyncClient) -> None:
    await set_up(home, browser)
    home.clock.now += 3600
    asked = await post(browser, TOKENS, name="phone")
    assert 'name="code"' in asked.text and await listed(home) == []
    form = {name: hidden(asked, name) for name in ("form", "name")}
    await browser.post(TOKENS, data=form | {"current": PASSWORD})
    assert await listed(home) == [], "a password is no code"


async def test_forms_of_others_are_refused(home: House, browser: httpx.AsyncClient) -> None:
    assert (await browser.post(TOKENS, data={"form": "0", "name": "x"})).status_code == 403
    foreign = {"sec-fetch-site": "cross-site"}
    page = await browser.post(TOKENS, data={"name": "x"}, headers=foreign)
    assert page.status_code == 403
    assert await listed(home) == []


async def test_a_field_without_a_name_changes_nothing(browser: httpx.AsyncClient) -> None:
    done = await post(browser, TOKENS)
    assert (done.status_code, done.headers["location"]) == (303, TOKENS)


# Administrators


@pytest.fixture
async def admin(home: House) -> AsyncIterator[httpx.AsyncClient]:
    """A super administrator with a fresh code."""
    await home.accounts.users.add("boss", PASSWORD, now=home.clock(), super_admin=True)
    async with home.browser(sec_fetch_site="same-origin") as client:
        await client.post(LOGIN, data={"username": "boss", "password": PASSWORD})
        await set_up(home, client)
        yield client


async def test_an_administrator_lists_and_ends_all_tokens(
    home: House, admin: httpx.AsyncClient
) -> None:
    first, second = await make(home, label="kept"), await make(home, label="ended")
    page = await admin.get(ADMIN)
    said = text_of(page)
    assert "alice" in said and "kept" in said and "ended" in said and first
    assert "opens everything that its user can open" in said and "you can" not in said
    done = await admin.post(
        ADMIN, data={"form": hidden(page, "form"), "do": "end", "token": second}
    )
    assert done.status_code == 303
    assert await listed(home) == ["kept"]
    records = await home.accounts.audit_log.latest(RecordFilter(kind=Kind.TOKEN_ENDED), 9)
    assert [(one.event.actor, one.event.subject) for one in records] == [("boss", "alice")]
    again = {"form": hidden(page, "form"), "do": "end", "token": "x"}
    assert (await admin.post(ADMIN, data=again)).status_code == 303


async def test_the_list_has_pages(home: House, admin: httpx.AsyncClient) -> None:
    for number in range(60):
        await make(home, label=f"label-{number:02}")
    page = await admin.get(ADMIN)
    assert page.text.count('name="do" value="end"') == 50
    onward = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert onward is not None
    rest = await admin.get(onward[1])
    assert rest.text.count('name="do" value="end"') == 10 and "label-00" in rest.text


async def test_an_admin_cannot_end_tokens_of_a_super_admin(
    home: House, admin: httpx.AsyncClient
) -> None:
    await home.accounts.users.add("helper", PASSWORD, now=home.clock(), roles=["admin"])
    theirs = await make(home, "boss")
    async with home.browser(sec_fetch_site="same-origin") as client:
        await client.post(LOGIN, data={"username": "helper", "password": PASSWORD})
        await set_up(home, client)
        page = await client.get(ADMIN)
        form = {"form": hidden(page, "form"), "do": "end", "token": theirs}
        refused = await client.post(ADMIN, data=form)
    assert refused.status_code == 403 and "super admin" in text_of(refused)
    assert await listed(home, "boss") == ["phone"]


async def test_other_users_cannot_open_the_admin_list(
    home: House, browser: httpx.AsyncClient
) -> None:
    await make(home, label="secret-label")
    page = await browser.get(ADMIN)
    assert page.status_code == 403 and "secret-label" not in page.text
    assert (await post(browser, ADMIN, do="end", token="x")).status_code == 403


async def test_it_speaks_german(home: House, browser: httpx.AsyncClient) -> None:
    await make(home, life_s=86_400.0)
    page = await browser.get(TOKENS, headers={"accept-language": "de"})
    said = text_of(page)
    assert "Tokens für Programme" in said and "läuft in" in said and "Token erstellen" in said
