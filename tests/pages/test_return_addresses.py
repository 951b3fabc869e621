"""After the login, the page that was requested before opens, even if its address is long. If that
is impossible, the page says so."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import Start
from tests.support.front import front_of
from tests.support.house import PASSWORD, House, house, text_of
from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin, answering
from tests.support.wire import get

LOGIN = "/.doorward/login"
SECOND = "/.doorward/second-factor"
RIGHT = {"username": "alice", "password": PASSWORD}
PAGE = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: same-origin")
LIMIT = 16 * 1024  # the default of limits.target_bytes
SAID = "The address of the page you wanted is too long to be kept."


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, limits={"target_bytes": "1KiB"}) as built:
        await built.add("alice")
        yield built


@pytest.mark.parametrize("fill", ["x", "&", "%22", "~!*'()", "=?"])
def test_the_longest_accepted_target_survives_the_login(deploy: Start, fill: str) -> None:
    """In the address of the login page, each byte of the target may take three."""
    target = ("/wiki?q=" + fill * LIMIT)[:LIMIT].removesuffix("%").removesuffix("%2")
    with Origin((answering(OK),)) as origin:
        live = deploy(origin.url, users=[config_user("alice")])
        with live.client() as client:
            first = client.get(target, *PAGE, host=live.host)
            assert first.status == 303
            (way,) = first.values(b"location")
            assert parse_qs(urlsplit(way.decode()).query, strict_parsing=True)["rd"] == [target]
            page = client.get(way.decode(), *PAGE, host=live.host)
            assert page.status == 200 and SAID.encode() not in page.body
            action = re.search(r'action="([^"]+)"', page.body.decode())
            assert action is not None
            assert posted(live, unescape(action[1])) == target


def posted(live: Live, action: str) -> str:
    """The redirect's target after the login form is posted to this address."""
    form = b"username=alice&password=correct+horse+battery+staple"
    lines = (
        *PAGE,
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(form)}",
    )
    request = get(action, *lines, host=live.host).replace(b"GET", b"POST", 1)
    with live.client() as client:
        answer = client.ask(request + form)
    assert answer.status == 303, answer.body
    return answer.values(b"location")[0].decode()


def test_only_doorwards_own_pages_accept_longer_targets(deploy: Start) -> None:
    with Origin((answering(OK),)) as origin:
        live = deploy(origin.url, limits={"target_bytes": "1KiB"})
        for path in ("/x", "/.doorwards/login", "/.Doorward/login"):
            assert live.get(f"{path}?rd={'x' * 1024}").status == 414
        assert live.get(f"{LOGIN}?rd=/{'x' * 3000}", *PAGE).status == 200
        assert live.get(f"{LOGIN}?rd=/{'x' * 4000}", *PAGE).status == 414


@pytest.mark.parametrize(
    "query", ["?lost=1", "?rd=/" + "x" * 1024, "?rd=/" + "x" * 50_000, "?lost=1&rd=/wiki"]
)
async def test_a_longer_target_is_dropped_and_the_page_says_so(home: House, query: str) -> None:
    async with home.browser() as browser:
        page = await browser.get(LOGIN + query)
        assert page.status_code == 200 and SAID in text_of(page)
        action = re.search(r'action="([^"]+)"', page.text)
        assert action is not None and action[1] == f"{LOGIN}?lost=1"
        wrong = await browser.post(action[1], data=RIGHT | {"password": "wrong"})
        assert wrong.status_code == 401 and SAID in text_of(wrong), "and goes on to say so"
        done = await browser.post(action[1], data=RIGHT)
        assert done.headers["location"] == "/"
        whole = await browser.get(f"{LOGIN}?another=1&rd=/{'x' * 1023}")
        assert SAID not in text_of(whole)


async def test_the_page_for_a_code_says_so_too(home: House) -> None:
    await home.add("bob")
    user = await home.accounts.users.get("bob")
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    await home.accounts.second_factors.adopt_totp(user, secret, home.clock())
    async with home.browser() as browser:
        login = await browser.post(f"{LOGIN}?lost=1", data=RIGHT | {"username": "bob"})
        assert login.headers["location"] == f"{SECOND}?lost=1"
        page = await browser.get(login.headers["location"])
        assert SAID in text_of(page) and f'action="{SECOND}?lost=1"' in page.text


async def test_an_address_too_long_for_a_header_leads_to_the_page_that_says_so(
    tmp_path: Path, origin: Origin
) -> None:
    limits = {"header_bytes": "4KiB", "target_bytes": "2KiB"}
    navigates = (b"sec-fetch-mode", b"navigate")
    async with front_of(tmp_path, origin, limits=limits) as front:
        answer = await front.get("/wiki?q=" + "&" * 1000, navigates)
        assert answer.values(b"location") == [b"/.doorward/login?lost=1"]
        answer = await front.get("/wiki?q=" + "&" * 600, navigates)
        assert answer.values(b"location")[0].endswith(b"%26" * 600)


async def test_a_return_address_on_another_host_is_dropped_silently(home: House) -> None:
    async with home.browser() as browser:
        page = await browser.get(LOGIN, params={"rd": "//evil.test/" + "x" * 500})
        assert SAID not in text_of(page) and "evil" not in page.text
