"""The core over storage in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from doorward.accounts.factors.second_factor import Policy, SecondFactors
from doorward.accounts.factors.vault import Vault
from doorward.accounts.factors.verification import Verification
from doorward.accounts.keys import Keys
from doorward.accounts.logins import Logins
from doorward.accounts.passwords.hashing import Passwords
from doorward.accounts.passwords.known_browsers import KnownBrowsers
from doorward.accounts.passwords.regulation import Regulation
from doorward.accounts.sessions.sessions import Sessions
from doorward.accounts.sessions.tokens import Tokens
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.accounts.users.directory import Directories
from doorward.accounts.users.users import Users

from tests.support.core import LIMITS, Core
from tests.support.mailbox import Mailbox
from tests.support.memory import (
    MemoryAttempts,
    MemoryDirectory,
    MemorySessions,
    MemoryUsers,
)
from tests.support.memory_factors import MemoryFactors
from tests.support.memory_tokens import MemoryTokens


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    async def sleep(wait_s: float) -> None:
        """Return at once."""

    pool = Passwords(sleep=sleep)
    yield pool
    pool.close()


@pytest.fixture
def core(passwords: Passwords) -> Core:
    session_rows, directory = MemorySessions(), MemoryDirectory()
    user_rows = session_rows.users = MemoryUsers(session_rows)
    directories = Directories([directory])
    users = Users(user_rows, directories, passwords)
    keys, audit_log = Keys((b"k" * 32,)), session_rows.audit_log
    sessions = Sessions(session_rows, directories, Tokens(keys))
    regulation = Regulation(MemoryAttempts(audit_log), LIMITS, keys)
    policy = Policy("Doorward", trust_period_s=300.0, attempts=5, lock_s=300.0)
    factor_rows, mailbox, vault = MemoryFactors(session_rows), Mailbox(), Vault(keys)
    verification = Verification(factor_rows, users, passwords, mailbox, vault, policy, audit_log)
    factors = SecondFactors(factor_rows, sessions, verification, vault, policy)
    logins = Logins(users, sessions, passwords, regulation, audit_log, factors, KnownBrowsers(keys))
    token_rows = MemoryTokens(session_rows)
    user_rows.tokens = token_rows
    api_tokens = ApiTokens(token_rows, directories, factors, regulation, audit_log, keys)
    return Core(
        user_rows,
        directory,
        passwords,
        users,
        sessions,
        logins,
        regulation,
        audit_log,
        factor_rows,
        mailbox,
        factors,
        token_rows,
        api_tokens,
    )


def pytest_make_parametrize_id(val: object) -> str | None:
    """Hashes have a different salt in each run, but test names must not change."""
    return val[: val.index("$", 1)] if isinstance(val, str) and re.match(r"\$\w+\$", val) else None
