"""How to tell that a file was written, replaced or removed since it was read last."""

from __future__ import annotations

import os
from pathlib import Path

FileState = tuple[int, ...]


def get_file_state(path: Path) -> FileState:
    """What changes when a file is written, replaced or let be read; links are followed, as
    Kubernetes and Certbot turn one over. Empty when there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return read_file_state(found)


def read_file_state(found: os.stat_result) -> FileState:
    """The same of a file that is open."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
