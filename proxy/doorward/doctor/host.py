"""Checks of this host and of the settings: key files, database, cookie, trusted proxies, mail.

Knows files and settings; must not know upstreams, and sends requests only to the mail server.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator

from doorward.doctor.findings import Finding
from doorward.mail.smtp import SmtpServer, try_login
from doorward.settings import Fault, InvalidSettings, Settings, list_findings
from doorward.settings.addresses import is_local_origin
from doorward.settings.certificates import check_certificates
from doorward.settings.key_ring import check_ring
from doorward.settings.keys import check_data_dir
from doorward.storage.database import DATABASE_FILE, SQLITE
from doorward.storage.fault import StorageFault
from doorward.storage.inspection import find_unusable, inspect_sqlite
from doorward.wiring.keys import find_lost, find_unreadable

# A migration copies tables, and SQLite's write-ahead log grows with each large transaction.
LEAST_FREE_BYTES = 100 * 1024 * 1024


def check_rules(settings: Settings) -> Iterator[Finding]:
    """Report the findings and warnings of `config check`."""
    for fault in list_findings(settings):
        where = fault.key if fault.line is None else f"{fault.key} (line {fault.line})"
        yield Finding(f"{where} {fault.message}", fault.hint or "see `doorward config check`")
    for warning in settings.warnings:
        yield Finding(warning, "see `doorward config check`")


async def check_keys(settings: Settings, now: float) -> list[Finding]:
    """Check the key files, and that none is missing that the database needs."""
    return [*_check_key_files(settings), *await _find_missing_key(settings, now)]


async def _find_missing_key(settings: Settings, now: float) -> list[Finding]:
    try:
        fault = await find_lost(settings, now) or await find_unreadable(settings, now)
    except InvalidSettings:
        return []  # findings of `_check_key_files`
    except StorageFault as reason:
        is_sqlite = settings.storage == SQLITE
        if is_sqlite and any(find_unusable(settings.data_dir, is_sqlite=True)):
            return []  # a finding of check_database
        return [Finding(str(reason), "correct that, then run this again")]
    return [] if fault is None else [_describe(fault, "restore the file")]


def _describe(fault: Fault, advice: str) -> Finding:
    return Finding(f"{fault.key}: {fault.message}", fault.hint or advice)


def _check_key_files(settings: Settings) -> Iterator[Finding]:
    for check in (check_data_dir, check_ring, check_certificates):
        try:
            check(settings)
        except InvalidSettings as invalid:
            for fault in invalid.faults:
                yield _describe(fault, "correct the file")
    directory = settings.data_dir
    if directory.is_dir() and directory.stat().st_mode & 0o077:
        mode = stat.S_IMODE(directory.stat().st_mode)
        message = f"data_dir: other users of this host can read {directory} ({mode:04o})"
        yield Finding(message, f"chmod 700 {directory}")


def check_database(
    settings: Settings, least_free_bytes: int = LEAST_FREE_BYTES
) -> Iterator[Finding]:
    """Check the files of data_dir, the SQLite database, and the free space."""
    file, is_sqlite = settings.data_dir / DATABASE_FILE, settings.storage == SQLITE
    damages = list(find_unusable(settings.data_dir, is_sqlite=is_sqlite))
    if is_sqlite and not damages and file.exists():
        damages = list(inspect_sqlite(file))
    for damage in damages:
        yield Finding(damage.message, damage.advice)
    directory = next(path for path in (file.parent, *file.parents) if path.exists())
    free = shutil.disk_usage(directory).free
    if free < least_free_bytes:
        message = f"{free // 1024**2} MiB are free on the file system of data_dir"
        yield Finding(message, "free some space: without any, logins and revocations fail")
    if not os.access(directory, os.W_OK):
        yield Finding(
            f"{directory} cannot be written to",
            "run this as the user that runs Doorward",
        )


def check_cookie(settings: Settings) -> Iterator[Finding]:
    origin = settings.public_origin
    if origin.startswith("http:") and not is_local_origin(origin):
        message = f"the session cookie is sent unencrypted, because public_url is {origin}"
        yield Finding(message, "serve https, with `tls` or a proxy in front, and change public_url")


def check_trusted_proxies(settings: Settings) -> Iterator[Finding]:
    is_https = settings.public_origin.startswith("https:")
    if is_https and settings.tls is None and not settings.trusted_proxies:
        message = "public_url is https, but Doorward serves http and trusts no proxy in front"
        advice = "list that proxy in trusted_proxies, or all clients share its address"
        yield Finding(message, advice)


async def check_mail(settings: Settings) -> list[Finding]:
    if settings.email is None:
        return []
    reason = await try_login(SmtpServer.of(settings.email.smtp.get_secret_value()))
    if reason is None:
        return []
    return [Finding(f"the mail server cannot be used: {reason}", "check email.smtp")]
