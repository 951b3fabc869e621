"""The commands that list, rotate and retire keys, as a person or a script uses them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from doorward.cli.keys import _format_age
from doorward.cli.main import app
from typer.testing import CliRunner

from tests.cli.test_session_commands import opened
from tests.support.command import Command


def rows(doorward: Command) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(doorward("keys", "list", "--json"))
    return found


def states(doorward: Command) -> dict[tuple[str, str], str]:
    return {(row["id"], row["purpose"]): row["state"] for row in rows(doorward)}


def secrets_of(folder: Path) -> list[str]:
    """Every key, as it is in the file and as hexadecimal digits."""
    lines = [path.read_text().strip() for path in folder.glob("doorward.key*")]
    keys = [line for line in lines if line and "{" not in line]
    return [*keys, *(base64.urlsafe_b64decode(key).hex() for key in keys)]


def test_the_list_shows_the_purpose_of_each_key_but_no_secret(doorward: Command) -> None:
    (cookies, secrets) = rows(doorward)
    assert (cookies["purpose"], secrets["purpose"]) == ("cookies", "secrets")
    assert cookies["id"] == secrets["id"] and cookies["state"] == "signs"
    assert cookies["age_s"] >= 0 and cookies["file"].endswith("doorward.key")
    text = doorward("keys", "list") + doorward("keys", "list", "--json")
    folder = doorward.config.parent / "data"
    assert secrets_of(folder) and not [key for key in secrets_of(folder) if key in text]


def test_the_list_shows_the_key_ids_of_assertions(doorward: Command) -> None:
    text = doorward.config.read_text().replace('9"}', '9", assertion: {audience: wiki}}')
    doorward.config.write_text(text)
    (row,) = [row for row in rows(doorward) if row["purpose"] == "assertions"]
    assert list(row["kids"]) == ["ES256"] and len(row["kids"]["ES256"]) == 43


def test_a_rotation_keeps_the_old_key_and_names_the_next_step(doorward: Command) -> None:
    (old, _) = rows(doorward)
    said = doorward("keys", "rotate")
    assert f"doorward keys retire {old['id']}" in said
    found = rows(doorward)
    assert [row["state"] for row in found] == ["verifies"] * 2 + ["signs"] * 2
    assert found[0]["signs_from"] is not None and found[2]["signs_from"] is None
    told = json.loads(doorward("keys", "rotate", "--in", "1h", "--json"))
    assert set(told) == {"id", "file", "signs_from", "signs_assertions_from", "former"}
    assert "signs from" in doorward("keys", "list")
    kinds = [json.loads(line)["kind"] for line in doorward("audit", "--json").splitlines()]
    assert kinds.count("key_added") == 2


def test_a_leaked_key_no_longer_signs_and_its_sessions_end(doorward: Command) -> None:
    opened(doorward.config, "Admin", count=3)
    (old, _) = rows(doorward)
    doorward("keys", "rotate", "--leaked")
    assert {states(doorward)[old["id"], "cookies"]} == {"verifies"}
    said = doorward("keys", "retire", old["id"], status=1)
    assert "is needed for the cookies of 3 sessions, until 2" in said and "--force" in said
    told = json.loads(doorward("keys", "retire", old["id"][:6], "--force", "--json"))
    assert told == {"id": old["id"], "sessions": 3, "tokens": 0, "file": None}
    assert states(doorward)[old["id"], "cookies"] == "retired"
    assert "retired (" in doorward("keys", "list")
    assert json.loads(doorward("session", "list", "--json")) == []


def test_an_unused_new_key_is_retired_at_once(doorward: Command) -> None:
    added = json.loads(doorward("keys", "rotate", "--in", "1h", "--json"))
    assert doorward("keys", "retire", added["id"]) == f"key {added['id']} retired\n"


def test_the_key_that_signs_is_not_retired(doorward: Command) -> None:
    (old, _) = rows(doorward)
    for more in ([], ["--force"]):
        said = doorward("keys", "retire", old["id"], *more, status=1)
        assert "make a new one first: doorward keys rotate" in said
    doorward("keys", "rotate")
    said = doorward("keys", "retire", old["id"], "--force", status=1)
    assert "until 2" in said and "doorward keys rotate --leaked" in said


@pytest.mark.parametrize("words", ["keys list", "keys rotate", "user list", "session list"])
def test_no_command_replaces_a_lost_key(doorward: Command, words: str) -> None:
    """A server that still runs would take the new one, and log everybody out."""
    opened(doorward.config, "Admin", count=2)
    key = doorward.config.parent / "data" / "doorward.key"
    lost = key.rename(key.with_name("aside"))
    said = doorward(*words.split(), status=2)
    assert f"{key} is missing, and the database needs it for 2 sessions; restore it" in said
    assert "doorward.key" not in [path.name for path in key.parent.iterdir()]
    lost.rename(key)
    doorward(*words.split())


@pytest.mark.outside  # the doctor looks for the upstream
def test_all_commands_report_a_lost_key_as_a_start_does(doorward: Command) -> None:
    opened(doorward.config, "Admin", count=2)
    folder = doorward.config.parent / "data"
    (folder / "doorward.key").unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = doorward("config", "check", status=2)
    assert "doorward.key is missing, and the database needs it for 2 sessions; restore it" in said
    words = ["doctor", "--json", "-c", str(doorward.config)]
    checks = {each["check"]: each for each in json.loads(CliRunner().invoke(app, words).stdout)}
    (finding,) = checks["keys"]["findings"]
    assert f"{finding['message']}; {finding['advice']}" == said.strip()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert doorward("keys", "list", status=2) == said


@pytest.mark.outside
def test_a_check_warns_if_it_cannot_know_whether_a_key_is_lost(doorward: Command) -> None:
    text = doorward.config.read_text()
    doorward.config.write_text(f"{text}storage: postgresql://doorward@/x?host=/nowhere\n")
    (warning,) = json.loads(doorward("config", "check", "--json"))["warnings"]
    assert "doorward.key is missing, and it is not known whether the database needs it" in warning


@pytest.mark.outside
def test_the_command_in_the_message_replaces_a_lost_key(doorward: Command) -> None:
    opened(doorward.config, "Admin")
    key = doorward.config.parent / "data" / "doorward.key"
    key.unlink()
    said = doorward("keys", "list", status=2)
    subprocess.run(["sh", "-euc", said.rstrip().rpartition("these: ")[2]], check=True)
    assert len(rows(doorward)) == 2
    assert key.stat().st_mode & 0o077 == 0


def test_wrong_arguments_are_refused(doorward: Command) -> None:
    assert "see: doorward keys list" in doorward("keys", "retire", "nothing", status=1)
    assert "--in" in doorward("keys", "rotate", "--in", "soon", status=2)
    assert "365d" in doorward("keys", "rotate", "--in", "366d", status=2)
    assert "cannot be combined" in doorward("keys", "rotate", "--in", "1h", "--leaked", status=2)


def test_read_only_keys_are_reported_with_the_manual_steps(
    doorward: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only mounted Kubernetes Secret: a key that is added to it by hand is used."""
    (old, _) = rows(doorward)
    folder = doorward.config.parent / "data"

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system", str(folder))

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", refuse)
        patched.setattr(os, "replace", refuse)
        said = doorward("keys", "rotate", status=1)
        assert "Read-only file system" in said and "openssl rand 32" in said
        name = next(word for word in said.split() if word.startswith("doorward.key."))
        (folder / name).write_text(base64.urlsafe_b64encode(b"h" * 32).decode() + "\n")
        (folder / name).chmod(0o600)
        assert [row["state"] for row in rows(doorward)][:2] == ["verifies"] * 2
        new = rows(doorward)[0]["id"]
        said = doorward("keys", "retire", new, status=1)
        assert f"Nothing needs key {new} any more. Remove {name}" in said
    assert old["id"] in [row["id"] for row in rows(doorward)]


@pytest.mark.parametrize(
    ("age_s", "text"), [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (7300, "2h"), (1e6, "11d")]
)
def test_an_age_is_shown_in_one_unit(age_s: float, text: str) -> None:
    assert _format_age(age_s) == text
