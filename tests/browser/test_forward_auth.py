"""One login and one logout over hosts of one domain, behind nginx that asks, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from playwright.sync_api import Browser, expect, sync_playwright

from tests.conftest import Start
from tests.journeys.test_forward_auth import APP, EXAMPLES, PORTAL, Asking, asking
from tests.support.browsing import CHROMIUM
from tests.support.front_proxies import PROXIES, application, find_binary
from tests.support.live import PASSWORD, config_user, free_port
from tests.support.wire import values_of

SISTER = "wiki.example.com"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium; apt-get install chromium brings it"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for which every host of the domain is this machine."""
    arguments = ["--no-sandbox", "--host-resolver-rules=MAP *.example.com 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, deploy: Start) -> Iterator[Asking]:
    find_binary(PROXIES["nginx"])
    settings: dict[str, Any] = yaml.safe_load((EXAMPLES / "doorward.yaml").read_text())
    del settings["listen"]
    settings["forward_auth"]["hosts"] = [APP, SISTER]
    settings["access"] = {"rules": [{"path": "/public/*", "require": "public"}]}
    port = free_port()
    settings["public_url"] = f"https://{PORTAL}:{port}"
    both = {f"server_name {APP};": f"server_name {APP} {SISTER};"}
    with application() as inner:
        live = deploy("", users=[config_user()], routes=[{}], **settings)
        folder = tmp_path_factory.mktemp("nginx")
        with asking("nginx", folder, live, inner, both, port) as built:
            yield built


def test_one_login_and_one_logout_hold_for_every_host(browser: Browser, front: Asking) -> None:
    def at(host: str, path: str) -> str:
        return f"https://{host}:{front.port}{path}"

    context = browser.new_context(ignore_https_errors=True, locale="en-GB")
    portal = at(PORTAL, "/")
    page = context.new_page()
    page.goto(at(APP, "/one?x=1"))
    expect(page).to_have_url(re.compile(re.escape(f"{portal}.doorward/login?rd=")))
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page).to_have_url(at(APP, "/one?x=1"))
    expect(page.locator("body")).to_have_text("ok")
    page.goto(at(SISTER, "/two"))
    expect(page).to_have_url(at(SISTER, "/two"))
    assert values_of(front.inner.origin.heads[-1], b"remote-user") == [b"alice"]
    leave = quote(at(SISTER, "/public/"), safe="")
    page.goto(f"{portal}.doorward/logout?rd={leave}")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(at(SISTER, "/public/"))
    for host in (APP, SISTER):
        page.goto(at(host, "/three"))
        expect(page.get_by_role("button", name="Log in", exact=True)).to_be_visible()
    context.close()
