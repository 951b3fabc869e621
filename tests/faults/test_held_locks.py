"""Another process keeps a shared file locked: a stopped worker, a backup, or a tool of the system.
Nobody waits for it without a limit, and what is lost is logged."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from doorward.accounts.audit.audit_log import Event, Kind, Record
from doorward.accounts.keys import Keys
from doorward.accounts.refusals import StorageUnavailable
from doorward.observe import audit
from doorward.observe.audit import open_channel, write_to
from doorward.observe.channel import Channel, Lines
from doorward.observe.metrics import Metrics
from doorward.observe.shared_counters import LOCK, clear_counters
from doorward.settings import key_ring
from doorward.settings.file_lock import lock_file
from doorward.settings.key_ring import KeysAreGiven, add_key, make_first, read_ring, retire_key
from doorward.storage import rates as counting
from doorward.storage.rates import RATES_FILE, Rates

from tests.conftest import Make
from tests.support.clock import FixedClock
from tests.support.waiting import until

PROXY = Path(audit.__file__).parents[1]
KEYS = Keys((b"k" * 32,))


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Locked by another opening of the file, as by another process."""
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def record(number: int) -> Record:
    return Record(number, Event(1_800_000_000.0, Kind.LOGIN, "alice", "alice"))


def read_numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


def test_every_wait_for_a_lock_has_a_limit() -> None:
    """`settings/file_lock.py` has the only wait, which ends."""
    found = [
        (file.name, ast.unparse(node))
        for file in PROXY.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("fcntl.flock", "fcntl.lockf")
    ]
    waiting = {where for where, call in found if "LOCK_NB" not in call}
    assert len(found) > 2 and waiting == {"file_lock.py"}


def test_rate_counters_refuse_at_once_until_their_file_is_free(
    tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = Rates(tmp_path, KEYS)
    waits: list[float] = []

    def noted(file: int, wait_s: float) -> None:
        waits.append(wait_s)
        lock_file(file, wait_s)

    monkeypatch.setattr(counting, "lock_file", noted)
    rates.count("alice", 9, 60.0, clock())
    with structlog.testing.capture_logs() as logged:
        with held(tmp_path / RATES_FILE):
            for _ in range(3):
                with pytest.raises(StorageUnavailable):
                    rates.count("alice", 9, 60.0, clock())
                with pytest.raises(StorageUnavailable):
                    rates.pace("alice", 9, 60.0, clock())
        assert rates.count("alice", 9, 60.0, clock()).used == 2
        rates.pace("alice", 9, 60.0, clock())
    assert [entry["event"] for entry in logged] == ["rates_locked", "rates_free_again"]
    limit_s = counting.LOCK_WAIT_S
    assert waits == [limit_s, limit_s, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, limit_s]
    rates.close()


def test_audit_lines_wait_for_the_lock_and_lost_ones_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "THREAD_WAIT_S", 0.05)
    channel = open_channel(file := tmp_path / "audit.jsonl")
    assert channel is not None
    tell = write_to(channel)
    with structlog.testing.capture_logs() as logged, channel.running():
        with held(file):
            tell(record(1))
            until(lambda: channel.lost == 1)
        tell(record(2))
        until(lambda: len(logged) > 1)
    assert [(entry["event"], entry.get("lost")) for entry in logged] == [
        ("audit_lines_lost", None),
        ("audit_written_again", 1),
    ]
    assert "locked" in logged[0]["reason"]
    assert read_numbers(file) == [2]


def test_audit_lines_that_waited_go_to_the_new_file_after_a_rotation(tmp_path: Path) -> None:
    """A tool may lock the file, move it away and compress it."""
    channel = open_channel(file := tmp_path / "audit.jsonl")
    assert channel is not None
    tell = write_to(channel)
    with channel.running():
        with held(file):
            tell(record(1))
            tell(record(2))
            file.rename(tmp_path / "audit.jsonl.1")
            until(lambda: file.exists() and file.stat().st_size)
    assert read_numbers(file) == [1, 2] and not (tmp_path / "audit.jsonl.1").read_bytes()
    assert channel.lost == 0


def test_lines_that_are_not_written_before_the_end_are_reported() -> None:
    told: list[str] = []
    release = threading.Event()

    def write(lines: Lines, may_wait: bool) -> None:
        release.wait()
        lines.clear()

    channel = Channel(write, told.append)
    with channel.running():
        channel.put("x\n")
    release.set()
    assert len(told) == 1 and "end" in told[0]


async def test_metrics_do_not_wait_for_the_lock_of_their_folder(tmp_path: Path) -> None:
    folder = clear_counters(tmp_path)
    first = Metrics((), folder)
    with structlog.testing.capture_logs() as logged:
        with held(folder / LOCK):
            second = Metrics((), folder)
            began = time.thread_time()
            for _ in range(20):
                second.fold()
            assert time.thread_time() - began < 1
            for metrics in (first, second):
                with pytest.raises(OSError, match=r"locked|workers"):
                    await metrics.answer("")
        second.fold()
        assert b"doorward_processes 2" in (await second.answer(""))[0]
    assert [entry["event"] for entry in logged] == ["metrics_not_written", "metrics_written_again"]
    first.close()
    second.close()


def test_a_key_retirement_fails_if_another_process_keeps_the_lock(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "LOCK_WAIT_S", 0.0)
    given = settings()
    make_first(given)
    (old,) = read_ring(given).keys
    add_key(given, 1_800_000_000.0)
    with held(tmp_path), pytest.raises(KeysAreGiven, match="another process keeps it locked"):
        retire_key(given, old, 1_800_000_000.0)
