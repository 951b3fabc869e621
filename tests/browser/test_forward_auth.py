"""One login and one logout over hosts of two domains, behind nginx that asks, in a real browser."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
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

SISTER, OTHER = "wiki.example.com", "other.example.org"
RESOLVED = "MAP *.example.com 127.0.0.1, MAP *.example.org 127.0.0.1"
# What a host of another domain needs in addition to the example.
OURS = """
  location /.doorward/ {
    proxy_pass http://127.0.0.1:8080;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header Forwarded "";
  }
"""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium; apt-get install chromium brings it"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for which every host of the domain is this machine."""
    arguments = ["--no-sandbox", f"--host-resolver-rules={RESOLVED}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, deploy: Start) -> Iterator[Asking]:
    find_binary(PROXIES["nginx"])
    settings: dict[str, Any] = yaml.safe_load((EXAMPLES / "doorward.yaml").read_text())
    del settings["listen"]
    settings["forward_auth"]["hosts"] = [APP, SISTER, OTHER]
    settings["handover"] = {"hosts": [OTHER]}
    settings["access"] = {"rules": [{"path": "/public/*", "require": "public"}]}
    port = free_port()
    settings["public_url"] = f"https://{PORTAL}:{port}"
    with application() as inner:
        live = deploy("", users=[config_user()], routes=[{}], **settings)
        ours = OURS.replace("8080", str(live.port))
        all_hosts = {f"server_name {APP};": f"server_name {APP} {SISTER} {OTHER};{ours}"}
        folder = tmp_path_factory.mktemp("nginx")
        with asking("nginx", folder, live, inner, all_hosts, port) as built:
            yield built


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("leaves", [PORTAL, OTHER])
def test_one_login_and_one_logout_hold_for_every_host(
    browser: Browser, front: Asking, script: bool, leaves: str, tmp_path: Path
) -> None:
    def at(host: str, path: str) -> str:
        return f"https://{host}:{front.port}{path}"

    context = browser.new_context(
        ignore_https_errors=True, locale="en-GB", java_script_enabled=script
    )
    portal = at(PORTAL, "/")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
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

    page.goto(at(OTHER, "/three?y=2"))
    if not script:
        expect(page.get_by_role("heading", name=f"Continue to {OTHER}")).to_be_visible()
        page.screenshot(path=os.environ.get("HANDOVER_PICTURE", tmp_path / "handover.png"))
        page.get_by_role("button", name="Continue").click()
    expect(page).to_have_url(at(OTHER, "/three?y=2"))
    head = front.inner.origin.heads[-1]
    assert values_of(head, b"remote-user") == [b"alice"]
    cookies = {one["name"]: one for one in context.cookies([at(OTHER, "/")])}
    (name,) = cookies
    assert name.startswith("__Host-doorward") and name.endswith("-host")
    cookie = cookies[name]
    assert (cookie["secure"], cookie["httpOnly"], cookie["domain"]) == (True, True, OTHER)
    secret = cookie["value"].partition(".")[0]
    assert not [url for url in asked if secret in url or "code=" in url]

    leave = quote(at(SISTER, "/public/"), safe="")
    page.goto(at(leaves, f"/.doorward/logout?rd={leave}"))
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(at(SISTER, "/public/"))
    for host in (APP, SISTER, OTHER):
        page.goto(at(host, "/four"))
        expect(page.get_by_role("button", name="Log in", exact=True)).to_be_visible()
    context.close()
