"""Administration, in process: access, the effect of each form, and the audit records."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from doorward.accounts.audit.audit_log import Event, Kind, RecordFilter
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import SecondFactorInvalid, TooManyCodes
from doorward.accounts.session import PENDING
from doorward.accounts.user import Email, User
from doorward.accounts.users.editing import Edit
from doorward.observe.refusals import KeptRefusal, Refusals

from tests.support import crowd
from tests.support.house import HOST, House, house, text_of
from tests.support.live import CHEAP_HASH
from tests.support.second_factors import code_of

ADMIN = "/.doorward/admin"
NEW = f"{ADMIN}/new-user"
LOCKOUTS = f"{ADMIN}/lockouts"
RECORDS = f"{ADMIN}/records"
EXPLAIN = f"{ADMIN}/explain"
PAGES = [ADMIN, f"{ADMIN}/banned", f"{ADMIN}/sessions", LOCKOUTS, RECORDS, NEW, EXPLAIN]
LOGIN = "/.doorward/login"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
FILE_USER = {"username": "filed", "password_hash": CHEAP_HASH, "groups": ["wiki"]}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, users=[FILE_USER]) as opened:
        await opened.add("boss", roles=["admin"])
        await opened.add("root", super_admin=True)
        await opened.add("alice", emails=[Email("alice@example.com", True)], groups=["wiki"])
        yield opened


@asynccontextmanager
async def desk(home: House, name: str = "boss", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of this user, whose second factor was given just now."""
    user = await home.accounts.users.get(name)
    if not await home.accounts.second_factors.list_enabled(user):
        await home.accounts.second_factors.adopt_totp(user, SECRET, home.clock())
    opened = await home.opened(name, second_factor_at=home.clock())
    cookie, signed = home.cookies.name.decode(), home.accounts.tokens.sign(opened.token)
    async with home.browser(sec_fetch_site="same-origin", **headers) as browser:
        browser.cookies.set(cookie, signed, domain=HOST)  # it takes over a new token
        yield browser


@pytest.fixture
async def boss(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with desk(home) as browser:
        yield browser


@pytest.fixture
async def root(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with desk(home, "root") as browser:
        yield browser


async def token(browser: httpx.AsyncClient) -> str:
    found = re.search(r'name="form" value="(\w+)"', (await browser.get(NEW)).text)
    assert found is not None
    return found[1]


async def post(browser: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    return await browser.post(path, data={"form": await token(browser), **form})


async def page_of(home: House, name: str) -> str:
    return f"{ADMIN}/users/{(await home.accounts.users.get(name)).id}"


async def act(home: House, browser: httpx.AsyncClient, name: str, **form: str) -> httpx.Response:
    return await post(browser, await page_of(home, name), **form)


async def user(home: House, name: str = "alice") -> User:
    return await home.accounts.users.get(name)


async def last(home: House) -> Event:
    return (await home.accounts.audit_log.latest(RecordFilter(), 1))[-1].event


# Access


@pytest.mark.parametrize("path", PAGES)
async def test_only_admins_get_in(home: House, path: str) -> None:
    async with desk(home, "alice") as browser, home.browser() as nobody, home.program() as program:
        assert (await browser.get(path)).status_code == 403
        refused = await browser.post(path, data={"do": "ban"})
        assert refused.status_code in (403, 405)
        assert (await nobody.get(path)).headers["location"].startswith(f"{LOGIN}?rd=")
        assert (await program.get(path)).status_code == 401


@pytest.mark.parametrize("path", PAGES)
async def test_a_factor_that_is_not_fresh_is_asked_for_first(home: House, path: str) -> None:
    async with desk(home) as browser:
        assert (await browser.get(path)).status_code == 200
        home.clock.now += 301
        asked = await browser.get(path)
        assert "Confirm it's you" in text_of(asked) and "ask for a code again" in text_of(asked)
        assert "alice" not in asked.text
        found = re.search(r'name="form" value="(\w+)"', asked.text)
        assert found is not None
        wrong = await browser.post(path, data={"form": found[1], "code": "000000"})
        assert wrong.status_code == 401 and "The code is not right." in text_of(wrong)
        right = await browser.post(path, data={"form": found[1], "code": code_of(home, SECRET)})
        assert right.status_code == 303 and right.headers["location"] == path
        assert (await browser.get(path)).status_code == 200


async def test_a_form_sent_too_late_is_applied_after_the_code(home: House) -> None:
    async with desk(home) as browser:
        form = {"form": await token(browser), "do": "ban"}
        home.clock.now += 301
        path = await page_of(home, "alice")
        asked = await browser.post(path, data=form)
        assert 'name="do" value="ban"' in asked.text
        assert not (await user(home)).banned
        await browser.post(path, data=form | {"code": code_of(home, SECRET)})
        assert (await user(home)).banned


async def test_users_without_a_factor_have_to_set_one_up(home: House) -> None:
    opened = await home.opened("boss", second_factor_at=home.clock())
    async with home.browser(cookie=home.cookie(opened)) as browser:
        led = await browser.get(f"{ADMIN}?q=a")
        assert led.headers["location"].startswith("/.doorward/account/authenticator?rd=")
        assert "admin" in led.headers["location"]
    async with home.program(cookie=home.cookie(opened)) as program:
        refused = await program.get(ADMIN)
        assert refused.json()["error"] == "second_factor_required"


async def test_a_pending_session_is_refused(home: House) -> None:
    """CVE-2026-32246."""
    pending = await home.opened("root", level=PENDING, second_factor_at=home.clock())
    async with home.browser(cookie=home.cookie(pending)) as browser:
        for path in PAGES:
            assert (await browser.get(path)).status_code == 303


async def test_an_admin_s_right_ends_with_the_role(home: House, boss: httpx.AsyncClient) -> None:
    assert (await boss.get(ADMIN)).status_code == 200
    await home.accounts.users.edit("boss", Edit(remove_roles=("admin",)), home.clock(), actor=OWNER)
    await home.accounts.live.poll(home.clock())
    assert (await boss.get(ADMIN)).status_code == 403


async def test_forms_are_of_their_session_and_of_this_site(
    home: House, boss: httpx.AsyncClient
) -> None:
    """As for CVE-2020-36191: an attacker makes an admin's browser send a forged form."""
    path = await page_of(home, "alice")
    for wrong in ({}, {"form": "x"}):
        assert (await boss.post(path, data={"do": "ban", **wrong})).status_code == 403
    form = {"form": await token(boss), "do": "ban"}
    foreign = await boss.post(path, data=form, headers={"sec-fetch-site": "same-site"})
    assert foreign.status_code == 403
    await boss.get(path, params=form)
    assert not (await user(home)).banned, "GET changes nothing"


# Users


async def test_users_are_listed_and_found(home: House, boss: httpx.AsyncClient) -> None:
    listed = text_of(await boss.get(ADMIN))
    assert (
        "alice@example.com" in listed
        and "from a file" in listed
        and "super administrator" in listed
    )
    for text, found in (("AL", True), ("alice@ex", True), ("lice", False), ("\0", False)):
        page = await boss.get(ADMIN, params={"q": text})
        assert (
            "alice@example.com" in page.text.partition("</form>")[2].partition("<ul")[2]
        ) == found
    assert "No users found." in text_of(await boss.get(ADMIN, params={"q": "x" * 5000}))
    for strange in ("x", "1", "9" * 99, "1.\ud7ff", "-1.a"):
        assert (await boss.get(ADMIN, params={"after": strange})).status_code == 200


async def test_a_user_is_added_with_a_password_that_is_seen_once(
    home: House, boss: httpx.AsyncClient
) -> None:
    form = {"login": "bob", "display": "Bob B", "email": "bob@example.com", "groups": "wiki, ,a b,"}
    done = await post(boss, NEW, do="add", admin="1", **form)
    assert done.status_code == 403, "only a super administrator makes admins"
    done = await post(boss, NEW, do="add", **form)
    found = re.search(r'id="password">(\w+)<', done.text)
    assert found is not None and done.headers["cache-control"] == "no-store"
    bob = await user(home, "bob")
    assert (bob.name, bob.groups, bob.email) == ("Bob B", ("wiki", "a b"), "bob@example.com")
    assert bob.must_change_password and bob.roles == ()
    event = await last(home)
    assert (event.kind, event.actor, event.subject) == (Kind.USER_ADDED, "boss", "bob")
    assert event.address == "192.0.2.1" and event.request_id
    async with home.browser() as new:
        asked = await new.post(LOGIN, data={"username": "bob", "password": found[1]})
        assert "has to be changed" in text_of(asked)


@pytest.mark.parametrize(
    ("form", "status", "told"),
    [
        ({"login": "alice"}, 409, "already has this"),
        ({"login": ""}, 400, "1 to 190 characters"),
        ({"login": "x\u200by"}, 400, "no control characters"),
        ({"login": "filed"}, 409, "already has this"),
        ({"login": "x", "email": "nonsense"}, 400, "not an e-mail address"),
        ({"login": "x", "groups": "g" * 191}, 400, "group or role"),
        ({"login": "x", "display": "d" * 191}, 400, "display name"),
    ],
)
async def test_invalid_values_are_reported_and_the_form_keeps_them(
    boss: httpx.AsyncClient, form: dict[str, str], status: int, told: str
) -> None:
    page = await post(boss, NEW, do="add", **form)
    assert page.status_code == status and told in text_of(page)
    assert f'value="{form["login"]}"' in page.text


@pytest.mark.parametrize(
    ("what", "undone", "kinds"),
    [
        ("ban", "unban", (Kind.USER_BANNED, Kind.USER_UNBANNED)),
        ("disable", "enable", (Kind.USER_DISABLED, Kind.USER_ENABLED)),
    ],
)
async def test_a_user_is_banned_or_disabled_and_restored(
    home: House, boss: httpx.AsyncClient, what: str, undone: str, kinds: tuple[Kind, Kind]
) -> None:
    session = await home.opened()
    for button, kind, usable in ((what, kinds[0], False), (undone, kinds[1], True)):
        done = await act(home, boss, "alice", do=button)
        assert done.headers["location"].endswith(f"?done={button}")
        assert (await user(home)).is_usable is usable
        event = await last(home)
        assert (event.kind, event.actor, event.subject) == (kind, "boss", "alice")
    assert (await home.found(session) is not None) == (what == "ban"), "a ban gives them back"
    page = await boss.get(done.headers["location"])
    assert 'role="status"' in page.text


async def test_banned_users_are_listed(home: House, boss: httpx.AsyncClient) -> None:
    assert "No users found." in text_of(await boss.get(f"{ADMIN}/banned"))
    await act(home, boss, "alice", do="ban")
    listed = text_of(await boss.get(f"{ADMIN}/banned"))
    assert "alice" in listed and "filed" not in listed


async def test_name_and_groups_are_edited(home: House, boss: httpx.AsyncClient) -> None:
    await act(home, boss, "alice", do="edit", display="Alice A", groups="new, wiki")
    alice = await user(home)
    assert alice.name == "Alice A" and set(alice.groups) == {"new", "wiki"}
    assert (await last(home)).actor == "boss"
    await act(home, boss, "alice", do="edit", display="", groups="")
    alice = await user(home)
    assert alice.name is None and alice.groups == ()
    wrong = await act(home, boss, "alice", do="edit", display="", groups="g" * 191)
    assert wrong.status_code == 400 and "group or role" in text_of(wrong)


async def test_a_password_change_is_demanded_or_a_new_one_made(
    home: House, boss: httpx.AsyncClient
) -> None:
    session = await home.opened()
    await act(home, boss, "alice", do="demand")
    assert (await user(home)).must_change_password and await home.found(session)
    made = await act(home, boss, "alice", do="password")
    found = re.search(r'id="password">(\w+)<', made.text)
    assert found is not None and await home.found(session) is None
    event = await last(home)
    assert (event.kind, event.actor) == (Kind.PASSWORD_CHANGED, "boss")
    async with home.browser() as alice:
        form = {"username": "alice", "password": found[1], "new": "violet tractor seven moons"}
        assert (await alice.post(LOGIN, data=form)).status_code == 303


async def test_a_second_factor_is_reset(home: House, boss: httpx.AsyncClient) -> None:
    none = await act(home, boss, "alice", do="reset")
    assert none.status_code == 409 and "no second factor" in text_of(none)
    alice = await user(home)
    await home.accounts.second_factors.adopt_totp(alice, SECRET, home.clock())
    session = await home.opened()
    page = await boss.get(await page_of(home, "alice"))
    assert SECRET not in page.text and "Remove it" in page.text
    await act(home, boss, "alice", do="reset")
    assert not await home.accounts.second_factors.list_enabled(alice)
    assert await home.found(session) is None
    event = await last(home)
    assert (event.kind, event.actor) == (Kind.FACTOR_REMOVED, "boss")


async def test_sessions_are_seen_and_ended(home: House, boss: httpx.AsyncClient) -> None:
    """CVE-2025-29928: a session deleted on the page stayed valid."""
    one, two, three = [await home.opened() for _ in range(3)]
    listed = text_of(await boss.get(f"{ADMIN}/sessions"))
    assert listed.count("alice") == 3 and "this one" in listed
    done = await act(home, boss, "alice", do="end", session=one.session.id)
    assert done.status_code == 303
    assert await home.found(one) is None and await home.found(two) is not None
    event = await last(home)
    assert (event.kind, event.actor, event.session) == (
        Kind.SESSION_ENDED, "boss", one.session.id
    )  # fmt: skip
    other = await home.opened("filed")
    await act(home, boss, "alice", do="end", session=other.session.id)
    assert await home.found(other) is not None, "not a session of this user"
    await act(home, boss, "alice", do="end-all")
    assert await home.found(two) is None and await home.found(three) is None
    assert (await last(home)).actor == "boss"


async def test_a_user_of_a_file_is_read_only(home: House, boss: httpx.AsyncClient) -> None:
    page = await boss.get(await page_of(home, "filed"))
    assert "managed in a file" in text_of(page)
    for button in ("edit", "disable", "demand", "password"):
        assert f'value="{button}"' not in page.text
        refused = await act(home, boss, "filed", do=button)
        assert refused.status_code == 403 and "comes from the configuration file" in text_of(
            refused
        )
    assert (await act(home, boss, "filed", do="ban")).status_code == 303
    assert (await user(home, "filed")).banned


# What an admin cannot do


ACTS = ["edit", "ban", "disable", "demand", "password", "reset", "end-all", "end"]


@pytest.mark.parametrize("what", ACTS)
async def test_nobody_can_act_on_themselves_and_admins_not_on_admins(
    home: House, boss: httpx.AsyncClient, root: httpx.AsyncClient, what: str
) -> None:
    """CVE-2024-41942: an admin gained privileges by acting on a user with more privileges."""
    await home.add("second", roles=["admin"])
    session = await home.opened("root")
    for browser, name in ((boss, "root"), (boss, "second"), (boss, "boss"), (root, "root")):
        page = await browser.get(await page_of(home, name))
        assert f'value="{what}"' not in page.text
        refused = await act(home, browser, name, do=what, session=session.session.id)
        assert refused.status_code == 403, (name, text_of(refused))
    assert (await user(home, "root")).is_usable and await home.found(session)
    assert (await act(home, root, "second", do="ban")).status_code == 303


async def test_only_a_super_admin_makes_admins(
    home: House, boss: httpx.AsyncClient, root: httpx.AsyncClient
) -> None:
    await act(home, boss, "alice", do="edit", display="", groups="", admin="1")
    assert (await user(home)).roles == ()
    await act(home, root, "alice", do="edit", display="", groups="", admin="1")
    assert (await user(home)).roles == ("admin",)
    await act(home, root, "alice", do="edit", display="", groups="")
    assert (await user(home)).roles == ()
    await post(root, NEW, do="add", login="third", admin="1")
    assert (await user(home, "third")).roles == ("admin",)


@pytest.mark.parametrize("name", ["x", "B" * 17, "%00", "..%2f..", "B" * 500, "é"])
async def test_an_unknown_user_is_a_404(boss: httpx.AsyncClient, name: str) -> None:
    assert (await boss.get(f"{ADMIN}/users/{name}")).status_code == 404
    assert (await post(boss, f"{ADMIN}/users/{name}", do="ban")).status_code == 404


async def test_an_unknown_action_changes_nothing(home: House, boss: httpx.AsyncClient) -> None:
    before = await user(home)
    assert (await act(home, boss, "alice", do="__class__")).status_code == 303
    assert await user(home) == before


# Lock-outs and records


async def test_lock_outs_are_listed_and_lifted(home: House, boss: httpx.AsyncClient) -> None:
    assert "Nobody is locked out." in text_of(await boss.get(LOCKOUTS))
    async with home.browser() as guesser:
        for name in ("alice", "nobody"):
            for _ in range(6):
                await guesser.post(LOGIN, data={"username": name, "password": "wrong"})
        right = {"username": "alice", "password": "correct horse"}
        assert (await guesser.post(LOGIN, data=right)).status_code == 429
        listed = text_of(await boss.get(LOCKOUTS))
        assert "Unknown user name" in listed and "192.0.2.1/32" in listed
        assert "nobody " not in listed.replace("nobody has", ""), "names are typed by mistake"
        lifted = await post(boss, LOCKOUTS, do="user", user="alice")
        assert lifted.headers["location"] == f"{LOCKOUTS}?done=1"
        assert (await last(home)).kind == Kind.UNLOCKED and (await last(home)).actor == "boss"
        assert (await guesser.post(LOGIN, data=right)).status_code == 303
    assert (await post(boss, LOCKOUTS, do="network", network="192.0.2.1/32")).status_code == 303
    wrong = await post(boss, LOCKOUTS, do="network", network="nowhere")
    assert wrong.status_code == 400 and "This is not an address." in text_of(wrong)
    assert (await post(boss, LOCKOUTS, do="user", user="nobody")).status_code == 404


async def test_lock_outs_of_codes_are_listed_and_lifted(
    home: House, boss: httpx.AsyncClient
) -> None:
    alice = await user(home)
    factors = home.accounts.second_factors
    await factors.adopt_totp(alice, SECRET, home.clock())
    for _ in range(5):
        with pytest.raises((SecondFactorInvalid, TooManyCodes)):
            await factors.verify(alice, "000000", None, now=home.clock())
    assert "Codes, from every network" in text_of(await boss.get(LOCKOUTS))
    await act(home, boss, "alice", do="unlock")
    assert "Nobody is locked out." in text_of(await boss.get(LOCKOUTS))


@pytest.mark.parametrize("kind", Kind)
async def test_a_record_of_every_kind_is_shown_and_can_be_filtered(
    home: House, boss: httpx.AsyncClient, kind: Kind
) -> None:
    await home.accounts.audit_log.record(Event(home.clock(), kind, detail="what was done"))
    page = await boss.get(RECORDS)
    assert page.status_code == 200 and "what was done" in text_of(page)
    assert f'<option value="{kind}">' in page.text


async def test_records_are_filtered_and_paged(home: House, boss: httpx.AsyncClient) -> None:
    for _ in range(30):
        await act(home, boss, "alice", do="ban")
        await act(home, boss, "alice", do="unban")
    page = await boss.get(RECORDS, params={"user": "alice"})
    assert page.text.count("<li>") == 50
    found = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert found is not None
    rest = await boss.get(found[1].replace("&amp;", "&"))
    assert 10 <= rest.text.count("<li>") < 50 and "First page" in rest.text
    banned = await boss.get(RECORDS, params={"kind": "user_banned"})
    assert banned.text.count("<li>") == 30 and "Ban lifted" not in banned.text.split("<ul")[1]
    nothing = await boss.get(RECORDS, params={"since": "2099-01-01"})
    assert "No records found." in text_of(nothing)
    for strange in ({"since": "x"}, {"kind": "<b>"}, {"before": "x"}, {"user": "\ud7ff"}):
        assert (await boss.get(RECORDS, params=strange)).status_code == 200


async def test_a_request_is_explained(boss: httpx.AsyncClient) -> None:
    page = await boss.get(EXPLAIN, params={"url": "/wiki/x", "user": "alice"})
    text = text_of(page)
    assert page.status_code == 200 and "by alice (authenticated) from 127.0.0.1" in text
    assert "Forwarded" in text and "Remote-User: alice" in text
    text = text_of(await boss.get(EXPLAIN, params={"url": "/wiki/x", "method": "post"}))
    assert "POST /wiki/x not logged in, from 127.0.0.1" in text
    assert "Refused 401 unauthenticated" in text
    text = text_of(await boss.get(EXPLAIN, params={"url": "/x", "user": "alice", "factor": "on"}))
    assert "by alice (two_factor)" in text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"url": "ftp://x"}, "This is neither a URL nor a path."),
        ({"url": "http://[x/"}, "This is neither a URL nor a path."),
        ({"url": "/", "user": "eve"}, "There is no user with this name."),
        ({"url": "/", "address": "here"}, "This is not an address."),
        ({"id": "01ARZ"}, "No request with this ID was refused within the last day."),
    ],
)
async def test_a_request_that_cannot_be_explained_gets_an_error(
    boss: httpx.AsyncClient, asked: dict[str, str], said: str
) -> None:
    page = await boss.get(EXPLAIN, params=asked)
    assert page.status_code == 400 and said in text_of(page)


async def test_a_refusal_is_looked_up_by_its_number(home: House, boss: httpx.AsyncClient) -> None:
    refusals = Refusals(home.settings.data_dir)
    kept = KeptRefusal(
        "abc", home.clock(), "GET", "http", HOST, f"/{HOSTILE}", "192.0.2.7", "alice", False, 403,
        "forbidden", "No.",
    )  # fmt: skip
    refusals.keep(kept)
    refusals.keep(replace(kept, request_id="unfit", scheme=""))
    page = await boss.get(EXPLAIN, params={"id": "abc"})
    assert page.status_code == 200 and "403 forbidden: No." in text_of(page)
    assert "With the current rules" in page.text and HOSTILE not in page.text
    page = await boss.get(EXPLAIN, params={"id": "unfit"})
    assert page.status_code == 200 and "With the current rules" not in page.text


async def test_hostile_names_and_agents_are_shown_harmlessly(home: House) -> None:
    await home.accounts.users.add(
        HOSTILE, "correct horse", now=home.clock(), name=HOSTILE, groups=[HOSTILE]
    )
    async with home.browser(user_agent=HOSTILE) as attacker:
        form = {"username": HOSTILE, "password": "correct horse"}
        assert (await attacker.post(LOGIN, data=form)).status_code == 303
    async with desk(home, "root") as root:
        pages = [await root.get(path, params={"q": HOSTILE}) for path in PAGES]
        pages.append(await root.get(await page_of(home, HOSTILE)))
        pages.append(await root.get(RECORDS, params={"user": HOSTILE}))
        pages.append(await root.get(ADMIN, params={"q": '"><script>'}))
        assert sum("alert(1)" in page.text for page in pages) >= 5
        for page in pages:
            assert page.status_code == 200
            assert "<img src=x" not in page.text and "<script>" not in page.text
            assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
            assert page.headers["cache-control"] == "no-store"


async def test_the_account_page_links_admins_to_the_administration(
    home: House, boss: httpx.AsyncClient
) -> None:
    assert f'href="{ADMIN}"' in (await boss.get("/.doorward/account")).text
    async with desk(home, "alice") as alice:
        assert f'href="{ADMIN}"' not in (await alice.get("/.doorward/account")).text


async def test_it_speaks_german(home: House) -> None:
    async with desk(home, accept_language="de") as browser:
        page = text_of(await browser.get(await page_of(home, "alice")))
        assert "Konto sperren" in page and "Sperre" in page
        refused = text_of(await browser.get(await page_of(home, "root")))
        assert "nur Hauptadministratoren" in refused


async def test_a_storage_failure_is_reported(home: House, boss: httpx.AsyncClient) -> None:
    assert (await boss.get(ADMIN)).status_code == 200
    home.break_storage()
    for path in PAGES:
        assert (await boss.get(path)).status_code == 503


async def test_100000_users_are_paged_and_found(tmp_path: Path) -> None:
    """tests/storage/test_listings.py shows that no page reads all of them."""
    async with house(tmp_path) as home:
        await home.add("boss", roles=["admin"])
        crowd.fill(tmp_path)
        async with desk(home) as boss:
            page = await boss.get(ADMIN)
            for _ in range(20):
                found = re.search(r'rel="next" href="([^"]+)"', page.text)
                assert found is not None and urlsplit(found[1]).path == ADMIN
                page = await boss.get(found[1].replace("&amp;", "&"))
            for text in ("user1099", "mail1099", "nobody", "user"):
                assert (await boss.get(ADMIN, params={"q": text})).status_code == 200
            assert (await boss.get(RECORDS, params={"user": "User010001"})).status_code == 200
