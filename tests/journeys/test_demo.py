"""`doorward demo` from a user's view: five lines, a guest book, nothing left behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import PATIENCE_S, until

DOORWARD = [str(Path(sys.executable).with_name("doorward")), "demo"]
BROWSER = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-site": "same-origin"}


class Demo:
    """A running demonstration and what it printed."""

    def __init__(self, process: subprocess.Popen[str], temporary: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.temporary = temporary
        self.told = dict(process.stdout.readline().strip().split(": ") for _ in range(5))
        self.lines: list[str] = []
        for line in process.stdout:
            self.lines.append(line)
            if line.startswith("Ctrl-C"):
                break

    @property
    def address(self) -> str:
        return self.told["address"]

    def client(self, **more: object) -> httpx.Client:
        return httpx.Client(base_url=self.address, trust_env=False, timeout=PATIENCE_S, **more)  # type: ignore[arg-type]

    def login(self) -> dict[str, str]:
        return {"username": self.told["user"], "password": self.told["password"]}


@contextmanager
def demo(temporary: Path, *options: str) -> Iterator[Demo]:
    environ = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        [*DOORWARD, *options],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=temporary,
    ) as process:
        try:
            yield Demo(process, temporary)
        finally:
            process.kill()


@pytest.mark.parametrize(
    "words", [("--listen", "8080"), ("--listen", ""), ("--upstream", "ftp://host")], ids=str
)
def test_an_invalid_option_is_reported_by_its_name(words: tuple[str, str]) -> None:
    done = subprocess.run([*DOORWARD, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith(f"{words[0]}: ")
    assert "write it as" in done.stderr and "yaml" not in done.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("demo")) as started:
        yield started


def test_it_prints_address_credentials_and_pages_to_try(running: Demo) -> None:
    assert list(running.told) == ["address", "user", "password", "account", "administration"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", running.address)
    assert len(running.told["password"]) >= 16


def test_the_curl_lines_it_prints_work(running: Demo) -> None:
    script = "".join(running.lines).replace("curl ", "curl --silent --show-error --noproxy '*' ")
    commands = "\n".join(line for line in script.splitlines() if line.startswith("  "))
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, logged_in, greeted, added = (
        done.stdout.index(said)
        for said in ("401 Unauthorized", '"maxAge":', "Hello, <strong>demo</strong>", "password: ")
    )
    assert refused < logged_in < greeted < added


def test_a_browser_logs_in_and_reaches_the_guest_book(running: Demo) -> None:
    with running.client(headers=BROWSER, follow_redirects=True) as browser:
        page = browser.get("/")
        assert page.url.path == "/.doorward/login"
        done = browser.post(page.url, data=running.login())
        assert done.url.path == "/" and "Hello, <strong>demo</strong>" in done.text
        signed = browser.post("/", data={"message": "It works."})
        assert "It works." in signed.text
        out = browser.post("/.doorward/logout")
        assert out.url.path == "/.doorward/login"
        assert browser.get("/").url.path == "/.doorward/login"


def test_the_printed_account_and_administration_addresses_work(running: Demo) -> None:
    with running.client(headers=BROWSER, follow_redirects=True) as browser:
        browser.post(running.address + "/.doorward/login", data=running.login())
        for name in ("account", "administration"):  # the latter requires a fresh factor first
            page = browser.get(running.told[name])
            assert page.status_code == 200 and page.url.path != "/.doorward/login", name


def test_it_can_run_in_front_of_another_application(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "doorward.cli.guestbook", "--port", "0", "--with-parent"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as application:
        assert application.stdout is not None and application.stdin is not None
        url = application.stdout.readline().removeprefix("listening on ").strip()
        with demo(tmp_path, "--upstream", url, "--listen", "127.0.0.1:0") as started:
            with started.client() as script:
                assert script.post("/xhr/login", json=started.login()).status_code == 200
                assert "Hello, <strong>demo</strong>" in script.get("/").text
        application.stdin.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly_and_nothing_is_left(tmp_path: Path, number: int) -> None:
    with demo(tmp_path) as started:
        assert [path.name[:13] for path in tmp_path.iterdir()] == ["doorward-demo"]
        started.process.send_signal(number)
        rest, errors = started.process.communicate(timeout=PATIENCE_S)
    assert (started.process.returncode, rest.strip(), errors) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_hang_up_is_ignored_and_reported(tmp_path: Path) -> None:
    with demo(tmp_path) as started:
        started.process.send_signal(signal.SIGHUP)
        assert started.process.stderr is not None
        assert "signal_ignored" in started.process.stderr.readline()
        with started.client() as client:
            assert client.get("/.doorward/healthz").status_code == 200
        started.process.send_signal(signal.SIGTERM)
        started.process.communicate(timeout=PATIENCE_S)
    assert started.process.returncode == 0


def test_it_ends_when_its_terminal_closes(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TMPDIR"] = str(tmp_path)
        os.chdir(tmp_path)
        os.execv(DOORWARD[0], DOORWARD)  # noqa: S606 - as a shell in this terminal would
    said = b""
    while b"Ctrl-C stops" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    until(lambda: os.waitpid(process, os.WNOHANG)[0], "for the demonstration to end")
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_upstream_is_reported_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DOORWARD, "--upstream", "example.com"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "upstream" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
