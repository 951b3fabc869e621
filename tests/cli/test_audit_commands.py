"""The commands about records and lock-outs on live storage."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions.sessions import ClientInfo, Lifetimes
from doorward.cli.main import app
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts
from typer.testing import CliRunner

from tests.support import sessions

DOORWARD = (sys.executable, "-c", "from doorward.cli import main; main()")
PASSWORD = "correct horse"
CONFIG = """
data_dir: data
routes: [{upstream: "http://127.0.0.1:9"}]
audit: {file: audit.jsonl}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "doorward.yaml"
    path.write_text(CONFIG)
    return path


def run(config: Path, *words: str, stdin: str = "", status: int = 0) -> str:
    """Standard output, or standard error if a status other than 0 is expected."""
    done = CliRunner().invoke(app, [*words, "-c", str(config)], input=stdin)
    assert done.exit_code == status, done.output
    return done.stderr if status else done.stdout


def add(config: Path, name: str = "alice") -> None:
    run(config, "user", "add", name, "--password-stdin", stdin=PASSWORD)


def log_in(config: Path, name: str, password: str, times: int = 1) -> None:
    """Log in from 192.0.2.1, as through the server."""

    async def logins() -> None:
        async with build_accounts(load_settings(config, {})) as accounts:
            for _ in range(times):
                try:
                    await sessions.log_in(
                        accounts.logins,
                        name,
                        password,
                        client=ClientInfo("192.0.2.1", "a browser"),
                        kind="page",
                        lifetimes=Lifetimes(None, 3600.0, 3600.0, None),
                        remember=False,
                        now=time.time(),
                    )
                except Refusal:
                    continue

    asyncio.run(logins())


def kinds(lines: str) -> list[str]:
    return [json.loads(line)["kind"] for line in lines.splitlines()]


def test_changes_by_commands_are_recorded_as_such(config: Path) -> None:
    add(config)
    run(config, "user", "ban", "alice")
    records = [json.loads(line) for line in run(config, "audit", "--json").splitlines()]
    assert [(r["kind"], r["actor"], r["subject"]) for r in records] == [
        ("user_added", "command", "alice"),
        ("user_banned", "command", "alice"),
    ]
    written = (config.parent / "audit.jsonl").read_text()
    assert [json.loads(line) for line in written.splitlines()] == records


def test_records_are_chosen_and_shown(config: Path) -> None:
    add(config)
    add(config, "bob [red]")
    log_in(config, "alice", "wrong")
    log_in(config, "alice", PASSWORD)
    every = run(config, "audit", "--json")
    assert kinds(every) == ["user_added", "user_added", "login_failed", "login"]
    assert kinds(run(config, "audit", "--json", "--user", "ALICE")) == [
        "user_added", "login_failed", "login",
    ]  # fmt: skip
    assert kinds(run(config, "audit", "--json", "--kind", "login")) == ["login"]
    assert kinds(run(config, "audit", "--json", "--since", "1h", "-n", "2")) == [
        "login_failed", "login",
    ]  # fmt: skip
    assert run(config, "audit", "--json", "--user", "nobody") == ""
    table = run(config, "audit")
    assert "bob [red] by command" in table and "192.0.2.1" in table and "password" in table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "yesterday"], "is not a duration; write it as 30s"),
        (["--kind", "gossip"], "gossip"),
    ],
)
def test_wrong_options_end_in_status_2(config: Path, words: list[str], said: str) -> None:
    assert said in run(config, "audit", *words, status=2)


@pytest.fixture
def following(config: Path) -> Iterator[subprocess.Popen[str]]:
    add(config)
    with subprocess.Popen(
        [*DOORWARD, "audit", "--follow", "--json", "--kind", "user_banned", "-c", str(config)],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


@pytest.mark.outside
def test_follow_shows_each_later_record_once(
    config: Path, following: subprocess.Popen[str]
) -> None:
    assert following.stdout is not None
    for _ in range(2):
        run(config, "user", "ban", "alice")
        assert json.loads(following.stdout.readline())["subject"] == "alice"
        run(config, "user", "unban", "alice")
    following.terminate()
    assert following.stdout.read() == ""


def test_lock_outs_are_shown_and_lifted(config: Path) -> None:
    add(config)
    assert json.loads(run(config, "lockouts", "--json")) == []
    log_in(config, "alice", "wrong", 6)
    log_in(config, "nobody", "wrong", 6)
    (alice, nobody) = json.loads(run(config, "lockouts", "--json"))
    assert (alice["scope"], alice["user"], alice["network"]) == ("user", "alice", "192.0.2.1/32")
    assert (nobody["scope"], nobody["user"]) == ("user", None)
    table = run(config, "lockouts")
    assert "192.0.2.1/32" in table and "alice" in table and "no such user" in table
    assert run(config, "user", "unlock", "ALICE") == "user alice unlocked\n"
    assert len(json.loads(run(config, "lockouts", "--json"))) == 1
    log_in(config, "alice", PASSWORD)
    assert kinds(run(config, "audit", "--json", "-n", "2")) == ["unlocked", "login"]


def test_unlocking_an_unknown_user_ends_with_status_1(config: Path) -> None:
    assert "no user" in run(config, "user", "unlock", "nobody", status=1)


def test_a_lock_out_of_a_network_is_lifted(config: Path) -> None:
    config.write_text(CONFIG + "regulation: {network_attempts: 2}\n")
    log_in(config, "nobody", "wrong", 2)
    (lock,) = json.loads(run(config, "lockouts", "--json"))
    assert (lock["scope"], lock["user"], lock["network"]) == ("network", None, "192.0.2.1/32")
    assert run(config, "lockouts", "--lift", lock["network"]) == ("network 192.0.2.1/32 unlocked\n")
    assert "was not locked out" in run(config, "lockouts", "--lift", "192.0.2.1")
    assert "not an address" in run(config, "lockouts", "--lift", "nowhere", status=2)


def test_without_regulation_nobody_is_locked_out(config: Path) -> None:
    config.write_text(CONFIG + "regulation: {enabled: false}\n")
    log_in(config, "nobody", "wrong", 7)
    assert json.loads(run(config, "lockouts", "--json")) == []


def test_commands_write_no_audit_lines_to_standard_output(config: Path) -> None:
    config.write_text(CONFIG.replace("audit.jsonl", "stdout"))
    assert run(config, "user", "add", "alice", "--password-stdin", stdin=PASSWORD) == (
        "user alice added\n"
    )
    assert kinds(run(config, "audit", "--json")) == ["user_added"]


def test_a_file_that_cannot_be_written_ends_a_command_in_status_2(config: Path) -> None:
    config.write_text(CONFIG.replace("audit.jsonl", "missing/audit.jsonl"))
    assert "audit.file" in run(config, "user", "list", status=2)
