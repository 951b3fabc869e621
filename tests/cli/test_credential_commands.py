"""The commands for users' credentials at applications, as in a script, on live storage."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml
from doorward.accounts.application_credentials import ApplicationCredential
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts

from tests.support.command import Command

SECRET = "a password elsewhere"


@pytest.fixture
def command(doorward: Command) -> Command:
    """Commands with one route that accepts credentials, and one that does not."""
    settings = yaml.safe_load(doorward.config.read_text())
    upstream = "http://127.0.0.1:9"
    settings["routes"] = [
        {"upstream": upstream},
        {"host": "app.test", "path": "/mail", "upstream": upstream,
         "credentials": {"per_user": "basic"}},
    ]  # fmt: skip
    doorward.config.write_text(yaml.safe_dump(settings))
    doorward("user", "add", "alice", "--generate")
    return doorward


def found(command: Command, name: str = "alice") -> ApplicationCredential | None:
    async def ask() -> ApplicationCredential | None:
        async with build_accounts(load_settings(command.config, {})) as accounts:
            user = await accounts.users.get(name)
            return await accounts.credentials.find(user, "app.test/mail")

    return asyncio.run(ask())


def set_for(command: Command, *words: str, secret: str = SECRET, status: int = 0) -> str:
    words = ("user", "credential", "set", *words, "--password-stdin")
    return command(*words, stdin=secret + "\n", status=status)


def test_credentials_are_set_listed_and_removed_but_never_shown(command: Command) -> None:
    assert set_for(command, "ALICE", "app.test/mail") == (
        "credentials of alice for app.test/mail set\n"
    )
    assert found(command) == ApplicationCredential("alice", SECRET)
    set_for(command, "alice", "app.test/mail", "--username", "alice.smith")
    assert found(command) == ApplicationCredential("alice.smith", SECRET)
    (listed,) = json.loads(command("user", "credential", "list", "alice", "--json"))
    assert listed["route"] == "app.test/mail" and listed["username"] == "alice.smith"
    shown = command("user", "credential", "list", "alice")
    assert "alice.smith" in shown and SECRET not in shown + str(listed)
    command("user", "credential", "remove", "alice", "app.test/mail")
    assert found(command) is None
    assert "no such" in command("user", "credential", "remove", "alice", "app.test/mail", status=1)
    records = command("audit")
    assert "credential_set" in records and "credential_removed" in records
    assert SECRET not in records


def test_credentials_survive_an_edit_but_not_a_deletion_of_their_user(command: Command) -> None:
    set_for(command, "alice", "app.test/mail")
    command("user", "edit", "alice", "--add-group", "staff")
    assert found(command) == ApplicationCredential("alice", SECRET)
    command("user", "delete", "alice", "--yes")
    command("user", "add", "alice", "--generate")
    assert found(command) is None


@pytest.mark.parametrize("route", ["/", "/mail", "app.test/mail/", "nowhere"])
def test_a_refused_route_lists_the_possible_ones(command: Command, route: str) -> None:
    assert "app.test/mail" in set_for(command, "alice", route, status=1)


@pytest.mark.parametrize(
    ("username", "secret", "says"),
    [
        ("a:b", SECRET, "no colon"),
        ("", SECRET, "1 to 190 characters"),
        ("a\tb", SECRET, "control characters"),
        ("x" * 191, SECRET, "1 to 190 characters"),
        ("alice", "", "1 to 1024 bytes"),
        ("alice", "a\x00b", "control characters"),
        ("alice", "ü" * 600, "1 to 1024 bytes"),
    ],
)
def test_credentials_that_cannot_be_sent_are_refused(
    command: Command, username: str, secret: str, says: str
) -> None:
    words = "alice", "app.test/mail", "--username", username
    assert says in set_for(command, *words, secret=secret, status=1)
    assert found(command) is None


def test_without_a_terminal_password_stdin_is_required(command: Command) -> None:
    words = "user", "credential", "set", "alice", "app.test/mail"
    assert "--password-stdin" in command(*words, status=2)


def test_without_such_a_route_the_error_names_the_setting(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    assert "per_user: basic" in set_for(doorward, "alice", "/", status=1)


def test_a_forced_retirement_re_encrypts_credentials(command: Command) -> None:
    """As with second factors, retiring a key loses nothing."""
    set_for(command, "alice", "app.test/mail")
    old, *_ = json.loads(command("keys", "list", "--json"))
    command("keys", "rotate", "--leaked")
    assert "secrets of 1 user (alice)" in command("keys", "retire", old["id"], status=1)
    command("keys", "retire", old["id"], "--force")
    assert found(command) == ApplicationCredential("alice", SECRET)
