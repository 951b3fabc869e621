"""The core in one value: the services a page, a dialect or a command may call.

`doorward.app` builds it and fills the Protocols named here from storage and the directories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from doorward.accounts.access import Access, AccessStore
from doorward.accounts.addresses import Addresses
from doorward.accounts.administration import Administration, Register
from doorward.accounts.audit import Trail
from doorward.accounts.directory import Directories, Directory, Entry
from doorward.accounts.factors import FactorStore
from doorward.accounts.feed import Feed, News
from doorward.accounts.forgotten import Forgotten
from doorward.accounts.keys import Keys
from doorward.accounts.logins import Logins
from doorward.accounts.mailer import Mailer
from doorward.accounts.passwords import Passwords
from doorward.accounts.regulation import AttemptStore, Regulation
from doorward.accounts.second_factor import SecondFactors
from doorward.accounts.sessions import Sessions
from doorward.accounts.stores import SessionStore, UserStore
from doorward.accounts.tokens import Tokens
from doorward.accounts.users import Users

if TYPE_CHECKING:
    from doorward.accounts.live import Live

__all__ = [
    "AccessStore",
    "Accounts",
    "AttemptStore",
    "Directories",
    "Directory",
    "Entry",
    "FactorStore",
    "Feed",
    "Mailer",
    "News",
    "Register",
    "SessionStore",
    "Trail",
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
    trail: Trail
    second_factors: SecondFactors
    access: Access
    keys: Keys
    addresses: Addresses
    administration: Administration
    forgotten: Forgotten
