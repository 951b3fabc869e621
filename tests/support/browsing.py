"""A running Doorward for a browser, an application behind it that shows the user's name, and common
actions."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from doorward.accounts.factors import totp
from doorward.pages import qr
from playwright.sync_api import Browser, Page, expect

from tests.support.live import PASSWORD, Live

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


class Application(BaseHTTPRequestHandler):
    """Greets users by name; shows the body of a POST."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.greet("")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.greet(f"<p>You sent {body.decode()}</p>")

    def greet(self, more: str) -> None:
        name = self.headers.get("Remote-User", "nobody")
        form = '<form method=post action=/wiki/save><input name=text value="a & b"><button>Save'
        page = f"<!doctype html><title>app</title><h1>Hello, {name}</h1>{more}{form}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(folder: Path, **values: Any) -> Iterator[Live]:
    """Doorward in front of that application; `/strict/` requires a second factor."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chosen = {
            "access": {"rules": [{"path": "/strict/*", "require": "two_factor"}]},
            "second_factor": {"remember_browser": "30d"},
        }
        with Live(
            folder, f"http://127.0.0.1:{server.server_address[1]}", **(chosen | values)
        ) as it:
            yield it
        server.shutdown()


NEW = "violet tractor under seven moons"

EMOJI = "😀" * 190


@contextmanager
def visiting(browser: Browser, live: Live, **options: Any) -> Iterator[Page]:
    """A separate browser. Its errors and its requests to other hosts fail the test."""
    context = browser.new_context(**({"viewport": DESK, "locale": "en-GB"} | options))
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: wrong.extend([asked.url] * (live.host not in asked.url)))
    yield page
    context.close()
    # Chromium's message about a field that already has the focus is no error of the page.
    harmless = ("status of 4", "data:", "Autofocus processing was blocked")
    assert not [text for text in wrong if not any(part in text for part in harmless)]


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()


def code_now(secret: str, steps: int = 0) -> str:
    return totp.code_at(secret, totp.step_at(time.time()) + steps)


def enrol(page: Page) -> tuple[str, list[str]]:
    """Set up an app on the account page; the secret and the recovery codes."""
    page.get_by_role("button", name="Set up app").click()
    uri = page.locator("#uri").get_attribute("href") or ""
    assert str(page.locator(".picture svg path").last.get_attribute("d")) in qr.draw_svg(uri)
    (secret,) = parse_qs(urlsplit(uri).query)["secret"]
    assert page.locator("#secret").inner_text().replace(" ", "") == secret
    page.get_by_role("textbox", name="Code").fill("000000")
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("alert")).to_have_text("The code is not right.")
    page.get_by_role("textbox", name="Code").fill(code_now(secret))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    codes = page.locator("#codes code").all_inner_texts()
    return secret, codes
