"""The pages in a real browser without JavaScript, served by a running `doorward demo`."""

from __future__ import annotations

import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no browser; apt-get install chromium brings one"
)

PHONE = {"width": 320, "height": 568}
DESK = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, str]]:
    """Address, user and password printed by a running demonstration."""
    command = [str(Path(sys.executable).with_name("doorward")), "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield dict(process.stdout.readline().strip().split(": ") for _ in range(3))
        process.terminate()
        process.stdout.read()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a new browser profile without JavaScript. Any browser error fails the test."""
    context = browser.new_context(java_script_enabled=False, viewport=DESK)  # type: ignore[arg-type]
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    context.close()
    assert not [text for text in complaints if "status of 4" not in text]


def log_in(page: Page, told: dict[str, str], password: str | None = None) -> None:
    page.get_by_label("User name").fill(told["user"])
    page.get_by_label("Password").fill(password or told["password"])
    page.get_by_role("button", name="Log in").click()


def session_cookies(page: Page) -> list[Any]:
    """The session's cookies, without the cookie of known browsers, which outlasts the session."""
    return [one for one in page.context.cookies() if not one["name"].endswith("-known")]


def test_a_login_leads_back_to_the_deep_link_and_a_logout_ends_it(
    page: Page, told: dict[str, str]
) -> None:
    address = told["address"]
    page.goto(f"{address}/?page=2&to=%2F%2Fevil.test")
    expect(page).to_have_title(f"Log in · {address.removeprefix('http://')}")
    expect(page.get_by_label("User name")).to_be_focused()

    log_in(page, told, "wrong")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
    expect(page.get_by_label("User name")).to_have_value(told["user"])
    expect(page.get_by_label("Password")).to_be_focused()

    page.keyboard.type(told["password"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{address}/?page=2&to=%2F%2Fevil.test")
    expect(page.get_by_text("Hello, demo")).to_be_visible()
    (cookie,) = session_cookies(page)
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and cookie["expires"] == -1

    second = page.context.new_page()
    second.goto(f"{address}/.doorward/login")
    expect(second).to_have_url(f"{address}/")
    second.close()

    page.get_by_role("link", name="Log out").click()
    expect(page.get_by_text("You are logged in as demo")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{address}/.doorward/login")
    assert session_cookies(page) == []
    page.goto(address)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_remembered_login_survives_closing_the_browser(page: Page, told: dict[str, str]) -> None:
    page.goto(told["address"])
    page.get_by_label("Keep me logged in").check()
    log_in(page, told)
    expect(page.get_by_text("Hello, demo")).to_be_visible()
    (cookie,) = session_cookies(page)
    assert cookie["expires"] > 0


def test_a_password_can_be_shown_and_hidden_by_keyboard(
    browser: Browser, told: dict[str, str]
) -> None:
    """The button keeps the focus: a space bar pressed twice must not end up in the password."""
    context = browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(told["address"])
    password = page.get_by_label("Password", exact=True)
    password.fill("secret")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Show")).to_be_focused()
    page.keyboard.press("Space")
    expect(password).to_have_attribute("type", "text")
    expect(page.get_by_role("button", name="Hide")).to_be_focused()
    page.keyboard.press("Space")
    expect(password).to_have_attribute("type", "password")
    expect(password).to_have_value("secret")
    page.get_by_role("button", name="Show").click()
    expect(password).to_be_focused()
    context.close()


def test_a_logged_in_user_can_open_the_login_page(page: Page, told: dict[str, str]) -> None:
    page.goto(told["address"])
    log_in(page, told)
    page.goto(f"{told['address']}/.doorward/login?another=1")
    expect(page.get_by_text("You are logged in as demo.")).to_be_visible()
    page.get_by_role("link", name="Continue").click()
    expect(page.get_by_text("Hello, demo")).to_be_visible()


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["login", "logout", "nothing"])
def test_every_page_fits_the_screen_with_large_enough_targets(
    browser: Browser, told: dict[str, str], size: dict[str, int], scheme: str, path: str
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{told['address']}/.doorward/{path}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dark = page.evaluate("getComputedStyle(document.body).color") == "rgb(236, 239, 245)"
    assert dark == (scheme == "dark"), "the stylesheet is there and follows the scheme"
    for one in page.locator("input:not([type=checkbox]), button, .button, .check").all():
        box = one.bounding_box()
        assert box is not None and box["height"] >= 44  # WCAG 2.2, 2.5.5
        assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"]
    context.close()


def test_a_user_name_of_200_emoji_does_not_break_the_page(page: Page, told: dict[str, str]) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto(told["address"])
    page.get_by_label("User name").fill("😀" * 200)
    page.get_by_label("Password").fill("x")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    box = page.get_by_role("button", name="Log in").bounding_box()
    assert box is not None and box["x"] + box["width"] <= PHONE["width"]


@pytest.fixture
def other_site(told: dict[str, str]) -> Iterator[str]:
    """A page of another site that posts Doorward's login and logout forms."""
    login = f"{told['address']}/.doorward/login"
    markup = f"""<!doctype html><title>other</title>
        <form method=post action={login}><input name=username value={told["user"]}>
        <input name=password value={told["password"]}><button>in</button></form>
        <form method=post action={told["address"]}/.doorward/logout><button>out</button></form>
        <a href={told["address"]}/xhr/logout>xhr</a><iframe src={login}></iframe>""".encode()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(markup)))
            self.end_headers()
            self.wfile.write(markup)

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}"  # 127.0.0.1 is another site
        server.shutdown()


def test_another_site_cannot_log_in_log_out_or_frame_pages(
    browser: Browser, told: dict[str, str], other_site: str
) -> None:
    """CVE-2017-1000069: no binding of the login to its form."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(other_site)
    assert page.frames[1].url != f"{told['address']}/.doorward/login"
    page.get_by_role("button", name="in").click()
    expect(page.get_by_text("This form was sent from another site.")).to_be_visible()
    assert context.cookies() == []

    page.goto(told["address"])
    log_in(page, told)
    expect(page.get_by_text("Hello, demo")).to_be_visible()
    for leave in (
        page.get_by_role("button", name="out"),
        page.get_by_role("link", name="xhr"),
    ):
        page.goto(other_site)
        leave.click()
        page.wait_for_url(lambda url: url.startswith(told["address"]))
        page.goto(told["address"])
        expect(page.get_by_text("Hello, demo")).to_be_visible()
    context.close()
