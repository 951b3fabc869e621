"""Forgotten passwords, in process: who gets a link, what it allows, and that it reveals nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.factors import totp
from doorward.accounts.forgotten import ASKED, AT_ONCE, LIFETIME_S, MAILED
from doorward.accounts.permissions import OWNER
from doorward.accounts.user import Email
from doorward.accounts.users.editing import Edit

from tests.support.house import PASSWORD, House, house, text_of
from tests.support.live import CHEAP_HASH
from tests.support.mailbox import Mailbox
from tests.support.people import proven

FORGOTTEN = "/.doorward/forgotten"
RESET = "/.doorward/reset"
LOGIN = "/.doorward/login"
ACCOUNT = "/.doorward/account"
ADDRESS = "alice@example.com"
NEW = "violet tractor under seven moons"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
FILE_USER = {"username": "filed", "password_hash": CHEAP_HASH, "email": "filed@example.com"}


@pytest.fixture
async def home(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[House]:
    async with house(tmp_path, users=[FILE_USER]) as opened:
        await opened.add(emails=[Email("unproven@example.com", False), Email(ADDRESS, True)])
        yield opened


@pytest.fixture
async def browser(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.browser(sec_fetch_site="same-origin") as client:
        yield client


async def ask(home: House, browser: httpx.AsyncClient, name: str = "alice") -> httpx.Response:
    answer = await browser.post(FORGOTTEN, data={"username": name})
    await home.accounts.forgotten.settle()
    return answer


async def link(home: House, browser: httpx.AsyncClient, mailbox: Mailbox) -> str:
    assert (await ask(home, browser)).status_code == 200
    return mailbox.sent[-1][1]


async def use(browser: httpx.AsyncClient, token: str, new: str = NEW) -> httpx.Response:
    return await browser.post(RESET, data={"token": token, "new": new})


async def log_in(browser: httpx.AsyncClient, password: str, **more: str) -> httpx.Response:
    return await browser.post(LOGIN, data={"username": "alice", "password": password, **more})


async def test_a_link_sets_another_password_once_and_ends_every_session(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    """As for CVE-2026-40934: a thief of a session is logged out when its user sets a new
    password."""
    session = await home.opened()
    assert f'href="{FORGOTTEN}"' in (await browser.get(LOGIN)).text
    token = await link(home, browser, mailbox)
    assert mailbox.sent[-1][0] == ADDRESS
    for _ in range(3):  # mail servers open links, too
        page = await browser.get(RESET, params={"token": token})
        assert page.status_code == 200 and "For alice" in text_of(page)
    assert await home.found(session), "nothing has happened yet"
    done = await use(browser, token)
    assert done.status_code == 200 and "all sessions are ended" in text_of(done)
    assert not done.headers.get_list("set-cookie"), "it is no login"
    assert await home.found(session) is None
    assert (await log_in(browser, PASSWORD)).status_code == 401
    assert (await log_in(browser, NEW)).status_code == 303
    again = await use(browser, token, "another password entirely")
    assert again.status_code == 400 and "no longer valid" in text_of(again)
    assert (await browser.get(RESET, params={"token": token})).status_code == 400
    records = await home.accounts.audit_log.latest(RecordFilter(user="alice"), 20)
    assert {Kind.RESET_MAILED, Kind.PASSWORD_CHANGED} <= {one.event.kind for one in records}


async def test_concurrent_uses_of_a_link_succeed_once(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    token = await link(home, browser, mailbox)
    news = [f"{NEW} {number}" for number in range(5)]
    done = await asyncio.gather(*(use(browser, token, new) for new in news))
    assert sorted(one.status_code for one in done) == [200, 400, 400, 400, 400]


async def test_every_name_gets_the_same_answer_before_the_lookup(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    """CVE-2023-39522: a recovery page revealed which users exist."""
    pages = set()
    for name in ("alice", ADDRESS, "nobody", "filed", "no@where.example", "\0", "x" * 5000):
        answer = await browser.post(FORGOTTEN, data={"username": name})
        assert answer.status_code == 200 and not mailbox.sent, "the mail is on its way later"
        await home.accounts.forgotten.settle()
        pages.add(re.sub(r'nonce="\w+"', "", answer.text))
        mailbox.sent.clear()
    assert len(pages) == 1
    assert (await ask(home, browser, " ")).status_code == 400


async def test_a_failing_mail_server_is_not_revealed(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    mailbox.broken = True
    assert (await ask(home, browser)).status_code == 200


@pytest.mark.parametrize("name", ["filed", "filed@example.com", "unproven@example.com", "nobody"])
async def test_other_users_get_no_mail(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox, name: str
) -> None:
    await ask(home, browser, name)
    assert not mailbox.sent


@pytest.mark.parametrize("what", ["ban", "disable"])
async def test_a_banned_or_disabled_user_gets_none_and_earlier_links_are_invalid(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox, what: str
) -> None:
    """CVE-2025-53942: a deactivated account could still log in."""
    token = await link(home, browser, mailbox)
    await getattr(home.accounts.users, what)("alice", home.clock(), actor=OWNER)
    await ask(home, browser)
    assert len(mailbox.sent) == 1
    assert (await use(browser, token)).status_code == 400


async def test_the_mailbox_alone_is_not_enough(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    """For a user whose only factor is e-mail, access to the mailbox would be enough for
    everything."""
    token = await link(home, browser, mailbox)
    alice, factors = await home.accounts.users.get("alice"), home.accounts.second_factors
    await factors.enable_email(proven(alice, home.clock()), home.clock())
    assert (await use(browser, token)).status_code == 400
    await ask(home, browser)
    assert len(mailbox.sent) == 1


async def test_a_link_does_not_replace_the_second_factor(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    """Nor by e-mail if the user has both an app and codes by e-mail: the mailbox would replace
    both."""
    alice, factors = await home.accounts.users.get("alice"), home.accounts.second_factors
    await factors.adopt_totp(alice, SECRET, home.clock())
    await factors.enable_email(proven(alice, home.clock()), home.clock())
    assert (await use(browser, await link(home, browser, mailbox))).status_code == 200
    assert await factors.list_enabled(alice) == ("totp",)
    pending = await log_in(browser, NEW)
    assert pending.headers["location"].startswith("/.doorward/second-factor")
    assert (await browser.get(ACCOUNT)).status_code == 303
    code = totp.code_at(SECRET, totp.step_at(home.clock()))
    assert (await browser.post("/.doorward/second-factor", data={"code": code})).status_code == 303
    assert (await browser.get(ACCOUNT)).status_code == 200


async def test_a_link_expires_after_thirty_minutes_or_a_change_of_address(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    token = await link(home, browser, mailbox)
    home.clock.now -= 86_400  # the clock was a day ahead, and has been corrected
    assert (await browser.get(RESET, params={"token": token})).status_code == 400
    home.clock.now += 86_400 + LIFETIME_S - 1
    assert (await browser.get(RESET, params={"token": token})).status_code == 200
    home.clock.now += 1
    assert (await use(browser, token)).status_code == 400
    token = await link(home, browser, mailbox)
    moved = Edit(remove_emails=(ADDRESS,), add_emails=(Email("new@example.com", True),))
    await home.accounts.users.edit("alice", moved, home.clock(), actor=OWNER)
    assert (await use(browser, token)).status_code == 400


@pytest.mark.parametrize("wrong", ["", "x", "é", "A" * 200, "\ud7ff", "=" * 5000])
async def test_an_unknown_link_is_invalid(browser: httpx.AsyncClient, wrong: str) -> None:
    for answer in (await browser.get(RESET, params={"token": wrong}), await use(browser, wrong)):
        assert answer.status_code == 400 and "no longer valid" in text_of(answer)


async def test_a_link_is_bound_to_its_user(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    """CVE-2023-26481: a recovery link that was not bound to its user."""
    token = await link(home, browser, mailbox)
    await home.accounts.users.delete("alice", home.clock(), actor=OWNER)
    await home.add(emails=[Email(ADDRESS, True)])
    assert (await use(browser, token)).status_code == 400
    assert (await log_in(browser, PASSWORD)).status_code == 303


@pytest.mark.parametrize(
    "weak", ["short", "password1", "alice@example.com", "x" * 5000, "", PASSWORD]
)
async def test_a_weak_password_leaves_the_link_as_it_is(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox, weak: str
) -> None:
    token = await link(home, browser, mailbox)
    refused = await use(browser, token, weak)
    assert refused.status_code == 400 and f'value="{token}"' in refused.text
    assert (await use(browser, token)).status_code == 200


async def test_the_token_in_the_address_is_not_leaked(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    token = await link(home, browser, mailbox)
    page = await browser.get(RESET, params={"token": token})
    assert page.headers["referrer-policy"] == "origin"
    assert page.headers["cache-control"] == "no-store"
    assert page.text.count(token) == 1, "in the form and in no link"


async def test_forms_of_other_sites_are_refused(home: House, mailbox: Mailbox) -> None:
    async with home.browser(sec_fetch_site="cross-site") as foreign:
        assert (await ask(home, foreign)).status_code == 403
        assert (await use(foreign, "x")).status_code == 403
    assert not mailbox.sent


async def test_asking_is_limited_by_network_and_mails_by_user(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    for _ in range(ASKED):
        assert (await ask(home, browser)).status_code == 200
    assert len(mailbox.sent) == MAILED
    for name in ("alice", "nobody"):
        refused = await ask(home, browser, name)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 3000
    home.clock.now += 3601
    assert (await ask(home, browser)).status_code == 200 and len(mailbox.sent) == MAILED + 1


async def test_mails_waiting_for_a_hanging_server_are_bounded(
    home: House, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = asyncio.Event()

    async def hang(*_: object) -> None:
        await hanging.wait()

    monkeypatch.setattr(mailbox, "send_reset", hang)
    forgotten = home.accounts.forgotten
    waits = [forgotten.ask("alice", f"192.0.2.{n}", home.clock()) for n in range(AT_ONCE + 1)]
    assert waits[:-1] == [None] * AT_ONCE and waits[-1] is not None
    hanging.set()
    await forgotten.settle()


async def test_the_shutdown_waits_only_briefly_for_mails(
    home: House, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = home.accounts.forgotten
    forgotten.ask("alice", "192.0.2.1", home.clock())
    await forgotten.close()
    assert len(mailbox.sent) == 1, "this one was quick"

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(mailbox, "send_reset", hang)
    monkeypatch.setattr("doorward.accounts.forgotten.CLOSING_S", 0.05)
    forgotten.ask("alice", "192.0.2.1", home.clock())
    await forgotten.close()
    await forgotten.close()


async def test_without_a_mail_server_the_page_says_whom_to_ask(tmp_path: Path) -> None:
    values = {"pages": {"help": "Call 1234."}}
    async with house(tmp_path, **values) as home, home.browser() as browser:
        assert f'href="{FORGOTTEN}"' in (await browser.get(LOGIN)).text
        page = await browser.get(FORGOTTEN)
        assert page.status_code == 200 and "Ask the person who runs this site" in text_of(page)
        assert "Call 1234." in text_of(page) and "<input" not in page.text
        assert (await browser.post(FORGOTTEN, data={"username": "alice"})).status_code == 405
        assert (await browser.get(RESET)).status_code == 404


async def test_it_speaks_german(home: House, mailbox: Mailbox) -> None:
    async with home.browser(accept_language="de") as browser:
        assert "Link schicken" in text_of(await browser.get(FORGOTTEN))
        page = await browser.get(RESET, params={"token": await link(home, browser, mailbox)})
        assert "Für alice : mindestens" in text_of(page)
        assert "gilt nicht mehr" in text_of(await browser.get(RESET))


async def test_a_storage_failure_is_reported_only_at_the_link(
    home: House, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    token = await link(home, browser, mailbox)
    home.break_storage()
    assert (await browser.get(RESET, params={"token": token})).status_code == 503
    assert (await use(browser, token)).status_code == 503
    assert (await ask(home, browser)).status_code == 200
