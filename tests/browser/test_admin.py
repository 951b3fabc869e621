"""Administration and forgotten passwords in a real browser, with their effects in another one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as POLICY
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope
from playwright.sync_api import Browser, Page, expect

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
from tests.support.live import PASSWORD, Live, free_port
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no browser; apt-get install chromium brings one"
)

HOSTILE = "<img src=x onerror=alert(1)>"


class Sink:
    """A mail server that keeps mails."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        mail = BytesParser(policy=POLICY).parsebytes(envelope.content)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    def link(self) -> str:
        """The link in the newest mail."""
        until(lambda: self.mails, "for a mail")
        body = self.mails.pop().get_body(("plain",))
        assert body is not None
        found = re.search(r"https?://\S+", body.get_content())
        assert found is not None
        return found[0]


@pytest.fixture(scope="module")
def sink() -> Iterator[tuple[Sink, int]]:
    handler = Sink()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield handler, controller.port
    controller.stop()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, sink: tuple[Sink, int]) -> Iterator[Live]:
    values = {
        "email": {"smtp": f"smtp://127.0.0.1:{sink[1]}", "from": "door@example.com"},
        "log": {"access": True},
    }
    with running(tmp_path_factory.mktemp("admin"), **values) as live:
        yield live


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_an_admin_bans_a_user_in_another_browser(
    browser: Browser, live: Live, script: bool
) -> None:
    admin, name = f"boss-{script}", f"bob-{script}"
    live.add_user(admin, "--role", "admin")
    live.add_user(name, "--email", f"{name}@example.com")
    options = {"java_script_enabled": script}
    page_of_application = f"http://{live.host}/wiki"
    with visiting(browser, live, **options) as boss, visiting(browser, live, **options) as bob:
        bob.goto(page_of_application)
        log_in(bob, name)
        expect(bob.get_by_role("heading", name=f"Hello, {name}")).to_be_visible()

        # A user without a factor has to set one up, and then continues.
        boss.goto(f"http://{live.host}/.doorward/account")
        log_in(boss, admin)
        boss.get_by_role("link", name="Administration").click()
        enrol(boss)
        boss.get_by_role("link", name="I've saved them").click()
        expect(boss.get_by_role("heading", name="Users")).to_be_visible()

        boss.get_by_label("User name or e-mail").fill(name)
        boss.get_by_role("button", name="Search").click()
        boss.get_by_role("link", name=name).click()
        expect(boss.get_by_role("heading", name=name)).to_be_visible()
        boss.get_by_role("button", name="Ban user").click()
        expect(boss.get_by_role("status")).to_contain_text("all sessions are suspended")

        bob.goto(page_of_application)
        expect(bob.get_by_role("heading", name="Log in")).to_be_visible()
        log_in(bob, name)
        expect(bob.get_by_role("alert")).to_be_visible()

        boss.get_by_role("link", name="Banned").click()
        expect(boss.get_by_role("link", name=name)).to_be_visible()
        boss.get_by_role("link", name=name).click()
        boss.get_by_role("button", name="Lift ban").click()
        expect(boss.get_by_role("status")).to_contain_text("The ban is lifted")
        bob.goto(page_of_application)
        expect(bob.get_by_role("heading", name=f"Hello, {name}")).to_be_visible()

        boss.get_by_role("link", name="Records about this user").click()
        expect(boss.get_by_text(f"{name} by {admin}").first).to_be_visible()

        # A user is added, and a session is ended.
        boss.get_by_role("link", name="Users").click()
        boss.get_by_role("link", name="Add user").click()
        boss.get_by_label("User name").fill(f"new-{script}")
        boss.get_by_role("button", name="Add user").click()
        made = boss.locator("#password").inner_text()
        boss.get_by_role("link", name="I've passed it on").click()
        boss.get_by_role("link", name="Sessions").click()
        boss.get_by_role("link", name=name).first.click()
        boss.get_by_role("button", name="End all sessions").click()
        expect(boss.get_by_text("is not logged in anywhere")).to_be_visible()
        bob.goto(page_of_application)
        log_in(bob, f"new-{script}", made)
        bob.get_by_label("Password", exact=True).fill(made)
        bob.get_by_label("New password").fill(NEW)
        bob.get_by_role("button", name="Log in").click()
        expect(bob.get_by_role("heading", name=f"Hello, new-{script}")).to_be_visible()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_forgotten_password_is_reset_by_mail(
    browser: Browser, live: Live, sink: tuple[Sink, int], script: bool
) -> None:
    name = f"fay-{script}"
    live.add_user(name, "--email", f"{name}@example.com")
    strict = f"http://{live.host}/strict/"
    options = {"java_script_enabled": script}
    with visiting(browser, live, **options) as old, visiting(browser, live, **options) as page:
        old.goto(strict)
        log_in(old, name)
        secret, _ = enrol(old)

        referers: list[str] = []
        page.on("request", lambda asked: referers.append(asked.headers.get("referer", "")))
        page.goto(strict)
        page.get_by_role("link", name="Forgotten your password?").click()
        page.get_by_label("User name or e-mail").fill(f"{name}@example.com")
        page.get_by_role("button", name="Send a link").click()
        expect(page.get_by_role("status")).to_contain_text("sent a link")
        link = sink[0].link()
        assert link.startswith(f"http://{live.host}/.doorward/reset?token=")
        page.goto(link)
        page.get_by_label("New password").fill(NEW)
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_role("status")).to_contain_text("Your password is changed")

        old.goto(strict)
        expect(old.get_by_role("heading", name="Log in")).to_be_visible()

        # The second factor is still required.
        page.get_by_role("link", name="Log in").click()
        log_in(page, name, PASSWORD)
        expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
        log_in(page, name, NEW)
        expect(page.get_by_role("heading", name="Enter a code")).to_be_visible()
        page.get_by_role("textbox", name="Code").fill(code_now(secret, 1))
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", name=f"Hello, {name}")).to_be_visible()

        page.goto(link)
        expect(page.get_by_role("alert")).to_contain_text("no longer valid")
        page.get_by_role("link", name="Ask for another link").click()
        token = link.partition("token=")[2]
        assert not [one for one in referers if token in one]
        live.until_it_says("/.doorward/reset?")
        assert token not in live.log.read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_admin_pages_are_accessible(
    browser: Browser, live: Live, axe: str, scheme: str
) -> None:
    admin = f"ada-{scheme}"
    live.add_user(admin, "--super-admin")
    if scheme == "light":
        live.add_user(EMOJI)
        live.add_user(HOSTILE, "--name", HOSTILE, "--group", HOSTILE)
        live.login(EMOJI)
        live.login(HOSTILE)
    base = f"http://{live.host}/.doorward"
    faults: list[str] = []

    def look(page: Page) -> None:
        page.evaluate(axe)
        for one in page.evaluate("axe.run()")["violations"]:
            places = json.dumps([node["target"] for node in one["nodes"]])
            faults.append(f"{page.url} {one['impact']} {one['id']} {places}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url

    options = {"color_scheme": scheme, "viewport": PHONE, "bypass_csp": True}
    with visiting(browser, live, **options) as page:
        page.goto(f"{base}/forgotten")
        look(page)
        page.goto(f"{base}/reset?token=x")
        look(page)
        page.goto(f"{base}/login?rd=/.doorward/admin")
        log_in(page, admin)
        enrol(page)
        page.get_by_role("link", name="I've saved them").click()
        for path in ("", "/banned", "/sessions", "/tokens", "/lockouts", "/records", "/new-user"):
            page.goto(f"{base}/admin{path}")
            look(page)
        for name in (EMOJI, HOSTILE):
            page.goto(f"{base}/admin")
            page.get_by_role("link", name=name[:20]).first.click()
            look(page)
        assert page.locator("img[src=x]").count() == 0
    assert not faults, "\n".join(faults)
