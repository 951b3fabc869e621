"""The account core over live storage, for servers and commands alike.

Joins storage, directories and mail with the core. Commands import it without the gate and the
pages, which `doorward.app` imports: those take most of a command's second.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

from doorward.accounts.addresses import Addresses
from doorward.accounts.administration import Administration
from doorward.accounts.application_credentials import (
    ApplicationCredentials,
    UnreadableCredential,
)
from doorward.accounts.audit.audit_log import AuditLog
from doorward.accounts.basic import BasicLogins
from doorward.accounts.factors.browsers import Browsers
from doorward.accounts.factors.second_factor import Policy, SecondFactors
from doorward.accounts.factors.vault import Vault
from doorward.accounts.factors.verification import Verification
from doorward.accounts.forgotten import Forgotten
from doorward.accounts.key_uses import KeyUses
from doorward.accounts.keys import Keys
from doorward.accounts.logins import Logins
from doorward.accounts.passwords.hashing import Passwords
from doorward.accounts.passwords.known_browsers import KnownBrowsers
from doorward.accounts.passwords.regulation import AttemptLimits, Regulation
from doorward.accounts.refusals import Refusal
from doorward.accounts.sealing import UnreadableSecret
from doorward.accounts.sessions.access import AccessSecrets
from doorward.accounts.sessions.handover import Handovers
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import Sessions
from doorward.accounts.sessions.tokens import Tokens
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.accounts.tokens.uses import TokenUses
from doorward.accounts.users.directory import DirectoryFault
from doorward.accounts.users.users import Users
from doorward.directories.sources import open_directories
from doorward.mail import build_mailer
from doorward.settings import Settings
from doorward.storage.audit_log import Tell
from doorward.storage.database import Database, open_database
from doorward.storage.fault import StorageFault
from doorward.storage.rates import Rates
from doorward.wiring.keys import KeyFiles

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Accounts:
    """The core in one value, for start-up and for commands. Pages and dialects get only the
    services that they use."""

    users: Users
    sessions: Sessions
    logins: Logins
    passwords: Passwords
    tokens: Tokens
    live: Live
    regulation: Regulation
    audit_log: AuditLog
    second_factors: SecondFactors
    access: AccessSecrets
    keys: Keys
    key_files: KeyFiles
    key_uses: KeyUses
    known_browsers: KnownBrowsers
    addresses: Addresses
    administration: Administration
    forgotten: Forgotten
    api_tokens: ApiTokens
    token_uses: TokenUses
    basic: BasicLogins
    credentials: ApplicationCredentials
    handovers: Handovers


@contextlib.asynccontextmanager
async def build_accounts(
    settings: Settings, clock: Clock = time.time, tell: Tell | None = None
) -> AsyncIterator[Accounts]:
    """The account core; closes what it opened. `tell` is called with every audit record that the
    core writes. Raises InvalidSettings, StorageFault."""
    files = KeyFiles(settings, clock())
    database = await open_database(settings, tell)
    passwords, rates = Passwords(), Rates(settings.data_dir, files.keys)
    try:
        accounts = await _join(settings, database, passwords, rates, files, clock())
        try:
            await _ensure_first_key(accounts, clock())
            yield accounts
        finally:
            await accounts.forgotten.close()
            await accounts.live.close()
    finally:
        rates.close()
        passwords.close()
        await database.close()


async def _ensure_first_key(accounts: Accounts, now: float) -> None:
    try:
        await accounts.key_files.ensure_first(accounts.key_uses, now)
    except Refusal as refusal:
        raise StorageFault(f"storage: {refusal}") from refusal


async def _join(
    settings: Settings,
    database: Database,
    passwords: Passwords,
    rates: Rates,
    key_files: KeyFiles,
    now: float,
) -> Accounts:
    keys = key_files.keys
    try:
        directories = open_directories(settings)
        users = Users(database.users, directories, passwords, settings.list_delimiters)
        await users.sync(now)
    except DirectoryFault as fault:
        raise StorageFault(str(fault)) from fault
    except Refusal as refusal:  # two sources share a name, or the database does not answer
        raise StorageFault(f"users: {refusal}") from refusal
    tokens = Tokens(keys)
    sessions = Sessions(database.sessions, directories, tokens, settings.sessions.max_per_user)
    regulation = Regulation(database.attempts, _limits(settings), keys)
    audit_log, policy, vault = database.audit_log, _policy(settings), Vault(keys)
    mailer = build_mailer(settings)
    verification = Verification(
        database.factors, users, passwords, mailer, vault, policy, audit_log
    )
    browsers = Browsers(keys, _seconds(settings.second_factor.remember_browser))
    factors = SecondFactors(database.factors, sessions, verification, vault, policy, browsers)
    known_browsers = KnownBrowsers(keys)
    logins = Logins(users, sessions, passwords, regulation, audit_log, factors, known_browsers)
    live = Live(sessions, database.feed)
    access = AccessSecrets(database.access, directories, keys)
    addresses = Addresses(users, factors, mailer, keys)
    administration = Administration(
        database.listings, directories, users, sessions, factors, regulation
    )
    forgotten = Forgotten(database.listings, users, factors, mailer, audit_log, rates, keys)
    api_tokens = ApiTokens(database.tokens, directories, factors, regulation, audit_log, keys)
    return Accounts(
        users,
        sessions,
        logins,
        passwords,
        tokens,
        live,
        regulation,
        audit_log,
        factors,
        access,
        keys,
        key_files,
        KeyUses(database.key_uses),
        known_browsers,
        addresses,
        administration,
        forgotten,
        api_tokens,
        TokenUses(api_tokens),
        BasicLogins(logins),
        ApplicationCredentials(database.credentials, factors, keys, settings.user_routes),
        Handovers(database.handovers, directories, keys),
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


async def renew_secrets(accounts: Accounts) -> None:
    """Encrypt with the first key what an older one encrypted, before a server accepts requests.
    Commands do not need this, and must work when it fails, so that an operator can repair the
    cause.

    Raises StorageFault with the name of a user whose secrets no key decrypts."""
    try:
        await accounts.second_factors.renew_secrets()
        await accounts.credentials.renew_secrets()
    except UnreadableCredential as fault:
        raise StorageFault(
            f"secret_files: no key opens the credentials of user {fault.username!r} for route"
            f" {fault.route}; name the key file that was in use before as well, or remove them:"
            f" doorward user credential remove {shlex.quote(fault.username)} {fault.route}"
        ) from fault
    except UnreadableSecret as fault:
        username = str(fault)
        raise StorageFault(
            f"secret_files: no key opens the second factor of user {username!r}; name the key"
            " file that was in use before as well, or remove the factor:"
            f" doorward user reset-totp {shlex.quote(username)}"
        ) from fault
    except Refusal as refusal:
        raise StorageFault(f"storage: {refusal}") from refusal


def _policy(settings: Settings) -> Policy:
    chosen = settings.second_factor
    return Policy(
        issuer=chosen.issuer,
        trust_period_s=chosen.trust_period.total_seconds(),
        attempts=chosen.attempts,
        lock_s=chosen.lock.total_seconds(),
    )


def _limits(settings: Settings) -> AttemptLimits | None:
    """The limits on wrong passwords in the settings; None if regulation is off."""
    chosen = settings.regulation
    if not chosen.enabled:
        return None
    return AttemptLimits(
        attempts=chosen.attempts,
        network_attempts=chosen.network_attempts,
        window_s=chosen.window.total_seconds(),
        ban_s=chosen.ban.total_seconds(),
    )
