"""Concurrent logins and revocations in several processes, some of which are killed: every
acknowledged change is permanent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from doorward.settings import load_settings
from doorward.wiring.accounts import Accounts, build_accounts

from tests.support import storm

ROOT = Path(__file__).parents[2]
ROUNDS = 20


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "doorward.yaml"
    path.write_text(
        "{data_dir: data, sessions: {max_per_user: none}, routes: [{upstream: 'http://a'}]}"
    )
    return path


@asynccontextmanager
async def running(config: Path) -> AsyncIterator[Accounts]:
    async with build_accounts(load_settings(config, {})) as accounts:
        yield accounts


@asynccontextmanager
async def another(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process, ready for commands."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", storm.__name__, str(config), cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and await said(process) == ["ready"]
    yield process
    process.stdin.close()
    assert await process.wait() == 0


async def said(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().split()


def tell(process: asyncio.subprocess.Process, words: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{words}\n".encode())


async def heard(process: asyncio.subprocess.Process, last: str) -> dict[str, set[str]]:
    """The acknowledgements for tokens, up to the last word."""
    tokens: dict[str, set[str]] = {"in": set(), "ending": set(), "out": set()}
    while (words := await said(process)) != [last]:
        assert words, "the process died of an error"
        tokens[words[0]].add(words[1])
    return tokens


async def live(accounts: Accounts, tokens: set[str]) -> set[str]:
    found = {token: await accounts.sessions.by_token(token, time.time()) for token in tokens}
    return {token for token, one in found.items() if one.session is not None}


@pytest.mark.outside
async def test_no_concurrent_login_or_revocation_is_lost(config: Path) -> None:
    async with running(config) as accounts:
        user = await accounts.users.add("alice", storm.PASSWORD, now=time.time())
        async with another(config) as one, another(config) as other:
            for process in (one, other):
                tell(process, "all 100")
            tokens = await asyncio.gather(heard(one, "done"), heard(other, "done"))
        opened = tokens[0]["in"] | tokens[1]["in"]
        ended = tokens[0]["out"] | tokens[1]["out"]
        assert (len(opened), len(ended)) == (200, 100)
        assert await live(accounts, opened) == opened - ended
        listed = await accounts.sessions.list(user, time.time())
        assert len(listed) == 100 and len({session.iat for session in listed}) == 100


@pytest.mark.outside
async def test_acknowledged_changes_survive_kill_9_under_load(config: Path) -> None:
    opened: set[str] = set()
    ended: set[str] = set()
    async with running(config) as accounts:
        await accounts.users.add("alice", storm.PASSWORD, now=time.time())
        async with another(config) as process:
            for round_ in range(ROUNDS):
                tell(process, "fork")
                child = int((await said(process))[1])
                before = [await said(process) for _ in range(8 + round_ % 7)]
                os.kill(child, signal.SIGKILL)
                tokens = await heard(process, "dead")
                for word, token in before:
                    tokens[word].add(token)
                # A revocation that was not acknowledged may or may not have happened.
                unsure = tokens["ending"] - tokens["out"]
                assert await live(accounts, tokens["in"]) - unsure == (
                    tokens["in"] - tokens["out"] - unsure
                )
                opened |= tokens["in"] - unsure
                ended |= tokens["out"]
        assert len(opened) >= ROUNDS and len(ended) >= ROUNDS
    async with running(config) as accounts:
        assert await live(accounts, opened) == opened - ended, "after a restart too"
