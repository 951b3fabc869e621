"""A browser for the pages of a `home`, which each file configures."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.house import PASSWORD, House


@pytest.fixture
async def browser(home: House) -> AsyncIterator[httpx.AsyncClient]:
    """Logged in as alice, just now."""
    async with home.browser(sec_fetch_site="same-origin") as client:
        form = {"username": "alice", "password": PASSWORD}
        done = await client.post("/.doorward/login", data=form)
        assert done.status_code == 303
        yield client
