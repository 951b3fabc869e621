"""A file system of a few MiB that a test can fill."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def _filler(self) -> Path:
        return self.path / "filler"

    def fill(self) -> None:
        """Fill the file system completely."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (65_536, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def make_room(self) -> None:
        self._filler.unlink()


@contextlib.contextmanager
def mounted(path: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a file system of this size at `path`. Skips the test if that is impossible."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "doorward-tests", str(path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("Mounting a small file system needs the program mount.")
    if done.returncode:
        pytest.skip(f"Mounting a small file system needs root: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
