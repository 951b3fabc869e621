"""The whole application over raw ASGI scopes, before a recording upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.front import ACCESS, Build, Front, front_of
from tests.support.origin import Origin


@pytest.fixture
async def fronts(tmp_path: Path, origin: Origin) -> AsyncIterator[Build]:
    """Builds applications with the settings asked for."""
    async with AsyncExitStack() as stack:

        async def build(**values: Any) -> Front:
            return await stack.enter_async_context(front_of(tmp_path, origin, **values))

        yield build


@pytest.fixture
async def front(fronts: Build) -> Front:
    """Everything needs a login, `/public/` does not, `/admin/` is for the group `admins`."""
    return await fronts(access=ACCESS)
