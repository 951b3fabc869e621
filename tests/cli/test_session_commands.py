"""The commands that list and end sessions, as in a script, on live storage."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts.session import ClientInfo, Level
from doorward.cli.main import app
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts
from typer.testing import CliRunner

from tests.support.command import Command
from tests.support.sessions import open_session

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:69.0) Gecko/20100101 Firefox/69.0"


def opened(
    config: Path, name: str, *, count: int = 1, user_agent: str = FIREFOX, **more: Any
) -> list[str]:
    """Tokens of new sessions."""
    return asyncio.run(_opened(config, name, count, user_agent, more))


async def _opened(
    config: Path, name: str, count: int, user_agent: str, more: dict[str, Any]
) -> list[str]:
    async with build_accounts(load_settings(config, os.environ)) as accounts:
        user = await accounts.users.get(name)
        new = [
            await open_session(
                accounts.sessions,
                user,
                client=ClientInfo("192.0.2.1", user_agent),
                now=time.time(),
                **more,
            )
            for _ in range(count)
        ]
        return [one.token for one in new]


def alive(config: Path, tokens: list[str]) -> list[bool]:
    return asyncio.run(_alive(config, tokens))


async def _alive(config: Path, tokens: list[str]) -> list[bool]:
    async with build_accounts(load_settings(config, os.environ)) as accounts:
        found = [await accounts.sessions.by_token(token, time.time()) for token in tokens]
        return [one.session is not None for one in found]


def listed(doorward: Command, *words: str) -> list[dict[str, Any]]:
    sessions: list[dict[str, Any]] = json.loads(doorward("session", "list", *words, "--json"))
    return sessions


def test_sessions_are_listed_with_their_device(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    opened(doorward.config, "alice", information="at \x1b[31mhome")
    opened(doorward.config, "admin")
    newest, oldest = listed(doorward)
    assert (newest["user"], oldest["user"]) == ("Admin", "alice")
    assert newest["device"] == {
        "type": "browser", "name": "Firefox", "version": "69.0",
        "os": {"name": "Linux", "version": ""},
    }  # fmt: skip
    assert newest["information"] == "Firefox - 69; OS: Linux; Phone: false"
    assert oldest["information"] == "at \x1b[31mhome"
    assert newest["address"] == "192.0.2.1" and newest["ends_at"] > newest["created_at"]
    assert [s["user"] for s in listed(doorward, "--user", "ALICE")] == ["alice"]
    table = doorward("session", "list")
    assert newest["id"] in table and "Firefox 69.0 on Linux" in table and "\x1b" not in table
    doorward("user", "ban", "alice")
    assert [s["suspended"] for s in listed(doorward)] == [False, True]


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "active"),
        ({"remember": True}, "remembered"),
        ({"level": Level.PENDING}, "pending"),
        ({"level": Level.PENDING, "remember": True}, "pending"),
    ],
)
def test_the_list_has_the_state_of_each_session(
    doorward: Command, more: dict[str, Any], state: str
) -> None:
    opened(doorward.config, "admin", **more)
    assert doorward("session", "list").split()[-1] == state


def test_revoked_sessions_end_and_others_stay_valid(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    tokens = opened(doorward.config, "alice", count=3)
    ids = [session["id"] for session in reversed(listed(doorward))]
    assert f"session {ids[0]} of alice ended" in doorward("session", "revoke", *ids[:2])
    assert alive(doorward.config, tokens) == [False, False, True]
    words = ["session", "revoke", "nobody", ids[2], "-c", str(doorward.config)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and "no session nobody" in done.stderr
    assert ids[2] in done.stdout
    assert alive(doorward.config, tokens) == [False] * 3
    assert listed(doorward) == []


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        ("curl/8.5.0", "curl 8.5.0"),
        ("a thing of our own", "a thing of our own"),
        ("", "-"),
        ("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0", " on Android"),
    ],
)
def test_a_device_is_described_from_its_user_agent(
    doorward: Command, user_agent: str, device: str
) -> None:
    opened(doorward.config, "admin", user_agent=user_agent)
    assert device in doorward("session", "list")


def test_the_ended_sessions_can_be_printed_as_json(doorward: Command) -> None:
    opened(doorward.config, "admin", count=2)
    [newest, oldest] = [session["id"] for session in listed(doorward)]
    told = json.loads(doorward("session", "revoke", newest, "--json"))
    assert told == {"ended": [{"id": newest, "user": "Admin"}], "unknown": []}
    told = json.loads(doorward("session", "revoke-all", "admin", "--json"))
    assert told == {"user": "Admin", "ended": 1}
    assert oldest not in doorward("session", "list")


def test_all_sessions_of_a_user_are_revoked(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    tokens = opened(doorward.config, "alice", count=2)
    kept = opened(doorward.config, "admin")
    assert doorward("session", "revoke-all", "ALICE") == "2 sessions of alice ended\n"
    assert alive(doorward.config, [*tokens, *kept]) == [False, False, True]
    assert doorward("session", "revoke-all", "alice") == "0 sessions of alice ended\n"
    assert "no user named bob" in doorward("session", "revoke-all", "bob", status=1)
    assert "no user named bob" in doorward("session", "list", "--user", "bob", status=1)
