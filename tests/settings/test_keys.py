"""Key files: their content, who may read them, and how the first one is created."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from doorward.settings import InvalidSettings, Settings, settings_from
from doorward.settings.key_ring import make_first, read_ring
from doorward.settings.keys import ensure_data_dir
from doorward.settings.private_files import Process, UnusableFile, check_mode, is_private

KEY = bytes(range(32))
LINE = base64.urlsafe_b64encode(KEY)


def settings(tmp_path: Path, *files: Path) -> Settings:
    values = {"routes": [{"upstream": "http://a"}], "secret_files": [str(file) for file in files]}
    return settings_from(values, tmp_path)


def read_keys(settings: Settings) -> tuple[bytes, ...]:
    return tuple(key.secret for key in read_ring(settings).keys)


def key_file(path: Path, content: bytes = LINE, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def make_and_read(settings: Settings) -> tuple[bytes, ...]:
    make_first(settings)
    return read_keys(settings)


def test_a_key_is_created_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"doorward\.key is missing"):
        read_keys(settings(tmp_path))
    (key,) = make_and_read(settings(tmp_path))
    assert len(key) == 32
    assert make_and_read(settings(tmp_path)) == (key,)
    assert os.listdir(tmp_path / "data") == ["doorward.key"]
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "doorward.key").stat().st_mode) == 0o600


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: make_and_read(settings(tmp_path)), range(64)))
    assert len(keys) == 1
    assert os.listdir(tmp_path / "data") == ["doorward.key"]


def test_the_first_of_several_files_comes_first(tmp_path: Path) -> None:
    new = key_file(tmp_path / "new", base64.urlsafe_b64encode(b"n" * 48).rstrip(b"=") + b"\r\n")
    old = key_file(tmp_path / "old", LINE + b"\n", mode=0o400)
    assert read_keys(settings(tmp_path, new, old)) == (b"n" * 48, KEY)
    assert not (tmp_path / "data").exists()


def test_a_link_as_kubernetes_makes_is_followed(tmp_path: Path) -> None:
    key_file(tmp_path / "target")
    (tmp_path / "link").symlink_to("target")
    assert read_keys(settings(tmp_path, tmp_path / "link")) == (KEY,)


def test_a_secret_of_kubernetes_is_read_through_its_links(tmp_path: Path) -> None:
    """`key` → `..data/key`, `..data` → a folder named after the time of the mount."""
    mounted = tmp_path / "..2026_01_01_00_00_00.1"
    mounted.mkdir()
    key_file(mounted / "key", mode=0o400)
    (tmp_path / "..data").symlink_to(mounted.name)
    (tmp_path / "key").symlink_to("..data/key")
    assert read_keys(settings(tmp_path, tmp_path / "key")) == (KEY,)


ME = Process(user=10001, group=10001, groups=frozenset((10001, 2000)))


def status(mode: int, user: int, group: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, user, group, 44, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "user", "group", "private"),
    [
        (0o600, 10001, 10001, True),
        (0o400, 10001, 10001, True),
        (0o600, 0, 0, True),  # it cannot open a file that it may not read
        (0o440, 0, 10001, True),  # Kubernetes with fsGroup
        (0o640, 0, 2000, True),
        (0o640, 10001, 10001, False),  # a group that it chose itself
        (0o640, 0, 3000, False),
        (0o660, 0, 10001, False),
        (0o450, 0, 10001, False),
        (0o644, 0, 10001, False),
        (0o444, 0, 10001, False),
        (0o604, 10001, 10001, False),
    ],
)
def test_a_key_of_root_may_be_read_by_the_group_of_the_process(
    mode: int, user: int, group: int, private: bool
) -> None:
    assert is_private(status(mode, user, group), ME) is private


@pytest.mark.outside
@pytest.mark.parametrize("user", [10001, 0, 500])
def test_a_file_is_private_after_the_command_of_the_hint(tmp_path: Path, user: int) -> None:
    """A shell runs the hint. `chown` and `chgrp` are replaced, because they require root."""
    file = key_file(tmp_path / "the key", mode=0o644)
    owners = {"user": user, "group": 0}
    with pytest.raises(UnusableFile) as caught:
        check_mode(file, status(0o644, **owners), ME)
    command = str(caught.value.hint).partition(": ")[2].partition(" (")[0]
    note = f"""
        chown() {{ echo "user=$1" >> {str(tmp_path / "owners")!r}; }}
        chgrp() {{ echo "group=$1" >> {str(tmp_path / "owners")!r}; }}
        touch {str(tmp_path / "owners")!r}
    """
    subprocess.run(["sh", "-euc", f"{note}\n{command}"], check=True)
    for line in (tmp_path / "owners").read_text().splitlines():
        key, _, number = line.partition("=")
        owners[key] = int(number)
    assert is_private(status(stat.S_IMODE(file.stat().st_mode), **owners), ME)


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o620, 0o644, 0o444, 0o650])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = key_file(tmp_path / "key", mode=mode)
    (tmp_path / "link").symlink_to("key")
    for path in (file, tmp_path / "link"):
        with pytest.raises(InvalidSettings, match=rf"\(mode 0{mode:o}\); run: chmod 600"):
            read_keys(settings(tmp_path, path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a line of base64url"),
        (b"short", "not a line of base64url"),
        (b"c2hvcnQ=", "contains 5 bytes, fewer than 32"),
        (base64.b64encode(b"\xff" * 32), "not a line of base64url"),
        (LINE + b"\n" + LINE, "more than one line"),
        (b"A" * 5000, "more than one line"),
        (b"\x00" * 32, "not a line of base64url"),
    ],
)
def test_an_invalid_key_file_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        read_keys(settings(tmp_path, key_file(tmp_path / "key", content)))


def test_every_faulty_file_is_reported(tmp_path: Path) -> None:
    one, again = key_file(tmp_path / "one"), key_file(tmp_path / "again")
    os.mkfifo(tmp_path / "pipe", 0o600)
    files = (one, tmp_path / "missing", tmp_path, tmp_path / "pipe", again)
    with pytest.raises(InvalidSettings) as caught:
        read_keys(settings(tmp_path, *files))
    assert [(fault.key, fault.message.split(" ", 1)[1]) for fault in caught.value.faults] == [
        ("secret_files[1]", "does not exist"),
        ("secret_files[2]", "is not a file"),
        ("secret_files[3]", "is not a file"),
        ("secret_files[4]", "contains the same key as an earlier file"),
    ]


def test_a_damaged_own_key_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = key_file(tmp_path / "data" / "doorward.key", b"")
    with pytest.raises(InvalidSettings, match=r"data_dir: .*doorward.key is not a line"):
        make_and_read(settings(tmp_path))
    assert file.read_bytes() == b""


def test_a_data_dir_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(InvalidSettings, match=r"data_dir: .* is not a directory"):
        ensure_data_dir(settings(tmp_path))
    beneath = settings_from(
        {"routes": [{"upstream": "http://a"}], "data_dir": "data/more"}, tmp_path
    )
    with pytest.raises(InvalidSettings, match=r"data_dir: .* cannot be created"):
        ensure_data_dir(beneath)


def test_a_data_dir_without_write_permission_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root can write everywhere, so the test simulates the system's error.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InvalidSettings, match=r"data_dir: .* cannot be written to"):
        ensure_data_dir(settings(tmp_path))
