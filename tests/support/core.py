"""The core with storage in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.logins import Logins
from doorward.accounts.passwords.hashing import Passwords
from doorward.accounts.passwords.regulation import AttemptLimits, Regulation
from doorward.accounts.sessions.sessions import ClientInfo, Opened, Sessions
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.accounts.user import User
from doorward.accounts.users.users import Users

from tests.support.mailbox import Mailbox
from tests.support.memory import (
    NOW,
    MemoryDirectory,
    MemoryTrail,
    MemoryUsers,
)
from tests.support.memory_factors import MemoryFactors
from tests.support.memory_tokens import MemoryTokens
from tests.support.sessions import LIFETIMES, log_in

PASSWORD = "correct horse"

CLIENT = ClientInfo("192.0.2.1", "a browser")

LIMITS = AttemptLimits(attempts=5, network_attempts=50, window_s=120.0, ban_s=300.0)


@dataclass
class Core:
    user_rows: MemoryUsers
    directory: MemoryDirectory
    passwords: Passwords
    users: Users
    sessions: Sessions
    logins: Logins
    regulation: Regulation
    audit_log: MemoryTrail
    factor_rows: MemoryFactors
    mailbox: Mailbox
    second_factors: SecondFactors
    token_rows: MemoryTokens
    api_tokens: ApiTokens

    async def add(self, username: str = "alice", **more: Any) -> User:
        return await self.users.add(username, PASSWORD, now=NOW, **more)

    async def login(self, name: str = "alice", password: str = PASSWORD, **more: Any) -> Opened:
        chosen: dict[str, Any] = {
            "client": CLIENT,
            "kind": "page",
            "lifetimes": LIFETIMES,
            "remember": False,
            "now": NOW,
        }
        return await log_in(self.logins, name, password, **(chosen | more))
