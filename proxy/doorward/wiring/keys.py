"""The keys of this process, read from their files and read again when those change, in order of
time.

Joins the files of `settings.key_ring` with the core's `Keys`; must not know how keys are used.
"""

from __future__ import annotations

import os

import structlog

from doorward.accounts.keys import NOTICE_S, Keys, Secret, arrange
from doorward.settings import InvalidSettings, Settings
from doorward.settings.key_ring import KeyFile, find_first, read_ring, read_state
from doorward.storage.database import holds_database

_log = structlog.get_logger("doorward.keys")

# How long after it was made a new key begins to sign. Every process looks once a second, so all of
# them know the key before any of them signs with it.
TAKEN_UP_S = 10.0
LOOK_S = 1.0


class KeyFiles:
    """`keys` is one object whose content is replaced. If files cannot be used, the previous keys
    stay. Raises InvalidSettings at the start."""

    def __init__(self, settings: Settings, now: float) -> None:
        self.settings = settings
        self._seen = read_state(settings)
        is_lost = holds_database(settings) and not os.path.lexists(find_first(settings))
        self.files = read_ring(settings).keys
        if is_lost:
            _log.warning("key_lost", made=str(find_first(settings)))
        self.keys = build_keys(self.files, now)

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
            self.files = read_ring(self.settings, may_make=False).keys
        except InvalidSettings as fault:
            _log.error("keys_not_taken", reason=str(fault))
        else:
            _log.info("keys_taken", keys=[each.id for each in self.files])


def build_keys(files: tuple[KeyFile, ...], now: float) -> Keys:
    secrets = [Secret(each.secret, each.since, each.is_urgent) for each in files]
    return Keys(arrange(secrets, now), arrange(secrets, now, NOTICE_S))
