"""Waiting for another thread, process or task: until a condition holds, with a timeout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 45.0  # long enough for a very busy machine


def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until a condition about another thread or process holds; fail after the timeout."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain {what}"
        time.sleep(0.005)


async def settled(condition: object) -> None:
    """Let the event loop run until a condition holds for which there is no event."""
    assert callable(condition)
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)
