"""The core over live storage, opened alike by a server and by a command.

It joins what this row and those below it know. A command imports it without the gate and the pages,
which `proxy.app` brings along: they are most of a command's second.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable

from proxy.accounts.core import Accounts, Directories
from proxy.accounts.keys import Keys
from proxy.accounts.live import Live
from proxy.accounts.logins import Logins
from proxy.accounts.passwords import Passwords
from proxy.accounts.refusals import Refusal
from proxy.accounts.regulation import Limits, Regulation
from proxy.accounts.sessions import Sessions
from proxy.accounts.tokens import Tokens
from proxy.accounts.users import Users
from proxy.directories.config import ConfigDirectory
from proxy.settings import Settings
from proxy.settings.keys import read_keys
from proxy.storage.database import Database, open_database
from proxy.storage.fault import StorageFault
from proxy.storage.trail import Tell

Clock = Callable[[], float]


@contextlib.asynccontextmanager
async def build_accounts(
    settings: Settings, clock: Clock = time.time, tell: Tell | None = None
) -> AsyncIterator[Accounts]:
    """The account core; what was opened is closed. `tell` hears of every audit record that is
    written through it. Raises InvalidSettings, StorageFault."""
    keys = Keys(read_keys(settings))
    database = await open_database(settings, clock(), tell)
    passwords = Passwords()
    try:
        yield await _joined(settings, database, passwords, keys, clock())
    finally:
        passwords.close()
        await database.close()


async def _joined(
    settings: Settings, database: Database, passwords: Passwords, keys: Keys, now: float
) -> Accounts:
    try:
        directories = Directories([ConfigDirectory(settings.users)])
        users = Users(database.users, directories, passwords)
        await users.sync(now)
    except Refusal as refusal:  # a name of two sources, a database that fell silent
        raise StorageFault(f"users: {refusal}") from refusal
    tokens = Tokens(keys)
    sessions = Sessions(database.sessions, directories, tokens)
    regulation = Regulation(database.attempts, _limits(settings), keys)
    logins = Logins(users, sessions, passwords, regulation, database.trail)
    live = Live(sessions, database.feed)
    return Accounts(users, sessions, logins, passwords, tokens, live, regulation, database.trail)


def _limits(settings: Settings) -> Limits | None:
    """What the settings say of wrong passwords; None: they cost nothing."""
    chosen = settings.regulation
    if not chosen.enabled:
        return None
    return Limits(
        attempts=chosen.attempts,
        network_attempts=chosen.network_attempts,
        window_s=chosen.window.total_seconds(),
        ban_s=chosen.ban.total_seconds(),
    )
