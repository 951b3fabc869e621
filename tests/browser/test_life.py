"""The whole life of an account in a real browser, once with script and once without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.support.browsing import (
    CHROMIUM,
    EMOJI,
    NEW,
    PHONE,
    code_now,
    enrol,
    log_in,
    running,
    visiting,
)
from tests.support.live import PASSWORD, Live

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no browser; apt-get install chromium brings one"
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("life")) as live:
        yield live


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_whole_life_of_an_account(browser: Browser, live: Live, script: bool) -> None:
    name = f"alice-{script}"
    live.add_user(name)
    options = {"java_script_enabled": script}
    strict = f"http://{live.host}/strict/page?x=1"
    account = f"http://{live.host}/.doorward/account"
    with visiting(browser, live, **options) as first, visiting(browser, live, **options) as second:
        # The first login, and a page that requires a second factor from a user who has none.
        first.goto(strict)
        log_in(first, name)
        expect(first.get_by_text("This page needs a second factor")).to_be_visible()
        secret, codes = enrol(first)
        assert len(codes) == 12
        with first.expect_download() as download:
            first.get_by_role("link", name="Download").click()
        assert all(code in download.value.path().read_text() for code in codes)
        first.get_by_role("link", name="I've saved them").click()
        expect(first).to_have_url(strict)
        expect(first.get_by_role("heading", name=f"Hello, {name}")).to_be_visible()

        # A second login, in another browser, with a code.
        second.goto(strict)
        log_in(second, name)
        expect(second.get_by_role("textbox", name="Code")).to_be_focused()
        second.keyboard.type(code_now(secret, 1))
        second.keyboard.press("Enter")
        expect(second).to_have_url(strict)

        # The first browser lists this session and ends it.
        first.goto(account)
        expect(first.locator(".sessions li")).to_have_count(2)
        expect(first.locator(".sessions .here")).to_contain_text("this one")
        first.locator(".sessions li:not(.here)").get_by_role("button").click()
        expect(first.get_by_role("status")).to_have_text("The session is ended.")
        expect(first.locator(".sessions li")).to_have_count(1)
        second.goto(strict)
        expect(second.get_by_role("heading", name="Log in")).to_be_visible()

        # The phone is lost: a recovery code works once.
        log_in(second, name)
        second.get_by_role("textbox", name="Code").fill(codes[0])
        second.get_by_label("Don't ask for a code in this browser").check()
        second.get_by_role("button", name="Continue").click()
        expect(second).to_have_url(strict)

        # A new password ends all other sessions, and the trust in the remembered browser.
        first.goto(account)
        first.get_by_role("link", name="Change password").click()
        first.get_by_label("Current password").fill(PASSWORD)
        first.get_by_label("New password").fill("password1")
        if script:
            expect(first.locator("#hint")).to_contain_text("too easy to guess")
            show = first.get_by_role("button", name="Show").last
            show.click()
            expect(first.get_by_label("New password")).to_have_attribute("type", "text")
        first.get_by_label("New password").fill(NEW)
        if script:
            expect(first.locator("#hint")).to_have_text("Strong.")
        first.get_by_role("button", name="Change password").click()
        expect(first.get_by_role("status")).to_contain_text("Your password is changed")
        second.goto(strict)
        log_in(second, name, PASSWORD)
        expect(second.get_by_role("alert")).to_have_text("The name or the password is not right.")
        log_in(second, name, NEW)
        expect(second.get_by_role("textbox", name="Code")).to_be_visible()

        # Log out.
        first.get_by_role("button", name="Log out").click()
        expect(first.get_by_role("heading", name="Log in")).to_be_visible()
        assert not [c for c in first.context.cookies() if c["name"] == "doorward"]


DEEP = "#/deep/link?tab=2&x=%20"


def test_the_fragment_of_the_address_survives_every_step(browser: Browser, live: Live) -> None:
    """Servers never get it, so each page passes it on: login, set-up of a factor, code, proof."""
    live.add_user("deep")
    wanted = f"http://{live.host}/strict/page?x=1{DEEP}"
    with visiting(browser, live) as page:
        page.goto(wanted)
        log_in(page, "deep", "wrong")
        expect(page.get_by_role("alert")).to_be_visible()
        log_in(page, "deep")
        secret, _ = enrol(page)
        page.get_by_role("link", name="I've saved them").click()
        expect(page).to_have_url(wanted)
    with visiting(browser, live) as page:
        page.goto(wanted)
        log_in(page, "deep")
        page.get_by_role("textbox", name="Code").fill("000000")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_text("phone sets its clock automatically")).to_be_visible()
        page.get_by_role("textbox", name="Code").fill(code_now(secret, 1))
        page.get_by_role("button", name="Continue").click()
        expect(page).to_have_url(wanted)
        page.goto(f"http://{live.host}/.doorward/login?another=1&rd=/wiki{DEEP}")
        page.get_by_role("link", name="Continue").click()
        expect(page).to_have_url(f"http://{live.host}/wiki{DEEP}")


def test_a_frame_without_a_session_links_to_the_login(browser: Browser, live: Live) -> None:
    """It opens in the whole window, and returns to the page that contains the frame."""
    live.add_user("framed")
    with visiting(browser, live) as page:
        page.goto(f"http://{live.host}/wiki")
        log_in(page, "framed")
        expect(page).to_have_url(f"http://{live.host}/wiki")
        page.wait_for_load_state()
        page.context.clear_cookies()
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('iframe'),"
            " {src: '/wiki/part', width: 500, height: 500}))"
        )
        page.frame_locator("iframe").get_by_role("link", name="Log in").click()
        expect(page).to_have_url(f"http://{live.host}/.doorward/login?rd=/wiki")
        log_in(page, "framed")
        expect(page).to_have_url(f"http://{live.host}/wiki")


def test_a_browser_that_keeps_no_cookies_gets_a_message(browser: Browser, live: Live) -> None:
    """Otherwise it would be redirected in circles."""
    live.add_user("blocked")
    with visiting(browser, live) as page:
        page.route("**/*", without_cookies)
        page.goto(f"http://{live.host}/wiki/page")
        log_in(page, "blocked")
        expect(page.get_by_role("heading", name="The login did not work")).to_be_visible()
        expect(page.get_by_text("did not send the login's cookie back")).to_be_visible()
        page.get_by_role("link", name="Try again").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        page.unroute_all(behavior="ignoreErrors")  # an icon may still be loading


def without_cookies(route: Route, request: Request) -> None:
    """Like a browser that blocks cookies."""
    answer = route.fetch(max_redirects=0)
    request.frame.page.context.clear_cookies()
    headers = {name: value for name, value in answer.headers.items() if name != "set-cookie"}
    route.fulfill(response=answer, headers=headers)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_form_sent_after_the_session_ended_can_be_sent_again(
    browser: Browser, live: Live, script: bool
) -> None:
    name = f"late-{script}"
    live.add_user(name)
    with visiting(browser, live, java_script_enabled=script) as page:
        page.goto(f"http://{live.host}/wiki/page")
        log_in(page, name)
        page.context.clear_cookies()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("What you just sent is kept for ten minutes")).to_be_visible()
        log_in(page, name)
        expect(page.get_by_role("heading", name="Send it again?")).to_be_visible()
        page.get_by_role("button", name="Send it now").click()
        expect(page.get_by_text("You sent text=a+%26+b")).to_be_visible()
        expect(page.get_by_role("heading", name=f"Hello, {name}")).to_be_visible()


def test_a_long_emoji_name_fits_on_every_page(browser: Browser, live: Live) -> None:
    live.add_user(EMOJI)
    with visiting(browser, live, viewport=PHONE, user_agent="😀x".encode().hex() * 60) as page:
        page.goto(f"http://{live.host}/.doorward/login?rd=/.doorward/account")
        log_in(page, EMOJI)
        expect(page.get_by_role("heading", name="Your account")).to_be_visible()
        for path in ("", "/authenticator", "/password", "/email"):
            page.goto(f"http://{live.host}/.doorward/account{path}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_the_login_page_is_small(browser: Browser, live: Live) -> None:
    with visiting(browser, live) as page:
        sizes: list[int] = []
        page.on("response", lambda answer: sizes.append(len(answer.body())))
        page.goto(f"http://{live.host}/.doorward/login", wait_until="networkidle")
        assert len(sizes) >= 3 and sum(sizes) < 40 * 1024


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(browser: Browser, live: Live, axe: str, scheme: str) -> None:
    name = f"ada-{scheme}"
    live.add_user(name, "--email", f"{name}@example.com")
    base = f"http://{live.host}/.doorward"
    faults: list[str] = []

    def look(page: Page) -> None:
        page.evaluate(axe)
        found = page.evaluate("axe.run()")
        for one in found["violations"]:
            places = json.dumps([node["target"] for node in one["nodes"]])
            faults.append(f"{page.url} {one['impact']} {one['id']} {places}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url

    options = {"color_scheme": scheme, "viewport": PHONE, "bypass_csp": True}
    with visiting(browser, live, **options) as page:
        for path in ("/login", "/logout", "/nothing"):
            page.goto(f"{base}{path}")
            look(page)
        page.goto(f"{base}/login", referer=f"{base}/login")
        look(page)
        page.goto(f"{base}/login?rd=/.doorward/account")
        log_in(page, name, "wrong")
        look(page)
        log_in(page, name)
        look(page)
        page.goto(f"{base}/account/tokens")
        page.get_by_label("What is it for?").fill("phone " * 30)
        page.get_by_label("Only these paths").fill("/" + "calendar" * 12)
        page.get_by_role("button", name="Create token").click()
        look(page)
        page.get_by_role("link", name="I've copied it").click()
        look(page)
        for path in ("/account/password", "/account/email", "/account/authenticator"):
            page.goto(f"{base}{path}")
            look(page)
        page.get_by_role("button", name="Set up app").click()
        look(page)
        uri = page.locator("#uri").get_attribute("href") or ""
        (secret,) = parse_qs(urlsplit(uri).query)["secret"]
        page.get_by_role("textbox", name="Code").fill(code_now(secret))
        page.get_by_role("button", name="Turn on").click()
        look(page)
        page.goto(f"{base}/account")
        look(page)
        page.get_by_role("button", name="Log out").click()
        log_in(page, name)
        look(page)
    assert not faults, "\n".join(faults)


WARNING = "#doorward-session"


def test_a_page_of_the_application_warns_before_the_session_ends(
    browser: Browser, live: Live, tmp_path: Path
) -> None:
    """The page includes one script, under a policy that allows no inline script or style."""
    live.add_user("soon")
    policy = "default-src 'self'"
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>app</title><h1>Invoice 7</h1>"

    def application(route: Route) -> None:
        """An application whose page warns a day and a minute before the end."""
        before = 90_000 if route.request.url.endswith("/early") else 60
        page = f'{head}<script defer src="/.doorward/session.js" data-before={before}></script>'
        headers = {"content-type": "text/html", "content-security-policy": policy}
        route.fulfill(body=page, headers=headers)

    with visiting(browser, live) as page:
        page.goto(f"http://{live.host}/wiki")
        log_in(page, "soon")
        page.route("**/wiki/*", application)
        page.clock.install()
        with page.expect_response("**/.doorward/session"):
            page.goto(f"http://{live.host}/wiki/late")
        assert page.locator(WARNING).count() == 0
        with page.expect_response("**/.doorward/session"):
            page.goto(f"http://{live.host}/wiki/early")
        expect(page.get_by_role("alert")).to_have_text("Your session ends soon. Save your work.")
        assert page.locator(WARNING).get_attribute("href") is None
        page.screenshot(path=tmp_path / "soon.png")
        live.command("session", "revoke-all", "soon")
        with page.expect_response("**/.doorward/session"):
            page.clock.fast_forward("05:01")
        expect(page.get_by_role("alert")).to_have_text("Your session has ended. Log in again.")
        page.screenshot(path=tmp_path / "over.png")
        with page.expect_popup() as popup:
            page.locator(WARNING).click()
        expect(popup.value.get_by_role("heading", name="Log in")).to_be_visible()
