from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.house import House, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """Pages and the `xhr` dialect, and nobody who could log in yet."""
    async with house(tmp_path) as built:
        yield built
