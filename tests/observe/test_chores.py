"""What is done again and again is done again after an error, too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
import structlog
from doorward.observe.chores import repeat

from tests.support.waiting import settled


@pytest.mark.parametrize("is_awaited", [True, False])
async def test_a_chore_that_fails_is_done_again(is_awaited: bool) -> None:
    done = 0

    def chore() -> Awaitable[None] | None:
        nonlocal done
        done += 1
        if is_awaited:
            return asyncio.sleep(0)
        raise PermissionError("a bug")

    with structlog.testing.capture_logs() as logged:
        task = asyncio.ensure_future(repeat(chore, 0.0))
        await settled(lambda: done > 3)
        task.cancel()
    events = {(entry["event"], entry["log_level"]) for entry in logged}
    assert events == (set() if is_awaited else {("housekeeping_failed", "error")})


async def test_a_chore_waits_first_unless_it_is_done_at_once() -> None:
    done: list[bool] = []
    tasks = [
        asyncio.ensure_future(repeat(lambda: done.append(True), 3600.0, at_once=at_once))
        for at_once in (True, False)
    ]
    await asyncio.sleep(0)
    assert done == [True]
    for task in tasks:
        task.cancel()
