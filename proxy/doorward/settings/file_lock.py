"""Locks on files that several processes of a host share, with a limit for the wait.

Knows locks and clocks; must not know what is in the files. Processes of Doorward hold a lock for
micro- or milliseconds, but a stopped process (SIGSTOP), or another program such as a backup, may
hold one for as long as it likes.
"""

from __future__ import annotations

import errno
import fcntl
import time

_SHARED, _ALONE = fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_EX | fcntl.LOCK_NB
# How often a held lock is tried again, in seconds.
RETRY_S = 0.001


def lock_file(file: int, wait_s: float, *, shared: bool = False) -> None:
    """Lock an open file (`flock`) until it is closed, or unlocked with `unlock_file`. Blocks the
    calling thread for at most `wait_s`. Raises BlockingIOError if the lock is still held then, and
    other OSErrors where the file system has no locks."""
    how = _SHARED if shared else _ALONE
    deadline = 0.0
    while True:
        try:
            fcntl.flock(file, how)
            return
        except BlockingIOError:
            now = time.monotonic()
            deadline = deadline or now + wait_s
            if now >= deadline:
                reason = "another process keeps it locked"
                raise BlockingIOError(errno.EWOULDBLOCK, reason) from None
        time.sleep(RETRY_S)


def unlock_file(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)
