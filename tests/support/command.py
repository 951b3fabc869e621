"""Doorward's commands, run in process with a configuration for the test."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from doorward.accounts.passwords.hashing import OURS
from doorward.cli.main import app
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts
from typer.testing import CliRunner

HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$hwc62mxAPBW6Ed2TkJ0ttg"
    "$xVLg4Z2ksXu0cCQkRPBUHYj28pPJ2UjVDPYD7+d6vco"
)


@dataclass
class Command:
    """`doorward` with a configuration for the test."""

    config: Path

    def __call__(self, *words: str, stdin: str = "", status: int = 0) -> str:
        """Run a command; its standard output. If another `status` is expected, its error, which has
        to be one line on standard error."""
        done = CliRunner().invoke(app, [*words, "-c", str(self.config)], input=stdin)
        assert done.exit_code == status, done.output
        if status:
            assert done.stdout == "" and done.stderr.count("\n") == 1, done.output
            return done.stderr
        assert done.stderr == ""
        return done.stdout

    def users(self) -> dict[str, dict[str, object]]:
        return {user["username"]: user for user in json.loads(self("user", "list", "--json"))}


def fits(doorward: Command, password: str) -> bool:
    async def ask() -> bool:
        async with build_accounts(load_settings(doorward.config, {})) as accounts:
            found = await accounts.users.credential("alice")
            assert found is not None
            return (await accounts.passwords.verify(found.password_hash, OURS, password)).ok

    return asyncio.run(ask())
