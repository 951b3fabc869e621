"""The keys of this process, read from their files and read again when those change, in order of
time.

Joins the files of `settings.key_ring` with the core's `Keys`; must not know how keys are used.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from doorward.accounts import randomness
from doorward.accounts.key_uses import KeyNeeds, KeyUses
from doorward.accounts.keys import NOTICE_S, Keys, Secret, arrange
from doorward.accounts.refusals import StorageUnavailable
from doorward.settings import Fault, InvalidSettings, Settings
from doorward.settings.key_ring import (
    KeyFile,
    find_first,
    lacks_first,
    make_first,
    read_ring,
    read_state,
)
from doorward.settings.keys import check_data_dir
from doorward.storage.database import open_key_uses
from doorward.storage.fault import StorageFault
from doorward.text import format_count

_log = structlog.get_logger("doorward.keys")

# How long after it was made a new key begins to sign. Every process looks once a second, so all of
# them know the key before any of them signs with it.
TAKEN_UP_S = 10.0
LOOK_S = 1.0


class KeyFiles:
    """`keys` is one object whose content is replaced. If files cannot be used, the previous keys
    stay. Raises InvalidSettings at the start.

    Without a first key, `keys` contains a random one that is in memory only, and under which
    nothing may be made: `ensure_first` is next."""

    def __init__(self, settings: Settings, now: float) -> None:
        self.settings = settings
        self._seen = read_state(settings)
        self._lacks_first = lacks_first(settings)
        self.files: tuple[KeyFile, ...] = ()
        if self._lacks_first:
            check_data_dir(settings)
            secrets = (randomness.key(),)
            self.keys = Keys(secrets, secrets)
        else:
            self.files = read_ring(settings).keys
            self.keys = build_keys(self.files, now)

    async def ensure_first(self, uses: KeyUses, now: float) -> None:
        """Make the first key if it is missing. If the database needs one that was there before, it
        is lost, and a new one would end what is under it. Raises InvalidSettings,
        StorageUnavailable."""
        if not self._lacks_first:
            return
        if (fault := await _find_lost(self.settings, uses, self.keys, now)) is not None:
            raise InvalidSettings([fault])
        make_first(self.settings)
        self._lacks_first = False
        self._seen = read_state(self.settings)
        self.files = read_ring(self.settings).keys
        self.keys.replace(build_keys(self.files, now))

    def look(self, now: float) -> Keys | None:
        """Read the files again if they changed, and update the keys. Returns the previous keys if
        they differ."""
        self._read_again()
        fresh, before = build_keys(self.files, now), self.keys.copy()
        if fresh.is_same(before):
            return None
        self.keys.replace(fresh)
        return before

    def _read_again(self) -> None:
        state = read_state(self.settings)
        if state == self._seen:
            return
        self._seen = state
        try:
            self.files = read_ring(self.settings).keys
        except InvalidSettings as fault:
            _log.error("keys_not_taken", reason=str(fault))
        else:
            _log.info("keys_taken", keys=[each.id for each in self.files])


async def find_lost(settings: Settings, now: float) -> Fault | None:
    """The error with which a start would end because the first key is missing and the database
    needs it. Nothing is created or changed. Raises StorageFault."""
    if not lacks_first(settings):
        return None
    other = (randomness.key(),)
    unknown = (
        f"{find_first(settings)} is missing, and it is not known whether the database needs it"
    )
    async with _open_uses(settings, unknown) as uses:
        if uses is None:
            return None
        return await _find_lost(settings, uses, Keys(other, other), now)


async def find_unreadable(settings: Settings, now: float) -> Fault | None:
    """The error with which a start would end because no key opens the secrets of some users, such
    as next to a database from another backup. Nothing is changed. Raises InvalidSettings,
    StorageFault."""
    if lacks_first(settings):
        return None
    keys = build_keys(read_ring(settings).keys, now)
    unknown = "it is not known whether the keys open the secrets of all users"
    async with _open_uses(settings, unknown) as uses:
        users = () if uses is None else await uses.list_unreadable(keys)
    if not users:
        return None
    whose = format_count(len(users), "user")
    message = (
        f"no key opens the secrets of {whose}, such as {users[0]!r}, so Doorward does not start"
    )
    return Fault("secret_files", None, message, "name the key file that was in use before as well")


@asynccontextmanager
async def _open_uses(settings: Settings, unknown: str) -> AsyncIterator[KeyUses | None]:
    """What needs the keys; None if there is no database yet. If it cannot be read, raises
    StorageFault with what is `unknown` then."""
    try:
        async with open_key_uses(settings) as rows:
            yield None if rows is None else KeyUses(rows)
    except (StorageFault, StorageUnavailable) as reason:
        raise StorageFault(f"{unknown}: {reason}") from reason


async def _find_lost(settings: Settings, uses: KeyUses, rest: Keys, now: float) -> Fault | None:
    """`rest`: keys with which nothing is encrypted."""
    needs = await uses.find(rest, math.inf, now)
    if needs.is_any and lacks_first(settings):  # another process may have made it since
        return _report_lost(find_first(settings), needs)
    return None


def _report_lost(path: Path, needs: KeyNeeds) -> Fault:
    what = []
    if needs.users:
        what.append(f"the secrets of {format_count(len(needs.users), 'user')}")
    if needs.sessions:
        what.append(format_count(needs.sessions, "session"))
    if needs.tokens:
        what.append(format_count(needs.tokens, "API token"))
    hint = (
        "restore it from a backup, or make a new key and lose these:"
        f" (umask 077; openssl rand 32 | basenc --base64url > {shlex.quote(str(path))})"
    )
    message = f"{path} is missing, and the database needs it for {' and '.join(what)}"
    return Fault("data_dir", None, message, hint)


def build_keys(files: tuple[KeyFile, ...], now: float) -> Keys:
    secrets = [Secret(each.secret, each.since, each.is_urgent) for each in files]
    return Keys(arrange(secrets, now), arrange(secrets, now, NOTICE_S))
