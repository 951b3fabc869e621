"""API tokens for many Doorward users, created by Doorward's core in one process.

Running a command for each would take minutes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from doorward.accounts.permissions import OWNER
from doorward.accounts.session import TokenScope
from doorward.accounts.token import NewToken
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts

Header = tuple[str, str]


def make_tokens(config: Path, names: Iterable[str]) -> list[Header]:
    """One token for each of these users, as a header line."""
    return asyncio.run(_make(config, names))


async def _make(config: Path, names: Iterable[str]) -> list[Header]:
    found = []
    async with build_accounts(load_settings(config, {})) as accounts:
        for name in names:
            user = await accounts.users.get(name)
            new = NewToken("benchmark", TokenScope(), None)
            made = await accounts.api_tokens.add_token(user, new, actor=OWNER, now=time.time())
            found.append(("Authorization", f"Bearer {made.text}"))
    return found
