"""Copies of audit records outside the database: one JSON object per line, to a file or standard
output.

It knows the form of a line; it must not know which events are recorded, or why.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from doorward.accounts.audit.audit_log import Record
from doorward.observe.channel import Channel, Descriptor, Lines
from doorward.settings.file_lock import lock_file
from doorward.storage.fault import StorageFault

Tell = Callable[[Record], None]

STDOUT = "stdout"

# How long lines wait for another process that keeps the file locked: in the thread of a server,
# which meanwhile queues others, and elsewhere.
THREAD_WAIT_S, WAIT_S = 10.0, 1.0
# How often the file is opened again meanwhile.
RETRY_S = 0.1


def describe_record(record: Record) -> dict[str, object]:
    """The printed form of a record. The keys and the order of the first three are part of the
    format: a filter for fail2ban can match them before any text that users choose."""
    event = record.event
    return {
        "time": format_time(event.at),
        "kind": event.kind,
        "address": event.address,
        "outcome": event.outcome,
        "actor": event.actor,
        "subject": event.subject,
        "session": event.session,
        "request_id": event.request_id,
        "detail": event.detail,
        "number": record.number,
    }


def format_time(at: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def format_line(record: Record) -> str:
    """The record as one line of ASCII, so that no name can end the line or move a terminal's
    cursor."""
    return json.dumps(describe_record(record)) + "\n"


def open_sink(file: Path | str | None) -> Tell | None:
    """The sink for a command's records, for this value of `audit.file`. Raises StorageFault if the
    file cannot be written."""
    channel = open_channel(file)
    return None if channel is None else write_to(channel)


def open_channel(file: Path | str | None) -> Channel | None:
    """The channel for lines, for this value of `audit.file`. Raises StorageFault if the file cannot
    be written."""
    if file is None:
        return None
    if file == STDOUT:
        return Channel(Descriptor(sys.stdout.fileno()), _failing, _back)
    sink = FileSink(Path(file))
    try:
        sink(deque(), False)
    except OSError as error:
        raise StorageFault(
            f"audit.file: {file}: {error.strerror}; let the user that runs Doorward write there"
            " or name another file"
        ) from error
    return Channel(sink, _failing, _back)


def write_to(channel: Channel) -> Tell:
    """A sink that writes to `channel`. The operation is done and the database has the record, so a
    lost line does not cause an error."""
    return lambda record: channel.put(format_line(record))


def tell_both(first: Tell, second: Tell | None) -> Tell:
    """A sink that passes each record to both of these."""

    def tell(record: Record) -> None:
        first(record)
        if second is not None:
            second(record)

    return tell


class FileSink:
    """Writes to a file, which it opens for each line, so that the file can be rotated, and creates
    with mode 0600. Processes lock the file to write, so that no line is incomplete."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, lines: Lines, may_wait: bool) -> None:
        file = self._open_locked(THREAD_WAIT_S if may_wait else WAIT_S)
        try:
            while lines:
                _write_whole(file, lines[0])
                lines.popleft()
        finally:
            os.close(file)

    def _open_locked(self, wait_s: float) -> int:
        """The file of this name, although another process may have moved the one that it had."""
        deadline = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            with contextlib.ExitStack() as stack:
                file = self._open()
                stack.callback(os.close, file)
                try:
                    lock_file(file, min(RETRY_S, left_s))
                except BlockingIOError:
                    if not left_s:
                        raise
                    continue
                if self._is_named(file) or not left_s:
                    stack.pop_all()
                    return file

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, 0o600)

    def _is_named(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        except FileNotFoundError:
            return False


def _write_whole(file: int, line: bytes) -> None:
    """Write a whole line or nothing. Raises OSError."""
    size = os.fstat(file).st_size
    written = os.write(file, line)
    if written < len(line):
        with contextlib.suppress(OSError):  # bytes written to a pipe cannot be undone
            os.ftruncate(file, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _failing(reason: str) -> None:
    _log().error("audit_lines_lost", reason=reason)


def _back(lines: int) -> None:
    _log().warning("audit_written_again", lost=lines)


def _log() -> Any:
    import structlog  # slow to import, and most commands never need it

    return structlog.get_logger("doorward.audit")
