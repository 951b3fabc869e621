"""A clock that only moves when a test moves it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FixedClock:
    now: float = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now
