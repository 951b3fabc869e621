"""The core in one value: the services a page, a dialect or a command may call.

`doorward.wiring` builds it and fills the Protocols named here from storage and the directories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from doorward.accounts.addresses import Addresses
from doorward.accounts.administration import Administration
from doorward.accounts.audit.audit_log import AuditLog
from doorward.accounts.factors.records import FactorStore
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.forgotten import Forgotten
from doorward.accounts.keys import Keys
from doorward.accounts.logins import Logins
from doorward.accounts.mailer import Mailer
from doorward.accounts.passwords.hashing import Passwords
from doorward.accounts.passwords.regulation import AttemptStore, Regulation
from doorward.accounts.sessions.access import Access, AccessStore
from doorward.accounts.sessions.feed import Feed, News
from doorward.accounts.sessions.sessions import Sessions
from doorward.accounts.sessions.store import SessionStore
from doorward.accounts.sessions.tokens import Tokens
from doorward.accounts.users.directory import Directories, Directory, Entry
from doorward.accounts.users.store import UserStore
from doorward.accounts.users.users import Users

if TYPE_CHECKING:
    from doorward.accounts.sessions.live import Live

__all__ = [
    "AccessStore",
    "Accounts",
    "AttemptStore",
    "AuditLog",
    "Directories",
    "Directory",
    "Entry",
    "FactorStore",
    "Feed",
    "Mailer",
    "News",
    "SessionStore",
    "UserStore",
]


@dataclass(frozen=True, slots=True)
class Accounts:
    users: Users
    sessions: Sessions
    logins: Logins
    passwords: Passwords
    tokens: Tokens
    live: Live
    regulation: Regulation
    audit_log: AuditLog
    second_factors: SecondFactors
    access: Access
    keys: Keys
    addresses: Addresses
    administration: Administration
    forgotten: Forgotten
