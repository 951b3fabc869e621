"""A chore that fails is tried again, and the others go on: among them is what ends sessions here
that another host has ended."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from doorward import app as life
from doorward.app import Application

from tests.conftest import Make
from tests.support.savings import migrated
from tests.support.waiting import settled

CHORES = ("_poll", "_renew_secrets", "_refresh", "_flush", "_purge", "_listen", "_look_at_keys")


@pytest.mark.parametrize("broken", CHORES)
async def test_a_chore_that_fails_is_tried_again_and_stops_no_other(
    broken: str, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(tmp_path)
    done: Counter[str] = Counter()

    def chore(name: str) -> Any:
        async def do(app: Application) -> None:
            done[name] += 1
            if name == broken and done["_poll"] > 1:  # the first poll is part of the start
                raise ValueError("a bug")

        return do

    for name in CHORES:
        monkeypatch.setattr(Application, name, chore(name))
    for name in ("POLL_S", "LOOK_S"):
        monkeypatch.setattr(life, name, 0.0)
    for name in ("PURGE_EVERY", "FLUSH_EVERY"):
        monkeypatch.setattr(life, name, 1)
    async with Application(settings()):
        await settled(lambda: all(done[name] > 3 for name in CHORES))
