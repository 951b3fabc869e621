"""The commands about users, as a person or a script uses them, on live storage."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doorward.accounts.passwords.hashing import OURS, Passwords

from tests.support.command import Command, fits
from tests.support.waiting import PATIENCE_S

DOORWARD = (sys.executable, "-c", "from doorward.cli import main; main()")
SERVER_LIBRARIES = {"starlette", "uvicorn", "uvloop", "alembic", "jinja2", "httpx", "asyncpg"}


def test_a_user_is_added_with_every_option(doorward: Command) -> None:
    printed = doorward(
        "user", "add", "Älice", "--email", "alice@example.com", "--name", "Alice [b]A.[/b]",
        "--group", "wiki", "--group", "ops", "--role", "admin", "--super-admin",
        "--must-change-password", "--generate",
    )  # fmt: skip
    assert re.search(r"^password: \S{16,}$", printed, re.MULTILINE)
    user = doorward.users()["Älice"]
    assert user == {
        "username": "Älice",
        "id": user["id"],
        "name": "Alice [b]A.[/b]",
        "emails": [{"address": "alice@example.com", "verified": True}],
        "groups": ["wiki", "ops"],
        "roles": ["admin"],
        "super_admin": True,
        "source": "database",
        "active": True,
        "banned": False,
        "must_change_password": True,
        "created_at": user["created_at"],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(user["created_at"]))
    shown = json.loads(doorward("user", "show", "ALICE@example.com", "--json"))
    assert shown == user | {"second_factors": [], "recovery_codes": 0}
    shown = doorward("user", "show", "älice")
    assert "groups: wiki, ops\n" in shown and "emails: alice@example.com\n" in shown
    table = doorward("user", "list")
    assert "Alice [b]A.[/b]" in table and "must change password" in table and "Admin" in table


@pytest.mark.parametrize("words", [[], ["--remove-group", "opps"], ["--add-group", "ops"]])
def test_an_edit_that_changes_nothing_says_so(doorward: Command, words: list[str]) -> None:
    doorward("user", "add", "alice", "--group", "ops", "--generate")
    assert "nothing has changed" in doorward("user", "edit", "alice", *words)
    assert "alice changed" in doorward("user", "edit", "alice", "--remove-group", "ops")


def test_a_taken_name_is_reported_with_the_command_that_helps(doorward: Command) -> None:
    doorward("user", "add", "alice b", "--email", "alice@example.com", "--generate")
    add = ("user", "add", "--generate")
    for words, says in (
        (["Alice B"], "user alice b already exists; use `doorward user passwd 'alice b'`\n"),
        (["alice@example.com"], "alice@example.com already belongs to user alice b\n"),
        (["bob", "--email", "Alice@example.com"], "already belongs to user alice b\n"),
        (["ADMIN"], "user Admin already exists; it comes from the config file\n"),
        (["bob", "--email", "admin@example.com"], "already belongs to user Admin\n"),
    ):
        assert doorward(*add, *words, status=1).endswith(says)


def test_a_password_set_by_command_logs_in(doorward: Command) -> None:
    doorward("user", "add", "alice", "--password-stdin", stdin="first password \r\nsecond line\n")
    assert fits(doorward, "first password ")
    doorward("user", "passwd", "alice", "--password-stdin", stdin="next password")
    assert fits(doorward, "next password") and not fits(doorward, "first password ")
    printed = doorward("user", "passwd", "alice", "--generate", "--must-change")
    assert fits(doorward, printed.rpartition("password: ")[2].strip())
    assert doorward.users()["alice"]["must_change_password"] is True


def test_users_are_banned_disabled_and_restored(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    for command, key, value in (
        ("ban", "banned", True),
        ("unban", "banned", False),
        ("disable", "active", False),
        ("enable", "active", True),
    ):
        assert "alice" in doorward("user", command, "ALICE")
        assert doorward.users()["alice"][key] is value


def test_results_can_be_printed_as_json(doorward: Command) -> None:
    def told(*words: str) -> dict[str, object]:
        user: dict[str, object] = json.loads(doorward("user", *words, "--json"))
        assert user["username"] == "alice"
        return user

    made = told("add", "alice", "--generate")
    assert fits(doorward, str(made.pop("password"))) and made == doorward.users()["alice"]
    changed = told("passwd", "alice", "--generate", "--must-change")
    assert changed["must_change_password"] and fits(doorward, str(changed["password"]))
    assert told("edit", "alice", "--add-group", "wiki")["groups"] == ["wiki"]
    assert told("ban", "alice")["banned"] and not told("unban", "alice")["banned"]
    assert not told("disable", "alice")["active"] and told("enable", "alice")["active"]
    assert "password" not in told("unlock", "alice")
    assert told("show", "alice")["second_factors"] == []
    assert told("delete", "alice", "--yes") and "alice" not in doorward.users()


def test_nothing_is_deleted_without_a_terminal_or_yes(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    assert "--yes" in doorward("user", "delete", "alice", stdin="y\n", status=1)
    assert "alice" in doorward.users()
    doorward("user", "delete", "alice", "--yes")
    assert "alice" not in doorward.users()


def test_users_of_the_configuration_file_are_read_only(doorward: Command) -> None:
    for words in (
        ("passwd", "admin", "--generate"),
        ("disable", "admin"),
        ("enable", "admin"),
        ("delete", "admin", "--yes"),
    ):
        assert "configuration file" in doorward("user", *words, status=1)
    assert "already" in doorward("user", "add", "ADMIN", "--generate", status=1)
    doorward("user", "ban", "admin")
    assert doorward.users()["Admin"]["banned"] is True


@pytest.mark.parametrize(
    "words",
    [("show",), ("passwd", "--generate"), ("ban",), ("unban",), ("disable",), ("enable",),
     ("delete", "--yes")],
)  # fmt: skip
def test_an_unknown_user_is_reported(doorward: Command, words: tuple[str, ...]) -> None:
    command, *options = words
    assert "no user named bob" in doorward("user", command, "bob", *options, status=1)
    assert "no user named 'b\\nb'" in doorward("user", command, "b\nb", *options, status=1)


@pytest.mark.parametrize(
    ("words", "stdin", "status", "says"),
    [
        ((), "", 2, "--password-stdin or --generate"),
        (("--password-stdin", "--generate"), "x", 2, "not both"),
        (("--password-stdin",), "", 2, "no password on standard input"),
        (("--password-stdin",), "short\n", 1, "8 characters"),
        (("--password-stdin",), "a" * 9000, 1, "1,024 bytes"),
        (("--password-stdin", "--weak"), "short\n", 1, "8 characters"),
        (("--password-stdin",), "password1\n", 1, "--weak"),
        (("--password-stdin",), "alicealice\n", 1, "too easy to guess"),
        (("--generate", "--email", "nonsense"), "", 1, "not an e-mail address"),
        (("--generate", "--group", "a,b"), "", 1, "no comma"),
        (("--generate", "--name", "a\nb"), "", 1, "display name"),
    ],
)
def test_invalid_attributes_are_refused_in_one_sentence(
    doorward: Command, words: tuple[str, ...], stdin: str, status: int, says: str
) -> None:
    assert says in doorward("user", "add", "alice", *words, stdin=stdin, status=status)
    assert "alice" not in doorward.users()


def test_a_guessable_password_requires_the_option_weak(doorward: Command) -> None:
    doorward("user", "add", "alice", "--password-stdin", "--weak", stdin="password1\n")
    passwd = ("user", "passwd", "alice", "--password-stdin")
    said = doorward(*passwd, stdin="qwertyuiop\n", status=1)
    assert "too easy to guess" in said and "--weak" in said
    doorward(*passwd, "--weak", stdin="qwertyuiop\n")
    for weak in ([], ["--weak"]):
        same = doorward(*passwd, *weak, stdin="correct horse\n", status=1 if weak else 0)
    assert "your current password" in same and "--weak" not in same


def test_a_taken_or_impossible_name_is_refused(doorward: Command) -> None:
    doorward("user", "add", "alice", "--email", "alice@example.com", "--generate")
    for name in ("ALICE", "alice@example.com"):
        assert "already" in doorward("user", "add", name, "--generate", status=1)
    assert "already" in doorward("user", "add", " alice ", "--generate", status=1)
    assert "user name" in doorward("user", "add", "al\nice", "--generate", status=1)


def test_a_name_in_two_sources_is_a_configuration_error(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    doorward.config.write_text(doorward.config.read_text().replace("Admin", "Alice"))
    assert "'alice'" in doorward("user", "list", status=2)


def test_an_unreadable_database_is_reported_in_one_sentence(doorward: Command) -> None:
    doorward("user", "list")
    (doorward.config.parent / "data" / "doorward.db").write_text("no database" * 100)
    assert "restore a backup" in doorward("user", "list", status=2)


def test_a_missing_configuration_is_wrong_usage(tmp_path: Path) -> None:
    Command(tmp_path / "nothing.yaml")("user", "list", status=2)


@pytest.mark.outside
async def test_hash_password_prints_only_the_hash() -> None:
    command = [*DOORWARD, "hash-password"]
    done = subprocess.run(command, input="correct horse\n", capture_output=True, text=True)
    passwords = Passwords()
    assert done.returncode == 0 and done.stderr == ""
    assert (await passwords.verify(done.stdout.removesuffix("\n"), OURS, "correct horse")).ok
    passwords.close()
    weak = [*command, "--weak"]
    done = subprocess.run(weak, input="password1\n", capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("$argon2id$")
    for stdin, status in (("short\n", 1), ("password1\n", 1), ("", 2), ("caf\udce9 caf\udce9", 2)):
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, errors="surrogateescape"
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)


def on_a_terminal(*words: str, answers: list[tuple[bytes, bytes]]) -> tuple[int, str]:
    """Run a command on a terminal with these answers to its questions. Returns the exit status and
    the output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*DOORWARD, *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's error if the other side is closed
        while part := os.read(ours, 4096):
            shown += part
            if answers and shown.endswith(answers[0][0]):
                os.write(ours, answers.pop(0)[1])
    os.close(ours)
    return process.wait(PATIENCE_S), shown.decode()


@pytest.mark.outside
def test_on_a_terminal_the_password_is_asked_twice_and_not_shown(doorward: Command) -> None:
    config = ("-c", str(doorward.config))
    passwords = [(b"Password: ", b"correct horse\n"), (b"confirmation: ", b"correct horse\n")]
    status, shown = on_a_terminal("user", "add", "alice", *config, answers=passwords)
    assert status == 0 and "user alice added" in shown and "horse" not in shown


@pytest.mark.outside
def test_on_a_terminal_a_deletion_asks_for_confirmation(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    delete = ("user", "delete", "alice", "-c", str(doorward.config))
    status, shown = on_a_terminal(*delete, answers=[(b": ", b"n\n")])
    assert status == 1 and "Delete user alice?" in shown and "alice" in doorward.users()
    status, _ = on_a_terminal(*delete, answers=[(b": ", b"y\n")])
    assert status == 0 and "alice" not in doorward.users()


@pytest.mark.outside
@pytest.mark.parametrize(
    "words",
    [
        "user list --json",
        "user show alice",
        "user ban alice",
        "session list",
        "session revoke-all alice",
        "audit",
        "lockouts",
    ],
)
def test_a_command_does_not_import_the_servers_libraries(doorward: Command, words: str) -> None:
    """They take most of a second to load."""
    doorward("user", "add", "alice", "--generate")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *DOORWARD[1:], *words.split(), "-c",
         str(doorward.config)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "sqlalchemy" in imported and not imported & SERVER_LIBRARIES
