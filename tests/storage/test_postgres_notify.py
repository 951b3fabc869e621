"""Another host gets a revocation at once if the database supports notifications."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]
import pytest
from doorward import app as wiring
from doorward.accounts.refusals import StorageUnavailable
from doorward.app import Application
from doorward.settings import settings_from
from doorward.settings.key_ring import make_first
from doorward.storage.postgres_notify import PostgresNotify

from tests.storage.conftest import opened_at
from tests.support.people import NOW, add, open_session
from tests.support.waiting import PATIENCE_S


async def test_another_host_is_notified_only_of_changes(
    postgresql_url: str, tmp_path: Path
) -> None:
    async with opened_at(postgresql_url, tmp_path / "a") as here:
        async with opened_at(postgresql_url, tmp_path / "b") as there:
            await there.feed.heard()  # from now on it listens
            hearing = asyncio.create_task(there.feed.heard())
            session = await open_session(here, await add(here))
            await here.sessions.touch([(session.number, NOW + 1)])
            assert not hearing.done()
            before = there.feed.marker()
            await here.sessions.end(session.number, NOW, "logout")
            await asyncio.wait_for(hearing, PATIENCE_S)
            assert (await there.feed.news(0)).sessions == {session.number}
            assert there.feed.marker() == before, "only the marker of that host has moved"


async def test_a_change_that_fails_is_not_recorded(postgresql_url: str, tmp_path: Path) -> None:
    async with opened_at(postgresql_url, tmp_path) as store:
        await store.feed.heard()
        hearing = asyncio.create_task(store.feed.heard())
        with pytest.raises(ZeroDivisionError):
            async with store.feed.changing(NOW) as change:
                change.users.add(1)
                raise ZeroDivisionError
        await store.feed.head()
        assert not hearing.done()
        hearing.cancel()


async def test_a_connection_that_is_cut_is_noticed_and_reopened(
    postgresql_url: str, tmp_path: Path
) -> None:
    async with opened_at(postgresql_url, tmp_path) as store:
        user = await add(store)
        await store.feed.heard()
        hearing = asyncio.create_task(store.feed.heard())
        other = await asyncpg.connect(postgresql_url)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN doorward'"
            " OR query LIKE 'LISTEN %doorward%'"
        )
        await other.close()
        await asyncio.wait_for(hearing, PATIENCE_S)
        await asyncio.wait_for(store.feed.heard(), PATIENCE_S)  # again: none may be missed
        hearing = asyncio.create_task(store.feed.heard())
        await store.users.set_banned(user, True, NOW)
        await asyncio.wait_for(hearing, PATIENCE_S)


async def test_a_server_that_is_not_there_is_a_refusal(postgresql_url: str, tmp_path: Path) -> None:
    async with opened_at(postgresql_url, tmp_path) as store:
        notices = PostgresNotify(store.engine)
        name = urlsplit(postgresql_url).path.removeprefix("/")
        socket = postgresql_url.rpartition("host=")[2]
        other = await asyncpg.connect(host=socket, user="doorward", database="postgres")
        await store.engine.close()
        await other.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await other.close()
        with pytest.raises(StorageUnavailable):
            await notices.heard()
        await notices.close()


class Deaf:
    """A connection that is open, but on which LISTEN fails."""

    def __init__(self) -> None:
        self.is_over = False

    def add_termination_listener(self, callback: object) -> None: ...

    async def add_listener(self, channel: str, callback: object) -> None:
        raise OSError("no answer in time")

    def is_closed(self) -> bool:
        return self.is_over

    def terminate(self) -> None:
        self.is_over = True


async def test_a_connection_that_does_not_listen_is_closed_and_another_made(tmp_path: Path) -> None:
    """Otherwise it would be waited on for ever, although it is never told anything."""
    made: list[Deaf] = []

    async def connect() -> Deaf:
        made.append(Deaf())
        return made[-1]

    async with opened_at("sqlite", tmp_path) as store:
        store.engine.connect = connect
        notices = PostgresNotify(store.engine)
        for number in (1, 2):
            with pytest.raises(StorageUnavailable):
                await asyncio.wait_for(notices.heard(), PATIENCE_S)
            assert len(made) == number and made[-1].is_over
        await notices.close()


async def test_sqlite_sends_no_notifications(tmp_path: Path) -> None:
    async with opened_at("sqlite", tmp_path) as store:
        hearing = asyncio.create_task(store.feed.heard())
        session = await open_session(store, await add(store))
        await store.sessions.end(session.number, NOW, "logout")
        assert not hearing.done()
        hearing.cancel()


async def test_a_session_that_another_host_ends_is_invalid_before_the_next_poll(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "POLL_S", 3600.0)
    values = {"storage": postgresql_url, "routes": [{"upstream": "http://127.0.0.1:9"}]}
    settings = settings_from(values | {"data_dir": str(tmp_path / "a")}, tmp_path)
    make_first(settings)  # the database has a session, for which it is not made later
    async with opened_at(postgresql_url, tmp_path / "b") as there:
        session = await open_session(there, await add(there), time.time())
        async with Application(settings) as app:
            assert app._live is not None
            heard = app._live._epoch
            async with asyncio.timeout(PATIENCE_S):
                # End sessions until it listens: only then does a notification reach it.
                while app._live._epoch == heard:
                    await there.sessions.end(session.number, time.time(), "logout")
                    await asyncio.sleep(0.02)  # time for the notification, if there is one
