"""A process with concurrent logins and revocations, which reports each acknowledgement.
`test_storms.py` runs it and evaluates its output.

Usage: storm.py CONFIG, with one command per line on standard input: `fork` starts a child that logs
in and revokes until it is killed; `all N` logs in N times at once, revokes half of the sessions,
and reports this.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from doorward.accounts.session import ClientInfo
from doorward.settings import load_settings
from doorward.wiring.accounts import Accounts, build_accounts

from tests.support.sessions import log_in

PASSWORD = "correct horse"
CLIENT = ClientInfo("192.0.2.1", "a browser")


def say(*words: str) -> None:
    os.write(1, f"{' '.join(words)}\n".encode())


async def login(accounts: Accounts) -> str:
    opened = await log_in(accounts.logins, "alice", PASSWORD, client=CLIENT, now=time.time())
    say("in", opened.token)
    return opened.token


async def revoke(accounts: Accounts, token: str) -> None:
    found = await accounts.sessions.by_token(token, time.time())
    assert found.session is not None, "an acknowledged login is live"
    say("ending", token)
    await accounts.sessions.end(found.session, time.time())
    say("out", token)


async def one(accounts: Accounts, number: int) -> None:
    token = await login(accounts)
    if number % 2:
        await revoke(accounts, token)


async def storm(config: Path, count: int) -> None:
    async with build_accounts(load_settings(config, {})) as accounts:
        await asyncio.gather(*(one(accounts, number) for number in range(count)))
    say("done")


async def endless(config: Path) -> None:
    async with build_accounts(load_settings(config, {})) as accounts:

        async def again() -> None:
            while True:
                for token in [await login(accounts) for _ in range(2)][1:]:
                    await revoke(accounts, token)

        await asyncio.gather(*(again() for _ in range(4)))


def main() -> None:
    config = Path(sys.argv[1])
    say("ready")
    for line in sys.stdin:
        word, _, count = line.strip().partition(" ")
        if word == "all":
            asyncio.run(storm(config, int(count)))
        elif child := os.fork():  # a fork takes a millisecond, an interpreter half a second
            say("child", str(child))
            os.waitpid(child, 0)
            say("dead")
        else:
            asyncio.run(endless(config))


if __name__ == "__main__":
    main()
