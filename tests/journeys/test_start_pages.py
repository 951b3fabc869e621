"""The commands of the start pages, run in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.journeys.test_demo import demo
from tests.support.handbook import DOCS, ROOT, list_blocks
from tests.support.live import free_port
from tests.support.programs import running, wait_until_answered
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.outside

# The directory of the installed commands, as in an activated virtual environment.
PROGRAMS = str(Path(sys.executable).parent)


class Stranger:
    """A new user at a shell in an empty directory, with the addresses on the pages replaced."""

    def __init__(self, folder: Path, **replaced: str) -> None:
        self.folder = folder
        self.replaced = {word.replace("_", " "): value for word, value in replaced.items()}
        self.port, self.upstream = free_port(), ""

    def given(self, text: str) -> str:
        for word, value in self.replaced.items():
            text = text.replace(word, value)
        text = text.replace("http://127.0.0.1:9000", self.upstream)
        return text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")

    @property
    def environment(self) -> dict[str, str]:
        mine = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "NO_PROXY": "*"}
        here = {"DOORWARD_LISTEN": f"127.0.0.1:{self.port}", "DOORWARD_ADMIN_LISTEN": "off"}
        return os.environ | mine | here

    def types(self, text: str) -> str:
        """Run a command; its output. The exit status must be 0."""
        done = subprocess.run(
            ["bash", "-euc", self.given(text)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def serves(self) -> Iterator[None]:
        log = self.folder / "log"
        command = [f"{PROGRAMS}/doorward", "serve"]
        with running(command, log, self.folder, self.environment) as child:
            wait_until_answered(f"http://127.0.0.1:{self.port}/.doorward/healthz", child, log)
            yield


@contextmanager
def guestbook() -> Iterator[str]:
    """The address of an application without a login."""
    command = [sys.executable, "-m", "doorward.cli.guestbook", "--port", "0", "--with-parent"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as application:
        assert application.stdout is not None and application.stdin is not None
        yield application.stdout.readline().removeprefix("listening on ").strip()
        application.stdin.close()


def shell(page: Path) -> list[str]:
    return [b.text for b in list_blocks(page) if b.language == "sh" and not b.reason]


def test_the_page_of_the_demo(tmp_path: Path) -> None:
    start, *rest = shell(DOCS / "start" / "demo.md")
    assert start == "make demo\n"
    with demo(tmp_path) as started:
        told = {"ADDRESS": started.address, "USER": started.told["user"]}
        stranger = Stranger(tmp_path, **told, PASSWORD=started.told["password"])
        refused, greeted = map(stranger.types, rest)
    assert "401 Unauthorized" in refused and "Hello, <strong>demo</strong>" in greeted


def test_the_page_for_a_users_own_application(tmp_path: Path) -> None:
    page = DOCS / "start" / "application.md"
    (configuration,) = (b.text for b in list_blocks(page) if b.language == "yaml")
    check, add, serve, ask = shell(page)
    assert serve == "doorward serve\n"
    play(tmp_path, configuration, [check, add], ask)


def test_the_lines_of_the_readme(tmp_path: Path) -> None:
    """The section "In front of your application, in five lines"."""
    text = (ROOT / "README.md").read_text().partition("## In front of your application")[2]
    block = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)[0]
    lines = [line for line in block.splitlines() if not line.startswith("pip install .")]
    assert lines[-1].startswith("doorward serve ")
    play(tmp_path, None, lines[:-1], "curl -i http://127.0.0.1:8080/")


def play(folder: Path, configuration: str | None, commands: list[str], ask: str) -> None:
    """Write the file, run the commands, serve, and log in with the printed password."""
    stranger = Stranger(folder)
    with ExitStack() as stack:
        stranger.upstream = stack.enter_context(guestbook())
        if configuration is not None:
            (folder / "doorward.yaml").write_text(stranger.given(configuration))
        printed = "".join(map(stranger.types, commands))
        assert yaml.safe_load((folder / "doorward.yaml").read_text())
        stack.enter_context(stranger.serves())
        assert "401 Unauthorized" in stranger.types(ask)
        password = printed.rpartition("password: ")[2].strip()
        address = f"http://127.0.0.1:{stranger.port}"
        with httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE_S) as person:
            form = {"username": "alice", "password": password}
            login = person.post("/.doorward/login", data=form, headers={"origin": address})
            assert login.status_code == 303
            assert "Hello, <strong>alice</strong>" in person.get("/").text
