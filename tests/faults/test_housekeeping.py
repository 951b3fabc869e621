"""A chore that fails is tried again, and one that hangs holds up no other: among them is what ends
sessions here that another host has ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from doorward import app as life
from doorward.app import Application

from tests.conftest import Make
from tests.support.savings import migrated
from tests.support.waiting import settled

CHORES = ("_poll", "_renew_secrets", "_refresh", "_flush", "_purge", "_listen", "_look_at_keys")


async def fail() -> None:
    raise ValueError("a bug")


async def hang() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("broken", CHORES)
@pytest.mark.parametrize("how", [fail, hang])
async def test_a_chore_that_fails_or_hangs_stops_no_other(
    broken: str,
    how: Callable[[], Awaitable[None]],
    settings: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    migrated(tmp_path)
    done: Counter[str] = Counter()

    def chore(name: str) -> Any:
        async def do(app: Application) -> None:
            done[name] += 1
            if name == broken and (name != "_poll" or done[name] > 1):  # one is part of the start
                await how()

        return do

    for name in CHORES:
        monkeypatch.setattr(Application, name, chore(name))
    for name in ("POLL_S", "LOOK_S", "PURGE_S", "FLUSH_S"):
        monkeypatch.setattr(life, name, 0.0)
    expected = [name for name in CHORES if name != broken or how is fail]
    async with Application(settings()):
        await settled(lambda: all(done[name] > 3 for name in expected))
