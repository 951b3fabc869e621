"""The marker file, which the processes of a host compare on each request."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from doorward.storage.marker import FILE_BYTES, SETTLE_S, Marker

from tests.support.small_disk import SmallDisk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "revocations"


async def test_every_replacement_has_a_new_mark(path: Path) -> None:
    writer, reader = Marker(path, fresh=True), Marker(path)
    marks = {reader.read()}
    for _ in range(100):
        await writer.replace()
        assert reader.read() == writer.read()
        marks.add(reader.read())
    assert len(marks) == 101 and all(len(mark) == 16 for mark in marks)


def test_only_its_owner_may_read_it(path: Path) -> None:
    Marker(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["revocations"]


def test_a_missing_file_is_noticed_at_the_next_look(path: Path) -> None:
    marker = Marker(path, fresh=True)
    path.unlink()
    marker.check()
    assert marker.read() == b""
    Marker(path)
    marker.check()
    assert len(marker.read()) == 16


def test_a_replaced_file_is_followed(path: Path) -> None:
    marker = Marker(path, fresh=True)
    before = marker.read()
    path.unlink()
    other = Marker(path)
    marker.check()
    assert marker.read() == other.read() != before


def test_a_file_that_cannot_be_opened_is_as_good_as_missing(path: Path) -> None:
    marker = Marker(path, fresh=True)
    path.unlink()
    path.symlink_to(path)
    marker.check()
    assert marker.read() == b""


def test_a_file_of_another_form_is_replaced(path: Path) -> None:
    path.write_bytes(b"")
    assert len(Marker(path).read()) == 16
    assert path.stat().st_size == FILE_BYTES


def test_a_symbolic_link_is_not_followed(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(OSError):
        Marker(path)


async def test_marking_a_new_file_waits_until_all_have_read_it(path: Path) -> None:
    """The only real wait of these tests, because the rule depends on the check every second."""
    marker = Marker(path, fresh=True)
    path.unlink()
    begun = time.monotonic()
    await marker.replace()
    assert time.monotonic() - begun >= SETTLE_S - 0.05
    with pytest.raises(StopIteration):
        marker.replace().send(None)  # now it does not wait


async def test_another_process_waits_for_a_new_file_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorward.storage.marker.SETTLE_S", 3600.0)
    Marker(path)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Marker(path).replace(), 0.05)  # far less


async def test_the_mark_of_another_boot_is_not_new(path: Path) -> None:
    marker = Marker(path.with_name("other"))
    os.pwrite(marker._file, b"\x00\x00\x00\x00\x00\x00\xf0\x43", 16)
    with pytest.raises(StopIteration):
        marker.replace().send(None)  # it does not wait


async def test_a_full_disk_is_an_error_and_crashes_no_process(small_disk: SmallDisk) -> None:
    marker = Marker(small_disk.path / "revocations", fresh=True)
    small_disk.fill()
    before = marker.read()
    await marker.replace()
    assert marker.read() != before, "it has its place already"
    with pytest.raises(OSError):
        Marker(small_disk.path / "another")
    assert {path.name for path in small_disk.path.iterdir()} == {"revocations", "filler"}
    marker.close()
