"""A typical PHP application, which trusts `$_SERVER`.

CGI folds what clients send into one namespace (`Remote-User`, `remote_user` and `Remote.User` are
all `HTTP_REMOTE_USER`), so a header that Doorward forwards under any of these spellings would
become the user's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.corpora import corpus
from tests.support.lighttpd import serve_php
from tests.support.live import Live, config_user, free_port
from tests.support.programs import running, wait_until_answered

pytestmark = pytest.mark.outside

PAGE = "<?php header('Content-Type: application/json'); echo json_encode($_SERVER);\n"
NAMES = [name.decode() for name in corpus("identity_headers.txt")]


@dataclass(frozen=True)
class House:
    live: Live
    cookie: str

    def read(self, target: str, *lines: str) -> dict[str, str]:
        """`$_SERVER` for a request."""
        answer = self.live.get(target, *lines)
        assert answer.status == 200, answer
        found: dict[str, str] = json.loads(answer.body)
        return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("php"), free_port()
    (folder / "index.php").write_text(PAGE)
    upstream, log = f"http://127.0.0.1:{port}", folder / "lighttpd.log"
    alice = config_user(groups=["staff"], email="alice@example.com") | {"name": "Alice"}
    with ExitStack() as stack:
        child = stack.enter_context(running(serve_php(folder, port), log, cwd=folder))
        wait_until_answered(upstream, child, log)
        live = Live(
            Path(folder / "doorward"),
            upstream,
            users=[alice],
            access={"rules": [{"path": "/public/*", "require": "public"}]},
        )
        stack.enter_context(live)
        yield House(live, live.login())


def test_the_application_knows_its_user(house: House) -> None:
    server = house.read("/wiki/page?x=1", house.cookie)
    shown = {
        name: server.get(f"HTTP_REMOTE_{name}") for name in ("USER", "GROUPS", "NAME", "EMAIL")
    }
    assert shown == {
        "USER": "alice",
        "GROUPS": "staff",
        "NAME": "Alice",
        "EMAIL": "alice@example.com",
    }
    assert server["REQUEST_URI"] == "/wiki/page?x=1"
    assert "doorward" not in server.get("HTTP_COOKIE", "")
    assert house.live.get("/wiki/page").status == 401


@pytest.mark.parametrize("name", NAMES)
def test_a_client_cannot_forge_the_user(house: House, name: str) -> None:
    lines = (f"{name}: mallory", f"{name.lower()}: mallory", f"{name.upper()}: mallory")
    for target, who in (("/wiki", (house.cookie,)), ("/public/page", ())):
        answer = house.live.get(target, *who, *lines)
        if answer.status == 400:
            continue  # a name that Doorward reads in only one way
        server = json.loads(answer.body)
        forged = {name: value for name, value in server.items() if "mallory" in str(value)}
        assert not forged
        assert server.get("HTTP_REMOTE_USER") == ("alice" if who else None)


@pytest.mark.parametrize("name", ["Connection: Remote-User", "TE: Remote-User"])
def test_a_client_cannot_remove_the_user(house: House, name: str) -> None:
    """CVE-2022-31813, CVE-2024-45410."""
    assert house.read("/wiki", house.cookie, name)["HTTP_REMOTE_USER"] == "alice"
