"""Knows files with secrets: who may read one, and how it is read and written. It must not know what
is in them."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = 0


class UnusableFile(Exception):
    """Why a file cannot be used, as the end of a sentence that begins with its path, and what to
    do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Process:
    """The numbers of a process's user, its group, and all groups that it is in."""

    user: int
    group: int
    groups: frozenset[int]

    @classmethod
    def current(cls) -> Process:
        group = os.getegid()
        return cls(os.geteuid(), group, frozenset((group, *os.getgroups())))


def read_private(path: Path, largest: int, make_it: str) -> bytes:
    """Returns at most `largest` + 1 bytes of the file. Symbolic links are followed, because
    Kubernetes mounts secrets as links; the mode of the link's target is checked.

    Raises UnusableFile; `make_it` is the hint if there is no such file."""
    try:
        # Without O_NONBLOCK a named pipe would block the start forever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UnusableFile("does not exist", make_it) from None
    except OSError as error:
        hint = "let the user that Doorward runs as read it"
        raise UnusableFile(f"cannot be read: {error.strerror}", hint) from None
    try:
        check_mode(path, os.fstat(descriptor), Process.current())
        return os.read(descriptor, largest + 1)
    finally:
        os.close(descriptor)


def check_mode(path: Path, found: os.stat_result, process: Process) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnusableFile("is not a file")
    if not is_private(found, process):
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        message = f"can be read or written by other users (mode {mode})"
        raise UnusableFile(message, _how_to_make_private(path, found, process))


def is_private(found: os.stat_result, process: Process) -> bool:
    """Whether only the owner can read a file with this status or, if root owns it, also a group of
    this process: Kubernetes mounts secrets as root's, readable by the pod's `fsGroup`."""
    others = stat.S_IMODE(found.st_mode) & 0o077
    of_our_group = found.st_uid == ROOT and found.st_gid in process.groups
    return others == 0 or (others == stat.S_IRGRP and of_our_group)


def _how_to_make_private(path: Path, found: os.stat_result, process: Process) -> str:
    """A command to run as the file's owner or as root."""
    file, group = shlex.quote(str(path)), process.group
    if found.st_uid == process.user:
        return f"run: chmod 600 {file}"
    if found.st_uid == ROOT:
        run = f"chgrp {group} {file} && chmod 640 {file}"
        return f"run as root: {run} (Kubernetes: fsGroup: {group} and defaultMode: 0440)"
    return f"run as root: chown {process.user} {file} && chmod 600 {file}"


def replace_file(path: Path, content: bytes, like: os.stat_result | None = None) -> None:
    """Replace the file's content atomically. Raises OSError."""
    with written(path, content, like) as temporary:
        os.replace(temporary, path)
    sync_directory(path.parent)


@contextlib.contextmanager
def written(path: Path, content: bytes, like: os.stat_result | None) -> Iterator[Path]:
    """Write the content to a private temporary file next to `path` and to the disk. If the file is
    still there at the end, remove it."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _let_be_read(descriptor, like)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _let_be_read(descriptor: int, like: os.stat_result | None) -> None:
    mode = 0o600
    if like is not None and os.geteuid() == ROOT:
        os.fchown(descriptor, like.st_uid, like.st_gid)
        if like.st_uid == ROOT:  # `is_private` allows this
            mode |= like.st_mode & stat.S_IRGRP
    os.fchmod(descriptor, mode)


def sync_directory(directory: Path) -> None:
    """Write the directory's entries to the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
