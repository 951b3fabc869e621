"""The commands that create, list and end tokens, as in a script, on live storage."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest
from doorward.accounts.session import ClientInfo
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts

from tests.support.command import Command

CLIENT = ClientInfo("192.0.2.1", "git/2.47")


def opens(doorward: Command, text: str) -> bool:
    async def ask() -> bool:
        async with build_accounts(load_settings(doorward.config, {})) as accounts:
            found = await accounts.api_tokens.find(text.encode(), None, CLIENT, time.time())
            return found.session is not None

    return asyncio.run(ask())


def listed(doorward: Command, *words: str) -> list[dict[str, Any]]:
    tokens: list[dict[str, Any]] = json.loads(doorward("token", "list", *words, "--json"))
    return tokens


def added(doorward: Command, *words: str) -> str:
    printed = doorward("token", "add", *words)
    match = re.search(r"^token: (dw_\w{55})$", printed, re.MULTILINE)
    assert match is not None
    return match[1]


def test_a_token_is_created_and_printed_once(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    text = added(
        doorward, "ALICE", "--name", "phone", "--route", "/wiki", "--route", "a.example.com/x",
        "--method", "GET", "--method", "HEAD", "--network", "192.0.2.0/24", "--expires", "90d",
    )  # fmt: skip
    assert opens(doorward, text)
    [token] = listed(doorward)
    assert token == {
        "id": text[3:20],
        "user": "alice",
        "name": "phone",
        "routes": ["/wiki", "a.example.com/x"],
        "methods": ["GET", "HEAD"],
        "networks": ["192.0.2.0/24"],
        "scope": None,
        "created_at": token["created_at"],
        "expires_at": token["expires_at"],
        "last_used_at": None,
        "address": "",
        "user_agent": "",
        "state": "active",
    }
    assert token["expires_at"] > token["created_at"]
    assert json.loads(doorward("token", "show", token["id"], "--json")) == token
    shown = doorward("token", "show", token["id"])
    assert "routes: /wiki, a.example.com/x\n" in shown and "last_used_at: -\n" in shown
    for printed in (shown, doorward("token", "list")):
        assert text not in printed and "phone" in printed


def test_the_created_token_can_be_printed_as_json(doorward: Command) -> None:
    made = json.loads(doorward("token", "add", "admin", "--name", "ci", "--json"))
    assert opens(doorward, made.pop("token"))
    assert listed(doorward) == [made]


def test_revoked_tokens_end_and_others_stay_valid(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    texts = [added(doorward, "alice", "--name", f"n{number}") for number in range(3)]
    other = added(doorward, "admin", "--name", "ci")
    assert f"token {texts[0][3:20]} of alice ended" in doorward("token", "revoke", texts[0][3:20])
    assert [opens(doorward, text) for text in texts] == [False, True, True]
    assert json.loads(doorward("token", "show", texts[0][3:20], "--json"))["state"] == "ended"
    assert "2 tokens of alice ended" in doorward("token", "revoke-all", "alice")
    assert listed(doorward, "--user", "alice") == []
    assert opens(doorward, other) and len(listed(doorward)) == 1
    told = json.loads(doorward("token", "revoke-all", "admin", "--json"))
    assert told == {"user": "Admin", "ended": 1}
    assert doorward("token", "revoke", "nobody", status=1) == "There is no such token.\n"
    assert doorward("token", "show", texts[0], status=1) == "There is no such token.\n"


def test_the_audit_trail_records_tokens(doorward: Command) -> None:
    text = added(doorward, "admin", "--name", "ci")
    doorward("token", "revoke", text[3:20])
    doorward("token", "revoke-all", "admin")
    lines = doorward("audit", "--json")
    assert text not in lines and f"token {text[3:20]}" in lines
    for kind in ("token_added", "token_ended", "tokens_ended"):
        assert f'"{kind}"' in lines


def test_an_admin_scope_requires_an_administrator(doorward: Command) -> None:
    doorward("user", "add", "alice", "--generate")
    said = doorward("token", "add", "alice", "--name", "x", "--scope", "admin:read", status=1)
    assert "administrators" in said
    doorward("user", "add", "boss", "--super-admin", "--generate")
    added(doorward, "boss", "--name", "x", "--scope", "admin:write")
    assert listed(doorward)[0]["scope"] == "admin:write"
    assert "admin:write" in doorward("token", "list")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--expires", "90"], 2, "--expires: '90' is not a duration"),
        (["--expires", "0s"], 2, "--expires"),
        (["--scope", "admin"], 2, "--scope: 'admin' is not one of admin:read, admin:write"),
        (["--route", "wiki"], 2, "--route: 'wiki' has no path; write it as /wiki"),
        (["--route", "/a?b"], 2, "--route: '/a?b' has a query"),
        (["--method", "get"], 2, "--method: 'get' is not a method; write GET"),
        (["--network", "here"], 2, "--network: 'here' is not a network"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    doorward: Command, words: list[str], status: int, says: str
) -> None:
    assert says in doorward("token", "add", "admin", "--name", "x", *words, status=status)
    assert listed(doorward) == []


def test_a_name_with_control_characters_is_refused(doorward: Command) -> None:
    assert "control" in doorward("token", "add", "admin", "--name", "a\x1b[31m", status=1)
