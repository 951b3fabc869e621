"""A running Doorward whose storage fails and recovers: every acknowledged change is still there."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import ROUNDS, Tell
from tests.support import postgresql
from tests.support.live import PASSWORD, Live, config_user
from tests.support.origin import Origin
from tests.support.small_disk import SmallDisk
from tests.support.waiting import until

pytestmark = pytest.mark.fault

AT_ONCE = 6
UNREGULATED = {"enabled": False}
# The time from a detected silence to an answer: the deadline of a query, and closing the connection
# to a server that does not answer; with a margin for a busy machine.
NOBODY_WAITS_LONGER_S = 20.0


def start(folder: Path, origin: Origin, **values: object) -> Live:
    return Live(folder, origin.url, users=[config_user()], regulation=UNREGULATED, **values).start()


def status_of_login(live: Live, timeout_s: float = 60.0) -> int:
    body = {"username": "alice", "password": PASSWORD}
    url = f"http://{live.host}/xhr/login"
    return httpx.post(url, json=body, timeout=timeout_s, trust_env=False).status_code


def count(live: Live, words: str) -> int:
    """The number of log lines with these words."""
    return sum(words in line for line in live.lines())


def said(live: Live, *events: str) -> str:
    return ", ".join(f"{count(live, event)}x {event}" for event in events)


def test_acknowledged_changes_survive_a_kill(tmp_path: Path, origin: Origin, tell: Tell) -> None:
    live = start(tmp_path, origin)
    kept: list[str] = []
    ended: list[str] = []
    stopping = threading.Event()

    def log_in_and_out(goes: bool) -> None:
        while not stopping.is_set():
            try:
                cookie = live.login()
                if not goes:
                    kept.append(cookie)
                elif live.get("/.doorward/session", cookie).status == 200:
                    with live.client() as client:
                        line = f"POST /xhr/logout HTTP/1.1\r\nHost: {live.host}\r\n{cookie}\r\n"
                        if client.ask(f"{line}Content-Length: 0\r\n\r\n".encode()).status == 204:
                            ended.append(cookie)
            except (OSError, AssertionError):
                return  # the server has stopped, and this was not acknowledged

    def have(number: int) -> bool:
        return min(len(kept), len(ended)) >= number

    try:
        for round_ in range(1, ROUNDS + 1):
            stopping.clear()
            with ThreadPoolExecutor(4) as pool:
                for number in range(4):
                    pool.submit(log_in_and_out, number % 2 == 0)
                until(partial(have, 5 * round_), "for logins")
                live.kill()
                stopping.set()
            live.start()
            assert {live.get("/", cookie).status for cookie in kept} == {200}
            assert {live.get("/", cookie).status for cookie in ended} == {401}
    finally:
        live.stop()
    before = f"{len(kept)} logins, {len(ended)} logouts"
    tell(f"kill -9, {ROUNDS} times", before, "all of them", "a cut connection", "")


def test_a_full_disk_refuses_logins_but_ends_no_session(
    small_disk: SmallDisk, tmp_path: Path, origin: Origin, tell: Tell
) -> None:
    live = start(tmp_path, origin, data_dir=str(small_disk.path / "data"))
    try:
        cookie = live.login()
        small_disk.fill()
        refused = [status_of_login(live) for _ in range(3)]
        assert set(refused) == {503}
        assert live.get("/").status == 401, "an anonymous request is answered as always"
        assert live.get("/", cookie).status == 200
        assert live.get("/.doorward/login").status == 200
        until(lambda: live.admin("/readyz").status_code == 503, "for /readyz to say so")
        small_disk.make_room()
        until(lambda: live.admin("/readyz").status_code == 200, "for the recovery")
        assert status_of_login(live) == 200
        assert live.get("/", cookie).status == 200
        log = said(live, "storage_failed", "storage_recovered")
        # Small writes may succeed in between: there may be enough room for them.
        assert 1 <= count(live, "storage_recovered") <= count(live, "storage_failed") <= 4, log
    finally:
        live.stop()
    tell("full disk", "1 session", "1 session", "503 for logins, 200 otherwise", log)


def test_a_locked_database_delays_requests_no_longer_than_the_deadline(
    tmp_path: Path, origin: Origin, tell: Tell
) -> None:
    live = start(tmp_path, origin)
    try:
        cookie = live.login()
        with closing(sqlite3.connect(tmp_path / "data/doorward.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                refused = list(pool.map(lambda _: status_of_login(live), range(AT_ONCE)))
            longest_s = time.monotonic() - began
            assert live.get("/", cookie).status == 200, "reading goes on"
            other.execute("ROLLBACK")
        assert set(refused) == {503} and longest_s < NOBODY_WAITS_LONGER_S
        until(lambda: live.admin("/readyz").status_code == 200, "for the recovery")
        assert status_of_login(live) == 200
        log = said(live, "storage_failed", "storage_recovered")
    finally:
        live.stop()
    users = f"{AT_ONCE} logins at once: 503 after {longest_s:.1f} s at most; 200 otherwise"
    tell("SQLite locked", "1 session", "1 session", users, log)


def test_no_login_is_accepted_while_the_database_file_is_missing(
    tmp_path: Path, origin: Origin, tell: Tell
) -> None:
    live = start(tmp_path, origin)
    database = tmp_path / "data/doorward.db"
    try:
        cookie = live.login()
        aside = database.with_suffix(".aside")
        os.rename(database, aside)
        assert status_of_login(live) == 503
        until(lambda: live.admin("/readyz").status_code == 503, "for /readyz to say so")
        assert live.get("/", cookie).status == 503
        os.rename(aside, database)
        until(lambda: live.admin("/readyz").status_code == 200, "for the recovery")
        assert live.get("/", cookie).status == 200
        log = said(live, "was removed or replaced")
    finally:
        live.stop()
    tell("database file moved away and back", "1 session", "1 session", "503", log)


def test_no_revocation_is_undone_by_a_file_that_replaced_the_database(
    tmp_path: Path, origin: Origin, tell: Tell
) -> None:
    live = start(tmp_path, origin)
    database = tmp_path / "data/doorward.db"
    try:
        cookie = live.login()
        copy = database.with_suffix(".copy")
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as backup:
            source.backup(backup)
        os.replace(copy, database)
        done = live.command("session", "revoke-all", "alice")
        assert done.returncode == 0, done.stderr
        assert live.get("/", cookie).status == 503, "it was ended in the file that is there"
        live.stop()
        for left_over in ("-wal", "-shm"):
            database.with_name(database.name + left_over).unlink(missing_ok=True)
        live.start()
        after = live.get("/", cookie).status
    finally:
        live.stop()
    assert after == 401
    tell("database file replaced", "1 revocation", "1 revocation", "503", "")


@contextmanager
def stopped(processes: list[int]) -> Iterator[None]:
    """Stop these processes for the duration of the block."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def processes_of(postmaster: int) -> list[int]:
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


async def test_a_hanging_postgresql_gives_503_and_not_an_invalid_session(
    tmp_path: Path, origin: Origin, tell: Tell
) -> None:
    with postgresql.server() as socket:
        url = await postgresql.fresh_database(socket, "faults")
        live = start(tmp_path, origin, storage=url)
        try:
            cookie = live.login()
            postmaster = int((Path(socket) / "data/postmaster.pid").read_text().split()[0])
            with stopped(processes_of(postmaster)):
                until(lambda: live.admin("/readyz").status_code == 503, "for /readyz to say so")
                began = time.monotonic()
                with ThreadPoolExecutor(2 * AT_ONCE) as pool:
                    asking = [pool.submit(live.get, "/", cookie) for _ in range(2 * AT_ONCE)]
                    refused = [asked.result().status for asked in asking]
                longest_s = time.monotonic() - began
                assert live.get("/").status == 401, "nobody's"
            assert set(refused) == {503} and longest_s < NOBODY_WAITS_LONGER_S
            until(lambda: live.admin("/readyz").status_code == 200, "for the recovery")
            assert live.get("/", cookie).status == 200
            log = said(live, "storage_failed", "storage_recovered")
        finally:
            live.stop()
    users = f"{2 * AT_ONCE} requests at once: 503 after {longest_s:.1f} s at most"
    tell("PostgreSQL hangs", "1 session", "1 session", users, log)
