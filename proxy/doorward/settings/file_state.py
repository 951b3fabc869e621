"""Detects that a file was written, replaced or removed since it was last read."""

from __future__ import annotations

import os
from pathlib import Path

FileState = tuple[int, ...]


def get_file_state(path: Path) -> FileState:
    """A value that changes if the file is written or replaced, or its mode changes. Empty if there
    is no file. Links are followed, because Kubernetes and Certbot change a link's target."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return read_file_state(found)


def read_file_state(found: os.stat_result) -> FileState:
    """The same for an open file."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
