"""Waiting for another thread, process or task: until a condition holds, and never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 45.0  # however busy the machine is: what takes longer than this never comes


def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait for another thread or process to get there; fail when it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain {what}"
        time.sleep(0.005)


async def settled(condition: object) -> None:
    """Let the loop run until a condition holds; nothing announces it."""
    assert callable(condition)
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)
