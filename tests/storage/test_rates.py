"""Counters that all processes of a host share, in windows of fixed length."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest
from doorward.accounts.keys import Keys
from doorward.accounts.refusals import StorageUnavailable
from doorward.storage.rates import RATES_FILE, SLOTS_PER_BUCKET, Count, Rates

from tests.support.clock import FixedClock
from tests.support.small_disk import SmallDisk

KEYS = Keys((b"k" * 32,))


@pytest.fixture
def rates(tmp_path: Path) -> Iterator[Rates]:
    rates = Rates(tmp_path, KEYS)
    yield rates
    rates.close()


def test_each_use_reduces_the_number_left_to_zero(rates: Rates, clock: FixedClock) -> None:
    counts = [rates.count("alice", 2, 60.0, clock()) for _ in range(4)]
    assert [count.left for count in counts] == [1, 0, 0, 0]
    assert [count.is_exceeded for count in counts] == [False, False, True, True]
    assert {count.resets_at for count in counts} == {clock() + 60}


def test_a_window_does_not_slide_and_ends_as_it_said(rates: Rates, clock: FixedClock) -> None:
    end = rates.count("alice", 1, 60.0, clock()).resets_at
    clock.now += 59.5
    assert rates.count("alice", 1, 60.0, clock()) == Count(1, 2, end, 60.0)
    clock.now += 0.5
    assert rates.count("alice", 1, 60.0, clock()) == Count(1, 1, clock() + 60, 60.0)


def test_keys_do_not_count_together(rates: Rates, clock: FixedClock) -> None:
    rates.count("alice", 1, 60.0, clock())
    assert not rates.count("bob", 1, 60.0, clock()).is_exceeded


def test_a_clock_that_is_set_back_locks_nobody_out(rates: Rates, clock: FixedClock) -> None:
    rates.count("alice", 1, 60.0, clock())
    clock.now -= 86_400
    assert rates.count("alice", 1, 60.0, clock()).used == 1


def test_counts_survive_a_restart(rates: Rates, clock: FixedClock, tmp_path: Path) -> None:
    rates.count("alice", 1, 60.0, clock())
    rates.close()
    again = Rates(tmp_path, KEYS)
    assert again.count("alice", 1, 60.0, clock()).is_exceeded
    again.close()
    again.close()


def test_a_full_bucket_evicts_the_count_that_ends_first(
    rates: Rates, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorward.storage.rates.BUCKETS", 1)
    for number in range(SLOTS_PER_BUCKET + 1):
        rates.count(f"key {number}", 1, 60.0, clock())
        clock.now += 1
    assert rates.count("key 8", 1, 60.0, clock()).is_exceeded
    assert not rates.count("key 0", 1, 60.0, clock()).is_exceeded


ASK = """
import sys
from pathlib import Path
from doorward.accounts.keys import Keys
from doorward.storage import rates as counting

counting.LOCK_WAIT_S = 60.0  # the system may interrupt a process that holds the lock
rates = counting.Rates(Path(sys.argv[1]), Keys((b"k" * 32,)))
for _ in range(500):
    rates.count("alice", 10, 60.0, 1_800_000_000.0)
"""


@pytest.mark.outside
def test_processes_at_the_same_moment_lose_no_count(rates: Rates, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK, str(tmp_path)]
    workers = [subprocess.Popen(command) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert rates.count("alice", 10, 60.0, 1_800_000_000.0).used == 1501


def test_only_its_owner_can_read_the_file(rates: Rates, clock: FixedClock, tmp_path: Path) -> None:
    rates.count("alice", 1, 60.0, clock())
    assert stat.S_IMODE((tmp_path / RATES_FILE).stat().st_mode) == 0o600
    assert b"alice" not in (tmp_path / RATES_FILE).read_bytes()


def test_an_unreadable_file_is_a_storage_error(clock: FixedClock, tmp_path: Path) -> None:
    os.symlink("elsewhere", tmp_path / RATES_FILE)
    with pytest.raises(StorageUnavailable):
        Rates(tmp_path, KEYS).count("alice", 1, 60.0, clock())


def test_keys_are_stored_as_keyed_hashes(clock: FixedClock, tmp_path: Path) -> None:
    """With a plain hash, an attacker could choose addresses that fill a bucket to push out a count,
    or test addresses against a copy of the file."""
    written = []
    for number, secret in enumerate((b"k", b"l")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with closing(Rates(folder, Keys((secret * 32,)))) as rates:
            rates.count("alice", 1, 60.0, clock())
        written.append((folder / RATES_FILE).read_bytes().strip(b"\0")[:16])
    assert written[0] != written[1]
    assert blake2b(b"alice", digest_size=16).digest() not in written


def test_a_full_disk_is_a_storage_error(clock: FixedClock, small_disk: SmallDisk) -> None:
    rates = Rates(small_disk.path, KEYS)
    rates.count("alice", 1, 60.0, clock())
    small_disk.fill()
    with pytest.raises(StorageUnavailable):
        for number in range(100):
            rates.count(f"key {number}", 1, 60.0, clock())
    assert rates.count("alice", 1, 60.0, clock()).is_exceeded, "it has its place already"
    small_disk.make_room()
    assert not rates.count("key 99", 1, 60.0, clock()).is_exceeded
    rates.close()
