"""Several processes on one database: no revocation is lost, however a process ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from doorward.storage.database import SQLITE, open_storage

from tests.support.people import NOW, add, open_session

WRITER = """
import asyncio, pathlib, sys
from doorward.storage.database import open_storage

async def main():
    store = await open_storage("sqlite", pathlib.Path(sys.argv[1]))
    for line in sys.stdin:
        await store.sessions.end(int(line), 1700000001.0, "logout")
        print(line.strip(), flush=True)
    await store.close()

asyncio.run(main())
"""


async def writer(data_dir: Path) -> asyncio.subprocess.Process:
    """Another process that ends the given sessions and acknowledges each."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(data_dir),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.outside
async def test_the_mark_has_moved_when_another_process_acknowledges(tmp_path: Path) -> None:
    store = await open_storage(SQLITE, tmp_path)
    user = await add(store)
    sessions = [await open_session(store, user) for _ in range(50)]
    process = await writer(tmp_path)
    assert process.stdin is not None and process.stdout is not None
    number = 0
    for session in sessions:
        before = store.feed.marker()
        process.stdin.write(b"%d\n" % session.number)
        await process.stdout.readline()
        assert store.feed.marker() != before
        news = await store.feed.news(number)
        assert news.sessions == {session.number}
        number = news.number
    process.stdin.close()
    assert await process.wait() == 0
    await store.close()


@pytest.mark.outside
@pytest.mark.parametrize("round_", range(3))
async def test_acknowledged_changes_survive_kill_9(tmp_path: Path, round_: int) -> None:
    store = await open_storage(SQLITE, tmp_path)
    user = await add(store)
    sessions = [await open_session(store, user) for _ in range(30)]
    process = await writer(tmp_path)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"".join(b"%d\n" % session.number for session in sessions))
    acknowledged = {int(await process.stdout.readline()) for _ in range(7 + round_)}
    os.kill(process.pid, signal.SIGKILL)
    acknowledged |= {int(line) for line in (await process.stdout.read()).splitlines()}
    await process.wait()
    live = {session.number for session in await store.sessions.list(user.number, NOW)}
    assert not live & acknowledged
    assert acknowledged <= (await store.feed.news(0)).sessions
    await store.close()
