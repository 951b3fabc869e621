"""The login page: what it shows, who can log in, and its messages for refused logins."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from doorward.accounts.audit.audit_log import RecordFilter
from doorward.accounts.permissions import OWNER
from doorward.accounts.session import FULL, PENDING
from doorward.pages.rendering import GUARDS, POLICY

from tests.support.house import (
    HOST,
    ORIGIN,
    PASSWORD,
    House,
    house,
    set_cookies,
    set_notes,
    text_of,
)
from tests.support.second_factors import next_code, turn_on_totp

LOGIN = "/.doorward/login"
RIGHT = {"username": "alice", "password": PASSWORD}
WRONG = {"username": "alice", "password": "wrong"}
SENTENCE = "The name or the password is not right."


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as built:
        await built.add("alice")
        yield built


@pytest.fixture
async def browser(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.browser() as client:
        yield client


def is_guarded(response: httpx.Response) -> bool:
    more = {name: value for name, value in GUARDS.items() if name != "content-security-policy"}
    assert {name: response.headers.get(name) for name in more} == more
    assert response.headers["content-security-policy"].startswith(POLICY)
    return True


# The form


async def test_the_form_has_the_three_fields_and_needs_no_script(
    browser: httpx.AsyncClient,
) -> None:
    page = await browser.get(LOGIN)
    assert page.status_code == 200 and is_guarded(page)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert '<form method="post" action="/.doorward/login" data-onward>' in page.text
    assert 'name="username"' in page.text and 'autocomplete="username"' in page.text
    assert 'name="password"' in page.text and 'autocomplete="current-password"' in page.text
    assert 'name="remember" type="checkbox"' in page.text
    for name in ("username", "password", "remember"):
        assert f'for="{name}"' in page.text and f'id="{name}"' in page.text
    assert page.text.count("<script") == 1 and "style=" not in page.text
    assert "role=" not in page.text
    assert HOST in text_of(page)
    assert not set_cookies(page)


async def test_the_return_target_stays_in_the_query_of_the_action(
    browser: httpx.AsyncClient,
) -> None:
    page = await browser.get(f"{LOGIN}?rd=%2Fa%3Fb%3D1%26c%3D%22%3E")
    assert 'action="/.doorward/login?rd=/a%3Fb%3D1%26c%3D%22%3E"' in page.text


async def test_policies_forbid_script_frames_and_foreign_places(browser: httpx.AsyncClient) -> None:
    """GHSA-gmfg-3v4q-9qr4: script could run on the portal if the policy was loosened."""
    page, again = await browser.get(LOGIN), await browser.get(LOGIN)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    # The application's files have the same origin: 'self' would allow them.
    nonce = re.search(r"script-src 'nonce-([0-9a-f]{24})'$", policy)
    assert nonce is not None and f'<script nonce="{nonce[1]}" src="' in page.text
    assert nonce[1] not in again.headers["content-security-policy"]
    assert "unsafe" not in policy and "*" not in policy
    for rule in ("form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert (await browser.get(LOGIN)).headers["referrer-policy"] == "same-origin"


async def test_everything_that_the_page_links_to_exists_and_can_be_cached(
    browser: httpx.AsyncClient,
) -> None:
    page = (await browser.get(LOGIN)).text
    for kind, type_ in (("css", "text/css; charset=utf-8"), ("svg", "image/svg+xml")):
        start = page.index(
            "/.doorward/static/doorward.", 0 if kind == "svg" else page.index("stylesheet")
        )
        address = page[start : page.index('"', start)]
        assert address.endswith(kind)
        file = await browser.get(address)
        assert file.status_code == 200 and file.headers["content-type"] == type_
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["x-content-type-options"] == "nosniff"
        assert b"http://" not in file.content.replace(b"http://www.w3.org/2000/svg", b"")
    assert (await browser.get("/.doorward/static/doorward.0.css")).status_code == 404


async def test_head_is_answered_like_get(browser: httpx.AsyncClient) -> None:
    assert (await browser.head(LOGIN)).status_code == 200


# A right password


async def test_a_login_redirects_with_a_cookie_for_the_browser_session(
    home: House, browser: httpx.AsyncClient
) -> None:
    done = await browser.post(f"{LOGIN}?rd=/wiki%3Fa%3D1", data=RIGHT)
    assert (done.status_code, done.headers["location"]) == (303, "/wiki?a=1")
    assert is_guarded(done)
    (line,) = set_cookies(done)
    assert line.startswith("doorward=") and line.endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert "Max-Age" not in line
    (session,) = await home.sessions()
    assert (session.kind, session.level, session.remember) == ("page", FULL, False)
    assert session.address == "192.0.2.1"


@pytest.mark.parametrize("value", ["1", "on", "true", "yes"])
async def test_remember_sets_the_age_of_the_cookie(
    home: House, browser: httpx.AsyncClient, value: str
) -> None:
    done = await browser.post(LOGIN, data=RIGHT | {"remember": value})
    assert "; Max-Age=2592000;" in set_cookies(done)[0]
    (session,) = await home.sessions()
    assert session.remember and session.ends_at() == home.clock() + 2_592_000


@pytest.mark.parametrize("value", ["", "0", "false", "off", "No"])
async def test_remember_can_be_declined(browser: httpx.AsyncClient, value: str) -> None:
    done = await browser.post(LOGIN, data=RIGHT | {"remember": value})
    assert "Max-Age" not in set_cookies(done)[0]


async def test_a_multipart_form_works_as_well(browser: httpx.AsyncClient) -> None:
    parts = {name: (None, value) for name, value in RIGHT.items()}
    assert (await browser.post(LOGIN, files=parts)).status_code == 303


async def test_a_name_beyond_ascii_logs_in_encoded_or_raw(
    home: House, browser: httpx.AsyncClient
) -> None:
    await home.add("zoë")
    encoded = await browser.post(LOGIN, data=RIGHT | {"username": "zoë"})
    assert encoded.status_code == 303
    raw = f"username=zoë&password={PASSWORD}".encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert (await browser.post(LOGIN, content=raw, headers=headers)).status_code == 303


async def test_on_https_the_cookie_is_a_host_cookie(tmp_path: Path) -> None:
    async with house(tmp_path, public_url="https://wiki.test") as home:
        await home.add("alice")
        async with home.browser() as browser:
            (line,) = set_cookies(await browser.post(LOGIN, data=RIGHT))
    assert line.startswith("__Host-doorward=") and line.endswith("; Secure")


async def test_a_login_ends_the_session_it_replaces(
    home: House, browser: httpx.AsyncClient
) -> None:
    old = await home.opened()
    headers = {"cookie": home.cookie(old)}
    done = await browser.post(LOGIN, data=RIGHT, headers=headers)
    assert done.status_code == 303
    assert await home.found(old) is None
    assert len(await home.sessions()) == 1


async def test_a_duplicate_cookie_is_expired_by_the_page_and_the_login(
    home: House, browser: httpx.AsyncClient
) -> None:
    one, two = await home.opened(), await home.opened()
    headers = {"cookie": f"{home.cookie(one)}; {home.cookie(two)}"}
    page = await browser.get(LOGIN, headers=headers)
    assert page.status_code == 200
    assert set_cookies(page) and all("Max-Age=0" in line for line in set_cookies(page))
    done = await browser.post(LOGIN, data=RIGHT, headers=headers)
    lines = set_cookies(done)
    assert "Max-Age=0" in lines[0] and "Max-Age=0" not in lines[-1]  # the new session comes last
    assert await home.found(one) is None and await home.found(two) is None


# A user who is already logged in


async def test_a_second_tab_is_sent_on(home: House, browser: httpx.AsyncClient) -> None:
    headers = {"cookie": home.cookie(await home.opened())}
    on = await browser.get(f"{LOGIN}?rd=/wiki", headers=headers)
    assert (on.status_code, on.headers["location"]) == (303, "/wiki")
    assert (await browser.get(LOGIN, headers=headers)).headers["location"] == "/"


async def test_a_logged_in_user_can_open_the_login_page(
    home: House, browser: httpx.AsyncClient
) -> None:
    """CVE-2026-34454: the next person at a shared machine sees which user is logged in, and has to
    log in."""
    old = await home.opened()
    headers = {"cookie": home.cookie(old)}
    page = await browser.get(f"{LOGIN}?another=1&rd=/wiki", headers=headers)
    assert page.status_code == 200 and "You are logged in as alice" in text_of(page)
    assert '<a href="/wiki" data-onward>Continue</a>' in page.text
    assert await home.found(old) is not None


@pytest.mark.parametrize("state", ["pending", "ended", "expired", "banned"])
async def test_an_invalid_session_gets_the_form(
    home: House, browser: httpx.AsyncClient, state: str
) -> None:
    opened = await home.opened(level=PENDING if state == "pending" else FULL)
    if state == "ended":
        await home.accounts.sessions.end(opened.session, home.clock())
    elif state == "banned":
        await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    elif state == "expired":
        home.clock.now += 7200
    page = await browser.get(LOGIN, headers={"cookie": home.cookie(opened)})
    assert page.status_code == 200 and 'name="password"' in page.text
    assert not set_cookies(page)  # another tab may be logging in at the moment


# A wrong password


async def test_a_wrong_password_shows_the_form_again_and_says_so(
    browser: httpx.AsyncClient,
) -> None:
    page = await browser.post(f"{LOGIN}?rd=/wiki", data=WRONG)
    assert page.status_code == 401 and is_guarded(page)
    assert page.headers["www-authenticate"] == 'Bearer realm="doorward"'
    assert f'role="alert" id="error">{SENTENCE}<' in page.text
    assert 'aria-describedby="error"' in page.text
    assert 'value="alice"' in page.text and "wrong" not in page.text
    assert 'action="/.doorward/login?rd=/wiki"' in page.text
    assert not set_cookies(page)


async def test_a_neighbour_does_not_lock_out_a_browser_that_logged_in_before(
    home: House, browser: httpx.AsyncClient
) -> None:
    """All clients share one address. The cookie is only for the pages, and contains no name."""
    login = await browser.post(LOGIN, data=RIGHT)
    (line,) = set_notes(login)
    assert re.fullmatch(
        r"doorward-known=[0-9]+\.[A-Za-z0-9_-]{43}; Max-Age=15552000; Path=/.doorward/;"
        r" HttpOnly; SameSite=Strict",
        line,
    )
    known = dict(browser.cookies)
    async with home.browser() as neighbour:
        for _ in range(5):
            assert (await neighbour.post(LOGIN, data=WRONG)).status_code == 401
        assert (await neighbour.post(LOGIN, data=RIGHT)).status_code == 429
        neighbour.cookies["doorward-known"] = "x" + known["doorward-known"]
        assert (await neighbour.post(LOGIN, data=RIGHT)).status_code == 429
    assert (await browser.post(LOGIN, data=RIGHT)).status_code == 303
    for _ in range(5):
        assert (await browser.post(LOGIN, data=WRONG)).status_code == 401
    assert (await browser.post(LOGIN, data=RIGHT)).status_code == 429
    assert (await browser.post(LOGIN, data=WRONG)).status_code == 429


async def test_a_browser_becomes_known_with_the_code_and_stays_so_with_a_new_password(
    home: House, browser: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    assert "doorward-known" not in (await browser.post(LOGIN, data=RIGHT)).cookies
    done = await browser.post("/.doorward/second-factor", data={"code": next_code(home, secret)})
    assert "doorward-known" in done.cookies
    page = await browser.get("/.doorward/account/password")
    token = re.search(r'name="form" value="([0-9a-f]+)"', page.text)
    assert token is not None
    new = "violet tractor under seven moons"
    form = {"form": token[1], "current": PASSWORD, "new": new, "again": new}
    changed = await browser.post("/.doorward/account/password", data=form)
    assert changed.status_code == 303, changed.text
    user = await home.accounts.users.get("alice")
    recognises = home.accounts.known_browsers.recognises
    assert not recognises(done.cookies["doorward-known"], user, home.clock())
    assert recognises(changed.cookies["doorward-known"], user, home.clock())


async def test_failures_do_not_reveal_accounts(home: House, browser: httpx.AsyncClient) -> None:
    """CVE-2023-39522: a page revealed whether a user exists."""
    await home.add("banned")
    await home.add("disabled")
    await home.accounts.users.ban("banned", home.clock(), actor=OWNER)
    await home.accounts.users.disable("disabled", home.clock(), actor=OWNER)
    tries = [
        ("alice", "wrong"),
        ("nobody", PASSWORD),
        ("banned", PASSWORD),
        ("disabled", PASSWORD),
        ("banned", "wrong"),
        ("x" * 300, PASSWORD),
        ("a\x00b", PASSWORD),
        ("alice", "x" * 5000),
    ]
    answers = [await browser.post(LOGIN, data={"username": n, "password": p}) for n, p in tries]
    assert {page.status_code for page in answers} == {401}
    said = {
        re.sub(r'nonce="\w+"', "", page.text.replace(f'value="{name}"', ""))
        for (name, _), page in zip(tries, answers, strict=True)
    }
    assert len(said) == 1


async def test_a_required_password_change_is_reported(
    home: House, browser: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    page = await browser.post(LOGIN, data=RIGHT | {"username": "carol"})
    assert page.status_code == 403 and "has to be changed" in text_of(page)
    assert not set_cookies(page)


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        (PASSWORD, "This is your current password."),
        ("password1", "This password is too easy to guess. Choose another one."),
        ("carolcarol", "This password is too easy to guess. Choose another one."),
    ],
)
async def test_a_forced_change_refuses_the_old_and_guessable_passwords(
    home: House, browser: httpx.AsyncClient, new: str, sentence: str
) -> None:
    await home.add("carol", must_change_password=True)
    page = await browser.post(LOGIN, data=RIGHT | {"username": "carol", "new": new})
    assert page.status_code == 400 and sentence in text_of(page) and not set_cookies(page)
    assert (await home.accounts.users.get("carol")).must_change_password


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"username": "alice"},
        {"password": PASSWORD},
        {"username": "", "password": ""},
        {"username": "alice", "password": ""},
        {"remember": "1"},
        {"Username": "alice", "Password": PASSWORD},
    ],
)
async def test_a_form_with_missing_fields_is_refused(
    home: House, browser: httpx.AsyncClient, form: dict[str, str]
) -> None:
    """CVE-2026-49443: an empty form skipped a stage."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    page = await browser.post(LOGIN, data=form, headers=headers)
    assert page.status_code == 400
    assert "Enter your user name and your password." in text_of(page)
    assert not set_cookies(page) and not await home.sessions()


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)",
    "{{ 7*7 }}{% raw %}",
    "a\r\nSet-Cookie: doorward=x",
    "\u202egnp.exe",
    "😀" * 200,
    "\x00\x1b[31m",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
async def test_a_hostile_name_is_harmless(browser: httpx.AsyncClient, name: str) -> None:
    """CVE-2023-52430: reflected script."""
    page = await browser.post(LOGIN, data={"username": name, "password": "x"})
    assert page.status_code == 401
    inside = page.text.partition('value="')[2].partition('"')[0]
    assert not set('<>"') & set(inside)
    assert "<script>" not in page.text and "<img src=x" not in page.text
    assert not set_cookies(page)


@pytest.mark.parametrize("host", ["<b>", 'wiki.test" onload="x', "xn--bcher-kva.test:8443"])
async def test_a_hostile_host_is_harmless(browser: httpx.AsyncClient, host: str) -> None:
    page = await browser.get(LOGIN, headers={"host": host})
    assert page.status_code == 200
    assert "<b>" not in page.text and 'onload="' not in page.text


# Forms of other sites, and bodies that are not forms


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": f"{ORIGIN}.evil.test"},
    ],
)
async def test_another_site_cannot_post_the_form(home: House, headers: dict[str, str]) -> None:
    """CVE-2017-1000069: the login was not bound to its form."""
    async with home.old_browser() as browser:
        page = await browser.post(LOGIN, data=RIGHT, headers=headers)
    assert page.status_code == 403 and is_guarded(page)
    assert "sent from another site" in text_of(page)
    assert not set_cookies(page) and not await home.sessions()


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "same-origin"}, {"origin": ORIGIN}])
async def test_a_same_origin_form_needs_no_token(home: House, headers: dict[str, str]) -> None:
    async with home.old_browser() as browser:
        assert (await browser.post(LOGIN, data=RIGHT, headers=headers)).status_code == 303
    async with home.program() as program:
        assert (await program.post(LOGIN, data=RIGHT, headers=headers)).status_code == 303


# A form of a browser that does not send its origin


def token_of(page: httpx.Response) -> dict[str, str]:
    found = re.search(r'name="form" value="(\w+)"', page.text)
    assert found is not None
    return {"form": found[1]}


async def test_without_origin_and_fetch_metadata_the_token_of_the_page_is_needed(
    home: House,
) -> None:
    """CVE-2017-1000069: another site logs its visitor in to an attacker's account."""
    async with home.old_browser() as browser:
        refused = await browser.post(LOGIN, data=RIGHT | {"kept": "sealed"})
        assert refused.status_code == 403 and is_guarded(refused)
        assert "log in again" in text_of(refused) and 'value="alice"' in refused.text
        assert not await home.sessions()
        # The answer is the form again, with a valid token.
        again = await browser.post(LOGIN, data=RIGHT | token_of(refused))
        assert again.status_code == 303 and await home.sessions()


async def test_the_token_is_of_one_browser_and_shared_by_its_tabs(home: House) -> None:
    async with home.old_browser() as browser, home.old_browser() as attacker:
        first = await browser.get(LOGIN)
        (line,) = set_cookies(first)
        assert line.startswith("doorward-form=")
        assert line.endswith("; Path=/.doorward/; HttpOnly; SameSite=Lax")
        second = await browser.get(LOGIN)
        assert not set_cookies(second) and token_of(first) == token_of(second)
        foreign = token_of(await attacker.get(LOGIN))
        for wrong in (foreign, {"form": ""}, {"form": "é"}, {"form": token_of(first)["form"][:-1]}):
            assert (await browser.post(LOGIN, data=RIGHT | wrong)).status_code == 403
        tossed = {"cookie": f"doorward-form={'0' * 24}; {line.partition(';')[0]}"}
        async with home.old_browser() as other:
            two = await other.post(LOGIN, data=RIGHT | token_of(first), headers=tossed)
        assert two.status_code == 403, "one of the two is somebody else's"
        browser.cookies.set("doorward-form", "x")
        assert (await browser.post(LOGIN, data=RIGHT | token_of(first))).status_code == 403
        browser.cookies.clear()
        assert (await browser.post(LOGIN, data=RIGHT | token_of(first))).status_code == 403
    assert not await home.sessions()


async def test_a_wrong_password_does_not_invalidate_the_token(home: House) -> None:
    async with home.old_browser() as browser:
        token = token_of(await browser.get(LOGIN))
        wrong = await browser.post(LOGIN, data=WRONG | token)
        assert wrong.status_code == 401 and token_of(wrong) == token
        assert (await browser.post(LOGIN, data=RIGHT | token)).status_code == 303


async def test_a_browser_with_fetch_metadata_gets_no_form_cookie(
    browser: httpx.AsyncClient,
) -> None:
    page = await browser.get(LOGIN)
    assert not set_cookies(page) and 'name="form"' not in page.text


async def test_on_https_the_cookie_of_the_form_is_a_secure_one(tmp_path: Path) -> None:
    async with house(tmp_path, public_url="https://wiki.test") as home:
        async with home.old_browser() as browser:
            (line,) = set_cookies(await browser.get(LOGIN))
    assert line.startswith("__Secure-doorward-form=") and line.endswith("; Secure")


async def test_a_program_needs_the_token_of_the_form(home: House) -> None:
    async with home.program(accept="*/*") as program:
        refused = await program.post(LOGIN, data=RIGHT)
        assert refused.status_code == 403
        assert refused.json()["error"] == "form_token_required"
        assert "Origin" in refused.json()["message"] and "`form`" in refused.json()["message"]
        assert not set_cookies(refused) and not await home.sessions()
        token = token_of(await program.get(LOGIN))
        assert (await program.post(LOGIN, data=RIGHT | token)).status_code == 303


# The name of the site

UNKNOWN = [
    "evil.test",
    "wiki.test.evil.test",
    "evil-wiki.test",
    "10.0.0.1:8080",
    "xn--pypal-4ve.test",
]
KNOWN = ["wiki.test", "wiki.test:8443", "docs.test", "a.team.test"]


@pytest.mark.parametrize("host", [*UNKNOWN, *KNOWN])
async def test_pages_show_only_configured_hosts(tmp_path: Path, host: str) -> None:
    """Every page, requested with this Host."""
    routes = [
        {"upstream": "http://127.0.0.1:9"},
        {"upstream": "http://127.0.0.1:9", "host": "Docs.test"},
        {"upstream": "http://127.0.0.1:9", "host": "*.team.test"},
    ]
    async with house(tmp_path, routes=routes) as home:
        await home.add("alice", super_admin=True)
        cookie = home.cookie(await home.opened(second_factor_at=home.clock()))
        async with home.browser() as browser:
            for path in home.paths:
                for headers in ({"host": host}, {"host": host, "cookie": cookie}):
                    page = await browser.get(path, headers=headers)
                    assert host in KNOWN or host not in page.text, path
            login = await browser.get(LOGIN, headers={"host": host})
            assert (f"to continue to {host}" in text_of(login)) is (host in KNOWN)
            assert "Log in" in text_of(login)
            bounced = {"host": host, "referer": f"http://{host}{LOGIN}"}
            loop = await browser.get(LOGIN, headers=bounced)
            assert loop.status_code == 409 and (host in KNOWN or host not in loop.text)


FORM = "application/x-www-form-urlencoded"
PART = b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nalice\r\n'
BAD_FORMS = {
    "a name twice": (FORM, b"username=alice&username=bob&password=x"),
    "not UTF-8": (FORM, b"username=%ff&password=x"),
    "raw bytes that are not UTF-8": (FORM, b"username=\xff&password=x"),
    "half a character": (FORM, b"username=%ed%a0%80&password=x"),
    "a hundred fields": (FORM, b"&".join(b"f%d=1" % n for n in range(100))),
    "no boundary": ("multipart/form-data", PART + b"--x--"),
    "another boundary": ("multipart/form-data; boundary=y", PART + b"--x--"),
    "a huge boundary": ("multipart/form-data; boundary=" + "y" * 5000, PART),
    "a part without a name": (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nalice\r\n--x--",
    ),
    "a file": (
        "multipart/form-data; boundary=x",
        PART.replace(b'"username"', b'"username"; filename="a"') + b"--x--",
    ),
    "a part twice": ("multipart/form-data; boundary=x", PART + PART + b"--x--"),
    "a hundred parts": ("multipart/form-data; boundary=x", PART * 100 + b"--x--"),
    "a charset that never decodes": (
        "multipart/form-data; boundary=x; charset=undefined",
        PART + b"--x--",
    ),
    "a part that never ends": ("multipart/form-data; boundary=x", PART[:40]),
}


@pytest.mark.parametrize(("kind", "body"), BAD_FORMS.values(), ids=BAD_FORMS.keys())
async def test_a_form_that_cannot_be_read_is_a_400(
    browser: httpx.AsyncClient, kind: str, body: bytes
) -> None:
    """CVE-2024-21493: malformed input caused a panic. CVE-2024-47874: unbounded use of memory."""
    page = await browser.post(LOGIN, content=body, headers={"content-type": kind})
    assert page.status_code == 400 and not set_cookies(page)


async def test_a_form_over_its_bound_is_a_413(browser: httpx.AsyncClient) -> None:
    assert (await browser.post(LOGIN, data=RIGHT | {"x": "y" * 66_000})).status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    headers = {"content-type": FORM}
    assert (await browser.post(LOGIN, content=endless(), headers=headers)).status_code == 413


async def test_a_program_that_posts_json_gets_the_message_in_json(home: House) -> None:
    async with home.program() as program:
        answer = await program.post(LOGIN, json=RIGHT)
    assert answer.status_code == 415
    assert answer.json()["error"] == "unsupported_media_type"
    assert answer.json()["request_id"] == "request-1"


# Errors


async def test_a_database_that_does_not_answer_says_try_again(
    home: House, browser: httpx.AsyncClient
) -> None:
    headers = {"cookie": home.cookie(await home.opened())}
    home.break_storage()
    page = await browser.post(LOGIN, data=RIGHT)
    assert page.status_code == 503 and page.headers["retry-after"] == "5"
    assert 'role="alert"' in page.text and 'value="alice"' in page.text
    assert (await browser.get(LOGIN, headers=headers)).status_code == 503
    assert (await browser.get(LOGIN)).status_code == 200


async def test_a_full_queue_of_hashes_says_try_again(
    home: House, browser: httpx.AsyncClient
) -> None:
    places = home.accounts.passwords._places
    while places.acquire(blocking=False):
        pass
    page = await browser.post(LOGIN, data=RIGHT)
    assert page.status_code == 503 and "Too many logins at once" in text_of(page)


async def test_an_unexpected_error_is_a_500_page(home: House, browser: httpx.AsyncClient) -> None:
    home.accounts.passwords.close()
    page = await browser.post(LOGIN, data=RIGHT)
    assert page.status_code == 500 and is_guarded(page)
    assert "Traceback" not in page.text and "request-1" in page.text


async def test_too_many_wrong_passwords_are_a_429_with_retry_after(
    home: House, browser: httpx.AsyncClient
) -> None:
    """A right password gets the same answer as a wrong one."""
    for _ in range(5):
        assert (await browser.post(LOGIN, data=WRONG)).status_code == 401
    home.clock.now += 100.5
    wrong = await browser.post(LOGIN, data=WRONG)
    right = await browser.post(LOGIN, data=RIGHT)
    for page in (wrong, right):
        assert page.status_code == 429 and is_guarded(page)
        assert page.headers["retry-after"] == "200"
        assert "Too many failed logins" in text_of(page) and not set_cookies(page)
    assert text_of(wrong) == text_of(right)


async def test_a_record_has_the_address_and_the_request_id(
    home: House, browser: httpx.AsyncClient
) -> None:
    await browser.post(LOGIN, data=RIGHT)
    await browser.post("/.doorward/logout")
    login, end = await home.accounts.audit_log.latest(RecordFilter(user="alice"), 2)
    for kind, record in (("login", login), ("session_ended", end)):
        event = record.event
        assert (event.kind, event.actor, event.subject) == (kind, "alice", "alice")
        assert (event.address, event.request_id) == ("192.0.2.1", "request-1")
