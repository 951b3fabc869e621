"""The login form of a framework, filled in by a real Doorward in front of a real application."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import Live, config_user, free_port
from tests.support.programs import running, wait_until_answered

pytestmark = pytest.mark.outside

PASSWORD = "geheim&=ü +"
DJANGO = Path(__file__).parent / "forms" / "django_application.py"
FORM: dict[str, Any] = {
    "url": "/login/",
    "fields": {"username": "{username}", "password": "{password}"},
    "success": {"location": "/home"},
    "username": "alice",
}


class Shop:
    """Doorward in front of the application. Clients come through a trusted proxy."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder, self.upstream = folder, upstream

    def serve(self, stack: ExitStack, name: str, **form: Any) -> Live:
        """A deployment that fills in the form with what is given."""
        folder = self.folder / name
        secret = self.folder / "secret"
        route = {
            "upstream": self.upstream,
            "credentials": {"form": FORM | {"password_file": str(secret)} | form},
        }
        return stack.enter_context(
            Live(
                folder,
                self.upstream,
                routes=[route],
                users=[config_user()],
                trusted_proxies=["127.0.0.1"],
            )
        )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder, port = tmp_path_factory.mktemp("django"), free_port()
    secret = folder / "secret"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    log = folder / "application.log"
    command = [sys.executable, os.fspath(DJANGO), str(port), PASSWORD, os.fspath(folder)]
    with running(command, log, cwd=folder) as child:
        upstream = f"http://127.0.0.1:{port}"
        wait_until_answered(upstream, child, log)
        yield Shop(folder, upstream)


def test_a_form_with_a_token_logs_in_once(shop: Shop) -> None:
    with ExitStack() as stack:
        live = shop.serve(stack, "filled", page="/login/")
        cookie = live.login()
        first, again = (live.get("/home", cookie) for _ in range(2))
        assert first.status == 200 and first.body.startswith(b"alice:"), live.log.read_text()
        assert again.body == first.body, "the same session of the application"
        other = live.get("/home", live.login())
        assert other.body.startswith(b"alice:") and other.body != first.body


def test_a_form_is_sent_as_over_https_if_the_client_came_so(shop: Shop) -> None:
    """Django then refuses a form whose Referer or Origin is not the requested site."""
    with ExitStack() as stack:
        live = shop.serve(stack, "https", page="/login/")
        answer = live.get("/home", live.login(), "X-Forwarded-Proto: https")
        assert answer.body.startswith(b"alice:"), live.log.read_text()


def test_a_page_may_redirect_to_the_form(shop: Shop) -> None:
    with ExitStack() as stack:
        live = shop.serve(stack, "redirected", page="/home")
        assert live.get("/home", live.login()).body.startswith(b"alice:")


def test_without_its_page_the_form_is_refused(shop: Shop) -> None:
    """Or the logins above would show nothing."""
    with ExitStack() as stack:
        live = shop.serve(stack, "blind")
        assert live.get("/home", live.login()).status == 502
        live.until_it_says("its status is 403; if the form has hidden fields, set page")
