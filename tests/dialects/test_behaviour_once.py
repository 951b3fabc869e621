"""If several requests delete one session at the same moment, only one reports success."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.house import House, house

DIALECTS = {"alekeagle": {"rate_limit": "off"}, "datepoll": {}}


def path_of(home: House, dialect: str, iat: int, number: int) -> str:
    if dialect == "alekeagle":
        return f"/api/user/session/{iat}"
    return f"/api/v1/user/myself/session/{number}"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_only_one_of_many_deletions_reports_success(tmp_path: Path, dialect: str) -> None:
    async with house(tmp_path, dialects=DIALECTS) as home:
        await home.add()
        mine, gone = await home.opened(), await home.opened()
        path = path_of(home, dialect, gone.session.iat, gone.session.number)
        headers = {"authorization": f"Bearer {mine.token}"}
        async with home.program() as client:
            asked = [client.delete(path, headers=headers) for _ in range(8)]
            answers = [answer.status_code for answer in await asyncio.gather(*asked)]
        assert sorted(answers) == [200, *[404] * 7]
        assert await home.found(gone) is None
