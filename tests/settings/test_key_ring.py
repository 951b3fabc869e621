"""Which keys are active while files are added and retired, also if an operation is interrupted."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doorward.settings import InvalidSettings, Settings, settings_from
from doorward.settings import key_ring as rings
from doorward.settings.key_ring import (
    KeysAreGiven,
    add_key,
    check_ring,
    make_first,
    read_ring,
    read_state,
    retire_key,
)

NOW = 1_800_000_000.0


def build(folder: Path, *files: str) -> Settings:
    values = {"routes": [{"upstream": "http://a"}], "secret_files": list(files)}
    return settings_from(values, folder)


def write_key(path: Path, letter: str) -> Path:
    path.write_text(base64.urlsafe_b64encode(letter.encode() * 32).decode() + "\n")
    path.chmod(0o600)
    return path


def secrets_of(settings: Settings) -> list[bytes]:
    return [key.secret for key in read_ring(settings).keys]


@pytest.fixture(params=["generated", "named"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with one key, in either place."""
    if request.param == "named":
        write_key(tmp_path / "doorward.key", "o")
        return build(tmp_path, "doorward.key")
    settings = build(tmp_path)
    make_first(settings)
    return settings


def test_a_new_key_comes_first_and_the_old_one_stays(settings: Settings) -> None:
    (old,) = read_ring(settings).keys
    new = add_key(settings, NOW)
    assert read_ring(settings).keys == (new, old)
    assert new.since == NOW and old.since == 0.0
    assert stat.S_IMODE(new.path.stat().st_mode) == 0o600
    assert new.id != old.id and len(new.id) == 12 and "secret" not in repr(new)


def test_an_urgent_key_comes_before_one_that_was_made_earlier(settings: Settings) -> None:
    earlier, urgent = add_key(settings, NOW - 5), add_key(settings, NOW, is_urgent=True)
    assert urgent.path.name.endswith(".now") and urgent.is_urgent
    assert read_ring(settings).keys[:2] == (urgent, earlier)


def test_two_keys_of_one_second_are_both_kept(settings: Settings) -> None:
    one, other = add_key(settings, NOW), add_key(settings, NOW)
    assert (one.since, other.since) == (NOW, NOW + 1)
    assert len(read_ring(settings).keys) == 3


def test_the_next_key_takes_the_place_of_a_retired_first_one(settings: Settings) -> None:
    """So the file in the configuration always exists, and an older version, which only reads that
    file, finds the current key."""
    (old,) = read_ring(settings).keys
    second, third = add_key(settings, NOW), add_key(settings, NOW + 9)
    retire_key(settings, old, NOW)
    ring = read_ring(settings)
    assert [key.secret for key in ring.keys] == [third.secret, second.secret]
    assert ring.keys[1].path == old.path and not second.path.exists()
    assert [(one.id, one.retired_at) for one in ring.retired] == [(old.id, NOW)]
    assert stat.S_IMODE(rings._ledger(old.path).stat().st_mode) == 0o600
    assert old.secret not in rings._ledger(old.path).read_bytes()
    retire_key(settings, second, NOW)
    assert [key.secret for key in read_ring(settings).keys] == [third.secret]


def test_a_retired_key_that_the_configuration_names_is_ignored(tmp_path: Path) -> None:
    write_key(tmp_path / "new", "n")
    write_key(tmp_path / "old", "o")
    settings = build(tmp_path, "new", "old")
    retire_key(settings, read_ring(settings).keys[1], NOW)
    assert secrets_of(settings) == [b"n" * 32]
    assert [key.path.name for key in read_ring(settings).left] == ["old"]


def test_a_link_is_left_unchanged(tmp_path: Path) -> None:
    write_key(tmp_path / "target", "o")
    (tmp_path / "key").symlink_to("target")
    settings = build(tmp_path, "key")
    old, new = read_ring(settings).keys[0], add_key(settings, NOW)
    retire_key(settings, old, NOW)
    assert read_ring(settings).keys == (new,)
    assert (tmp_path / "key").is_symlink()


def test_a_key_copied_over_the_first_by_hand_counts_once(settings: Settings) -> None:
    new = add_key(settings, NOW)
    (old,) = [key for key in read_ring(settings).keys if not key.since]
    old.path.write_bytes(new.path.read_bytes())
    assert secrets_of(settings) == [new.secret]
    assert read_ring(settings).keys[0].since == 0.0


@pytest.mark.parametrize("suffix", ["bak", "1", "retired.bak", "17958930000", "179589300x", ""])
def test_a_copy_beside_the_key_is_no_key(settings: Settings, suffix: str) -> None:
    first = read_ring(settings).keys[0].path
    first.with_name(f"{first.name}.{suffix}").write_text("not a key\n")
    assert len(read_ring(settings).keys) == 1


@pytest.mark.parametrize("content", [b"{", b"[]\n", b'{"id": 1}\n', b"\xff\n", b"[" * 100_000])
def test_a_ledger_that_cannot_be_read_stops_the_start(settings: Settings, content: bytes) -> None:
    """Unlike an empty one: a leaked key must not become active again."""
    first = read_ring(settings).keys[0].path
    rings._ledger(first).write_bytes(content)
    with pytest.raises(InvalidSettings, match="is not a ledger of retired keys"):
        read_ring(settings)
    with pytest.raises(InvalidSettings, match="is not a ledger of retired keys"):
        check_ring(settings)


def test_keys_that_are_all_retired_stop_the_start(settings: Settings) -> None:
    retire_key(settings, read_ring(settings).keys[0], NOW)
    with pytest.raises(InvalidSettings, match="every key is retired"):
        read_ring(settings)


def test_a_faulty_key_file_is_reported(settings: Settings) -> None:
    new = add_key(settings, NOW)
    new.path.chmod(0o644)
    with pytest.raises(InvalidSettings, match=rf"{new.path.name} can be read or written by other"):
        read_ring(settings)


def test_keys_that_are_given_read_only_are_not_changed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example a mounted Kubernetes Secret. Root can write everywhere, so the test simulates the
    system's error."""
    before = read_ring(settings)

    def refuse(path: object, *more: Any) -> None:
        raise OSError(30, "Read-only file system", str(path))

    with monkeypatch.context() as patched:
        for name in ("link", "replace"):
            patched.setattr(os, name, refuse)
        with pytest.raises(KeysAreGiven, match="cannot be written: Read-only file system"):
            add_key(settings, NOW)
        with pytest.raises(KeysAreGiven, match="cannot be written: Read-only file system"):
            retire_key(settings, before.keys[0], NOW)
    assert read_ring(settings) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: run the tests as root")
@pytest.mark.parametrize(("mode", "made"), [(0o600, 0o600), (0o400, 0o600)])
def test_a_key_that_root_makes_is_the_servers(settings: Settings, mode: int, made: int) -> None:
    (old,) = read_ring(settings).keys
    os.chown(old.path, 10001, 10002)
    old.path.chmod(mode)
    found = add_key(settings, NOW).path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (10001, 10002, made)


class _PowerCut(BaseException):
    """Simulates a power cut. Only `finally` blocks still run."""


STEPS = ("link", "replace", "rename", "unlink", "fsync", "fchmod")


def cut_at(wanted: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Cut the power at the n-th change of a file. Returns the number of changes."""
    count = 0

    def counted(real: Callable[..., Any], after: bool) -> Callable[..., Any]:
        def step(*values: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == wanted and not after:
                raise _PowerCut
            result = real(*values, **more)
            if count == wanted:
                raise _PowerCut
            return result

        return step

    for number, name in enumerate(STEPS):
        monkeypatch.setattr(os, name, counted(getattr(os, name), after=number % 2 == wanted % 2))
    return lambda: count


@pytest.mark.parametrize("wanted", range(1, 12))
def test_a_rotation_cut_anywhere_leaves_every_key(
    settings: Settings, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = read_ring(settings).keys
    with monkeypatch.context() as patched:
        cut_at(wanted, patched)
        try:
            add_key(settings, NOW)
        except _PowerCut:
            pass
    assert read_ring(settings).keys[-1] == old
    assert len(read_ring(settings).keys) in (1, 2)
    new = add_key(settings, NOW + 5)
    assert read_ring(settings).keys[0] == new


@pytest.mark.parametrize("wanted", range(1, 14))
def test_a_retirement_cut_anywhere_leaves_the_new_key_and_can_be_repeated(
    settings: Settings, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = read_ring(settings).keys
    new = add_key(settings, NOW)
    with monkeypatch.context() as patched:
        cut_at(wanted, patched)
        try:
            retire_key(settings, old, NOW)
        except _PowerCut:
            pass
    ring = read_ring(settings)
    assert new.id in [key.id for key in ring.keys]
    for key in (*ring.keys, *ring.left):
        if key.id == old.id:
            retire_key(settings, key, NOW)
    ring = read_ring(settings)
    assert [key.id for key in ring.keys] == [new.id] and ring.left == ()
    assert [one.id for one in ring.retired] == [old.id], "one line, however often it was repeated"


def test_a_reader_that_a_retirement_overtakes_reads_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first file is replaced between listing the directory and reading the files."""
    (old,) = read_ring(settings).keys
    new = add_key(settings, NOW)
    real, turns = rings._list_beside, iter(range(2))

    def list_then_retire(first: Path) -> list[Path]:
        found = real(first)
        if next(turns, 0) == 1:  # the first call returns the state, the second reads
            monkeypatch.setattr(rings, "_list_beside", real)
            retire_key(settings, old, NOW)
        return found

    monkeypatch.setattr(rings, "_list_beside", list_then_retire)
    assert secrets_of(settings) == [new.secret]


def test_every_change_of_the_ring_changes_its_state(settings: Settings) -> None:
    states = [read_state(settings)]
    old = read_ring(settings).keys[0]
    add_key(settings, NOW)
    states.append(read_state(settings))
    retire_key(settings, old, NOW)
    states.append(read_state(settings))
    ledger = rings._ledger(old.path)
    ledger.write_text(json.dumps({"id": "0", "made": 1, "retired": 2}) + "\n")
    states.append(read_state(settings))
    rings.find_first(settings).chmod(0o400)
    states.append(read_state(settings))
    assert len(set(states)) == len(states)


LINE = '{"id": "%s", "made": %s, "retired": %s}'


@pytest.mark.parametrize(
    "line",
    [
        LINE % ("0123456789ab", "1" + "0" * 400, "1.0"),
        LINE % ("0123456789ab", "NaN", "1.0"),
        LINE % ("0123456789ab", "1.0", "1e999"),
        LINE % ("0123456789ab", "-1.0", "1.0"),
        LINE % ("0123456789ab", "1e15", "1.0"),
        LINE % ("0123456789a", "1.0", "1.0"),
        LINE % ("0123456789AB", "1.0", "1.0"),
        LINE % ("", "1.0", "1.0"),
        '{"id": null, "made": 1.0, "retired": 1.0}',
        '{"id": ["0123456789ab"], "made": 1.0, "retired": 1.0}',
        '{"id": "0123456789ab", "made": true, "retired": 1.0}',
        '{"id": "0123456789ab", "made": "1.0", "retired": 1.0}',
    ],
)
def test_a_line_that_retires_no_key_for_certain_stops_the_start(
    settings: Settings, line: str
) -> None:
    """A key whose line is damaged must not become active again, and no line may crash the
    process."""
    ledger = rings._ledger(rings.find_first(settings))
    ledger.write_text(LINE % ("ba9876543210", "1.0", "2.0") + "\n" + line + "\n")
    with pytest.raises(InvalidSettings, match="is not a ledger"):
        read_ring(settings)


def test_two_retirements_at_once_both_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins after the first has read the ledger, and before it writes."""
    for name, letter in (("a", "o"), ("b", "p"), ("c", "q")):
        write_key(tmp_path / name, letter)
    settings = build(tmp_path, "a", "b", "c")
    _, second, third = read_ring(settings).keys
    real, others = (
        rings._write_ledger,
        [threading.Thread(target=retire_key, args=(settings, third, NOW))],
    )

    def begin_another(lines: Any) -> bytes:
        if others:
            other = others.pop()
            started.append(other)
            other.start()
            other.join(0.5)  # it waits for the first; if it is slow, it comes later
        return real(lines)

    started: list[threading.Thread] = []
    monkeypatch.setattr(rings, "_write_ledger", begin_another)
    retire_key(settings, second, NOW)
    started[0].join()
    ring = read_ring(settings)
    assert {one.id for one in ring.retired} == {second.id, third.id}
    assert len(ring.keys) == 1
