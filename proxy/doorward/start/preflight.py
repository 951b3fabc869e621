"""What `config check` and `serve` check besides the configuration file itself: every file that it
names, and those in `data_dir`. It must not know what the files are for, and makes none.

A lost key is looked for by `config check` alone: `serve` finds it when it opens the database.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doorward.settings import Settings


def check_files(settings: Settings) -> None:
    """Read everything that a server reads when it starts. Raises InvalidSettings with every file
    that cannot be used."""
    from doorward.settings import run_checks

    run_checks(_checks(), settings)


def _checks() -> tuple[Callable[[Settings], object], ...]:
    from doorward.gate.policy import load_policy
    from doorward.pages.rendering import check_look
    from doorward.relay.maintenance import maintenance_pages
    from doorward.settings.application_secrets import ApplicationSecrets
    from doorward.settings.certificates import check_certificates
    from doorward.settings.key_ring import check_ring
    from doorward.settings.keys import check_data_dir

    return (
        check_certificates,
        check_data_dir,
        check_ring,
        _database,
        ApplicationSecrets,
        load_policy,
        maintenance_pages,
        _users,
        lambda settings: check_look(settings.pages),
        _audit_file,
    )


def check_lost_key(settings: Settings, warn: Callable[[str], object]) -> None:
    """Check that a start would not find its first key missing while the database needs it. `warn`
    is called with the reason if that cannot be known from here. Raises InvalidSettings."""
    from doorward.settings import InvalidSettings
    from doorward.settings.key_ring import lacks_first

    if not lacks_first(settings):
        return  # importing storage is slow
    import asyncio

    from doorward.storage import StorageFault
    from doorward.wiring.keys import find_lost

    try:
        fault = asyncio.run(find_lost(settings, time.time()))
    except StorageFault as reason:
        warn(str(reason))
        return
    if fault is not None:
        raise InvalidSettings([fault])


def _database(settings: Settings) -> None:
    from doorward.settings import Fault, InvalidSettings

    if settings.storage != "sqlite":
        from doorward.storage.engine import load_driver
        from doorward.storage.fault import StorageFault

        try:
            load_driver()
        except StorageFault as fault:
            key, _, message = str(fault).partition(": ")
            raise InvalidSettings([Fault(key, None, message)]) from fault
    if not settings.data_dir.is_dir():
        return  # made at the start, with what is in it
    from doorward.storage.inspection import find_unusable

    is_sqlite = settings.storage == "sqlite"
    if found := list(find_unusable(settings.data_dir, is_sqlite=is_sqlite)):
        raise InvalidSettings(Fault("data_dir", None, one.message, one.advice) for one in found)


def _users(settings: Settings) -> None:
    from doorward.accounts.refusals import NameTaken
    from doorward.accounts.users.directory import DirectoryFault
    from doorward.directories.sources import open_directories
    from doorward.settings import Fault, InvalidSettings

    try:
        open_directories(settings)
    except DirectoryFault as fault:
        key, _, message = str(fault).partition(": ")
        raise InvalidSettings([Fault(key, None, message)]) from fault
    except NameTaken as refusal:
        raise InvalidSettings([Fault("users", None, str(refusal))]) from refusal


def _audit_file(settings: Settings) -> None:
    from doorward.settings import Fault, InvalidSettings

    file = settings.audit.file
    if isinstance(file, Path) and (reason := _unwritable(file)):
        hint = "give the user that runs Doorward write permission, or name another file"
        raise InvalidSettings([Fault("audit.file", None, f"{file}: {reason}", hint)])


def _unwritable(file: Path) -> str | None:
    if file.is_dir():
        return "is a directory"
    if file.exists():
        return None if os.access(file, os.W_OK) else "cannot be written to"
    if not file.parent.is_dir():
        return f"there is no directory {file.parent}"
    return None if os.access(file.parent, os.W_OK | os.X_OK) else "cannot be created"
