"""Opening a database: it is created, migrated under a lock, or refused with one clear sentence."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from doorward.accounts.refusals import StorageUnavailable
from doorward.storage import StorageFault, engine, schema
from doorward.storage.database import SQLITE, open_storage
from doorward.storage.inspection import FILES, find_unusable, inspect_sqlite
from doorward.storage.tables import metadata
from sqlalchemy import Connection, create_engine, text

from tests.storage.conftest import Open
from tests.support.people import add, all_users

MIGRATIONS = Path(schema.__file__).with_name("migrations")
FILE = "doorward.db"


async def refused(storage: str, data_dir: Path) -> str:
    with pytest.raises(StorageFault) as caught:
        await open_storage(storage, data_dir)
    sentence = str(caught.value)
    assert sentence.isprintable(), "one line"
    return sentence


@pytest.mark.parametrize("version", sorted(schema.VERSIONS))
async def test_a_database_of_an_older_release_is_migrated_without_data_loss(
    tmp_path: Path, version: str
) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    older = create_engine(f"sqlite:///{tmp_path / FILE}")
    with older.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        connection.execute(
            text("INSERT INTO attempts (attempt, budget, at) VALUES ('kept', 'x', 7)")
        )
    older.dispose()
    store = await open_storage(SQLITE, tmp_path)
    await store.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        kept = database.execute("SELECT attempt, at FROM attempts").fetchall()
        found = database.execute("SELECT version_num FROM alembic_version").fetchall()
    assert (kept, found) == ([("kept", 7.0)], [(schema.HEAD,)])


async def test_migrations_make_the_tables_that_queries_use(opened: Open) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    store = await opened()
    async with store.engine.reading() as connection:
        assert await connection.run_sync(differences) == []


def test_the_versions_known_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_current_head() == schema.HEAD
    assert {script.revision for script in scripts.walk_revisions()} == schema.VERSIONS


async def test_files_are_readable_only_by_their_owner(tmp_path: Path) -> None:
    data_dir = tmp_path / "a" / "b"
    store = await open_storage(SQLITE, data_dir)
    await add(store)
    modes = {path.name: path.stat().st_mode & 0o777 for path in data_dir.iterdir()}
    await store.close()
    assert {FILE, f"{FILE}-wal", "revocations"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert data_dir.stat().st_mode & 0o777 == 0o700


async def test_kept_data_survive_a_restart(empty_storage: str, tmp_path: Path) -> None:
    first = await open_storage(empty_storage, tmp_path)
    await add(first)
    await first.close()
    second = await open_storage(empty_storage, tmp_path)
    users = await all_users(second)
    await second.close()
    assert [user.username for user in users] == ["Alice"]


OPEN = """
import asyncio, pathlib, sys
from doorward.accounts.administration import UserFilter
from doorward.storage.database import open_storage
async def main():
    store = await open_storage(sys.argv[1], pathlib.Path(sys.argv[2]))
    print(len(await store.listings.users(UserFilter(), None, 9)))
    await store.close()
asyncio.run(main())
"""


@pytest.mark.outside
def test_processes_that_start_together_do_not_collide(empty_storage: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, empty_storage, str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    results = [process.communicate(timeout=60) for process in processes]
    assert results == [("0\n", "")] * 4


def damage_header(path: Path) -> None:
    path.write_bytes(b"this is not a database at all" * 100)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def take_newer(path: Path) -> None:
    _execute(path, "UPDATE alembic_version SET version_num = '9999'")


def be_of_another_program(path: Path) -> None:
    path.unlink()
    _execute(path, "CREATE TABLE recipes (name TEXT)")


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_header, "not a database or is damaged; restore a backup"),
        (cut, "is damaged; restore a backup"),
        (take_newer, "tables of version 9999"),
        (be_of_another_program, "tables of another program"),
    ],
)
async def test_a_foreign_or_damaged_database_is_refused(
    tmp_path: Path, harm: Callable[[Path], None], says: str
) -> None:
    await (await open_storage(SQLITE, tmp_path)).close()
    harm(tmp_path / FILE)
    before = (tmp_path / FILE).read_bytes()
    sentence = await refused(SQLITE, tmp_path)
    assert says in sentence and str(tmp_path / FILE) in sentence
    assert (tmp_path / FILE).read_bytes() == before, "it is left as it was"


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_header, "is damaged: file is not a database"),
        (cut, "is damaged: database disk image is malformed"),
        (take_newer, "has tables of version 9999"),
        (lambda path: _execute(path, "DELETE FROM alembic_version"), "which version"),
        (be_of_another_program, "holds tables of another program"),
        (lambda path: path.write_bytes(b""), None),
        (lambda path: path.unlink(), None),
        (lambda path: None, None),
    ],
)
async def test_an_inspection_finds_what_would_refuse_the_start(
    tmp_path: Path, harm: Callable[[Path], None], says: str | None
) -> None:
    await (await open_storage(SQLITE, tmp_path)).close()
    harm(tmp_path / FILE)
    before = sorted(path.name for path in tmp_path.iterdir())
    found = list(find_unusable(tmp_path, is_sqlite=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "it makes nothing"
    if says is None:
        assert found == []
        await (await open_storage(SQLITE, tmp_path)).close()
    else:
        assert [says in damage.message for damage in found] == [True]
        await refused(SQLITE, tmp_path)


async def test_an_inspection_reads_a_database_in_use_and_does_not_wait_for_one_that_is_locked(
    tmp_path: Path,
) -> None:
    store = await open_storage(SQLITE, tmp_path)
    await add(store)
    assert list(find_unusable(tmp_path, is_sqlite=True)) == []
    await store.close()
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("DELETE FROM feed")
    try:
        assert list(find_unusable(tmp_path, is_sqlite=True)) == []
    finally:
        other.close()


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_a_server_writes_is_inspected(tmp_path: Path, name: str) -> None:
    for harm in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to("gone")):
        path = tmp_path / name
        harm(path)
        (damage,) = find_unusable(tmp_path, is_sqlite=True)
        assert str(path) in damage.message
        path.rmdir() if path.is_dir() else path.unlink()


async def test_the_inspected_files_are_the_existing_ones(tmp_path: Path) -> None:
    store = await open_storage(SQLITE, tmp_path)
    await add(store)
    made = {path.name for path in tmp_path.iterdir()}
    await store.close()
    assert set(FILES) - made == {"doorward.rates"} and made <= set(FILES)


async def test_a_locked_database_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.1)
    await (await open_storage(SQLITE, tmp_path)).close()
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("DELETE FROM feed")
    try:
        assert "is locked by another program" in await refused(SQLITE, tmp_path)
    finally:
        other.close()


async def test_a_migration_that_hangs_elsewhere_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_WAIT_S", 0.1)
    with (tmp_path / "doorward.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "is locked by another Doorward" in await refused(SQLITE, tmp_path)


async def test_an_impossible_data_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence = await refused(SQLITE, tmp_path / "file" / "data")
    assert sentence.startswith("data_dir: ") and "Not a directory" in sentence


async def test_a_pipe_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    assert "is not a file" in await refused(SQLITE, tmp_path)


@pytest.mark.parametrize("name", ["wi?ki", "wi#ki", "100%41", "a b"])
async def test_the_path_of_the_database_may_hold_any_character(tmp_path: Path, name: str) -> None:
    store = await open_storage(SQLITE, tmp_path / name)
    await add(store)
    await store.close()
    assert (tmp_path / name / FILE).stat().st_size > 0
    assert list(inspect_sqlite(tmp_path / name / FILE)) == []
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_a_folder_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    assert "Is a directory" in await refused(SQLITE, tmp_path)


async def test_a_marker_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "revocations").symlink_to("nowhere")
    assert str(tmp_path / "revocations") in await refused(SQLITE, tmp_path)


@pytest.mark.outside
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://doorward:s3cret@127.0.0.1:1/doorward",
        "postgresql://doorward:s3cret@/doorward?host=/nonexistent",
        "postgresql://doorward:s3cret@127.0.0.1:port/doorward",
    ],
)
async def test_an_unreachable_server_is_reported_without_its_password(
    tmp_path: Path, url: str
) -> None:
    sentence = await refused(url, tmp_path)
    assert "storage: postgresql://" in sentence and "s3cret" not in sentence


async def test_an_unknown_database_is_reported(postgresql_socket: str, tmp_path: Path) -> None:
    url = f"postgresql://doorward@/nothing_here?host={postgresql_socket}"
    assert 'database "nothing_here" does not exist' in await refused(url, tmp_path)


async def test_a_database_that_stops_answering_is_a_refusal(opened: Open, tmp_path: Path) -> None:
    store = await opened()
    async with store.engine.writing() as connection:
        await connection.exec_driver_sql("DROP TABLE feed_counter")
    for asked in (store.feed.head(), store.feed.news(0), store.sessions.end(1, 0.0, "logout")):
        with pytest.raises(StorageUnavailable):
            await asked


async def test_a_write_waits_for_another_process_and_then_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.1)
    store = await open_storage(SQLITE, tmp_path)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable):
            await add(store)
        assert await all_users(store) == [], "reading goes on"
        other.execute("ROLLBACK")
        await add(store)
    finally:
        other.close()
        await store.close()


@pytest.mark.outside
@pytest.mark.usefixtures("full_price")
async def test_revocations_are_on_the_disk_before_they_are_acknowledged(tmp_path: Path) -> None:
    store = await open_storage(SQLITE, tmp_path)
    async with store.engine.writing() as connection:
        pragmas = [
            await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("synchronous", "journal_mode", "foreign_keys")
        ]
    await store.close()
    assert pragmas == [2, "wal", 1]  # 2 is FULL
