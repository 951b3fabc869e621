"""The core in one value: the services a page, a dialect or a command may call.

`proxy.app` builds it and fills the Protocols named here from storage and the directories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.accounts.access import Access, AccessStore
from proxy.accounts.addresses import Addresses
from proxy.accounts.administration import Administration, Register
from proxy.accounts.audit import Trail
from proxy.accounts.directory import Directories, Directory, Entry
from proxy.accounts.factors import FactorStore
from proxy.accounts.feed import Feed, News
from proxy.accounts.forgotten import Forgotten
from proxy.accounts.keys import Keys
from proxy.accounts.logins import Logins
from proxy.accounts.mailer import Mailer
from proxy.accounts.passwords import Passwords
from proxy.accounts.regulation import AttemptStore, Regulation
from proxy.accounts.second_factor import SecondFactors
from proxy.accounts.sessions import Sessions
from proxy.accounts.stores import SessionStore, UserStore
from proxy.accounts.tokens import Tokens
from proxy.accounts.users import Users

if TYPE_CHECKING:
    from proxy.accounts.live import Live

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
