"""Draw the pictures of the documentation from a running Doorward: `make screenshots`.

Knows which pages to show and how to combine pictures. Needs Debian's Chromium.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import bcrypt
from doorward.accounts.factors import totp
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.live import PASSWORD, Live

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CARD = {"width": 440, "height": 560}
DESK = {"width": 1000, "height": 760}
PHONE = {"width": 360, "height": 740}
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PEOPLE = ("alice", "bob", "carol", "dave")
SETTINGS = {
    "pages": {"name": "Ada's wiki", "help": "Questions? Room 12, or 555-0142."},
    "access": {"rules": [{"path": "/*", "require": "two_factor"}]},
    "second_factor": {"remember_browser": "30d"},
}


class Person:
    """A user with an authenticator app, each of whose codes works once."""

    def __init__(self, live: Live, name: str, *options: str) -> None:
        self.live, self.name, self.secret, self._step = live, name, totp.new_secret(), 0
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        file = live.folder / f"{name}.users"
        file.write_text(f"{name}:{hashed}:{self.secret}\n")
        for command in (("import", "tinyauth", str(file)), ("edit", name, *options)):
            done = live.command("user", *command)
            assert done.returncode == 0, done.stderr

    def code(self) -> str:
        """The next code; waits for up to a minute."""
        while (step := totp.step_at(time.time()) + 1) <= self._step:
            time.sleep(1)
        self._step = step
        return totp.code_at(self.secret, step)

    def log_in(self, page: Page, path: str = "/") -> None:
        page.goto(f"http://{self.live.host}{path}")
        page.get_by_label("User name").fill(self.name)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        self.enter_code(page)

    def enter_code(self, page: Page) -> None:
        page.get_by_role("textbox", name="Code").fill(self.code())
        page.get_by_role("button", name="Continue").click()
        page.wait_for_load_state()


@contextmanager
def running() -> Iterator[Live]:
    """Doorward in front of the guest book."""
    command = [sys.executable, "-m", "doorward.cli.guestbook", "--port", "0", "--with-parent"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        application = stack.enter_context(
            subprocess.Popen(  # noqa: S603 - our own arguments
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        assert application.stdout is not None and application.stdin is not None
        url = application.stdout.readline().removeprefix("listening on ").strip()
        with Live(folder, url, **SETTINGS) as live:
            yield live
        application.stdin.close()


def visit(browser: Browser, size: dict[str, int], scheme: str = "light") -> BrowserContext:
    return browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        device_scale_factor=1.5,
        user_agent=AGENT,
    )


def join(browser: Browser, pictures: list[bytes], name: str, *labels: str) -> None:
    """Combine pictures side by side in one file, with a line above each if there are labels."""
    cells = ""
    for at, picture in enumerate(pictures):
        label = f"<figcaption>{at + 1}. {labels[at]}</figcaption>" if labels else ""
        source = base64.b64encode(picture).decode()
        cells += f"<figure>{label}<img src='data:image/png;base64,{source}'></figure>"
    style = (
        "body{margin:0;display:inline-flex;gap:12px;background:#fff;padding:12px;align-items:start}"
        "figure{margin:0}img{display:block;height:420px;border:1px solid #d5d9e2;border-radius:8px}"
        "figcaption{font:600 16px sans-serif;color:#22303c;padding:0 2px 8px}"
    )
    page = browser.new_page(device_scale_factor=1.5)
    page.set_content(f"<style>{style}</style>{cells}")
    page.locator("body").screenshot(path=IMAGES / name)
    page.close()


def draw_login(browser: Browser, alice: Person) -> None:
    """The login page in light mode, the second factor in dark mode, and the steps to the
    application."""
    shots = []
    for scheme in ("light", "dark"):
        with visit(browser, CARD, scheme) as context:
            page = context.new_page()
            page.goto(f"http://{alice.live.host}/")
            page.get_by_label("User name").fill("alice")
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            shots.append(page.screenshot())
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("textbox", name="Code").fill(alice.code())
            shots.append(page.screenshot())
            page.get_by_role("button", name="Continue").click()
            page.get_by_text("Hello,").wait_for()
            shots.append(page.screenshot())
    join(browser, [shots[0], shots[4]], "login.png")
    join(browser, shots[:3], "filmstrip.png", "Log in", "Enter the code", "Your application")


def draw_account(browser: Browser, alice: Person) -> None:
    with visit(browser, DESK) as context:
        page = context.new_page()
        alice.log_in(page)
        page.goto(f"http://{alice.live.host}/.doorward/account")
        page.screenshot(path=IMAGES / "account.png", full_page=True)
    with visit(browser, PHONE) as context:
        page = context.new_page()
        alice.log_in(page)
        page.set_extra_http_headers({"Accept-Language": "de"})
        page.goto(f"http://{alice.live.host}/.doorward/account")
        account = page.screenshot()
        page.goto(f"http://{alice.live.host}/.doorward/account/tokens")
        join(browser, [account, page.screenshot()], "phone.png")


def draw_administration(browser: Browser, ada: Person) -> None:
    with visit(browser, DESK) as context:
        page = context.new_page()
        ada.log_in(page)
        page.goto(f"http://{ada.live.host}/.doorward/admin")
        users = page.screenshot()
        page.get_by_role("link", name="alice").click()
        page.get_by_role("heading", name="alice").wait_for()
        join(browser, [users, page.screenshot()], "admin.png")


def main() -> None:
    if CHROMIUM is None:
        sys.exit("There is no Chromium here. On Debian, install the package chromium.")
    with running() as live, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in PEOPLE[1:]:
            live.add_user(name, "--group", "staff", "--email", f"{name}@example.com")
        alice = Person(live, "alice", "--add-group", "staff", "--add-email", "alice@example.com")
        ada = Person(live, "ada", "--super-admin", "--name", "Ada Admin")
        draw_login(browser, alice)
        draw_account(browser, alice)
        draw_administration(browser, ada)
        browser.close()


if __name__ == "__main__":
    main()
