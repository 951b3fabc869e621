"""Chores: what a process does again and again as long as it runs.

Knows pauses and failures; must not know what a chore does.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger("doorward")

Chore = Callable[[], Awaitable[None] | None]


async def repeat(chore: Chore, pause_s: float, *, at_once: bool = False) -> None:
    """Do it forever with this pause, first `at_once` or after a pause. After an error that nobody
    expected, it is done again like after any other time."""
    if not at_once:
        await asyncio.sleep(pause_s)
    while True:
        try:
            doing = chore()
            if doing is not None:
                await doing
        except Exception:
            _log.exception("housekeeping_failed")
        await asyncio.sleep(pause_s)
