"""Where audit records go beside the database: one JSON object a line, to a file or standard output.

It knows how a line looks; what is recorded, and why, it must not know.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from doorward.accounts.audit import Record
from doorward.storage.fault import StorageFault

Tell = Callable[[Record], None]

STDOUT = "stdout"


def described(record: Record) -> dict[str, object]:
    """What is shown of a record. The keys and the order of the first three are part of the format:
    a filter for fail2ban can match them before anything that people choose."""
    event = record.event
    return {
        "time": time_of(event.at),
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


def time_of(at: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def line_of(record: Record) -> str:
    """The record as one line of ASCII: no name can end it or move a terminal's cursor."""
    return json.dumps(described(record)) + "\n"


def open_sink(file: Path | str | None) -> Tell | None:
    """What to tell of every record, for this value of `audit.file`. Raises StorageFault when the
    file cannot be written."""
    if file is None:
        return None
    if file == STDOUT:
        return StreamSink(sys.stdout)
    sink = FileSink(Path(file))
    try:
        sink.write("")
    except OSError as error:
        raise StorageFault(
            f"audit.file: {file}: {error.strerror}; let the user that runs Doorward write there"
            " or name another file"
        ) from error
    return sink


def both(first: Tell, second: Tell | None) -> Tell:
    """Tells these two of each record."""

    def tell(record: Record) -> None:
        first(record)
        if second is not None:
            second(record)

    return tell


class StreamSink:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, record: Record) -> None:
        try:
            self._stream.write(line_of(record))
            self._stream.flush()
        except (OSError, ValueError) as error:
            _complain(record, error)


class FileSink:
    """Opened for each line, so that the file may be rotated away; made with mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, record: Record) -> None:
        try:
            self.write(line_of(record))
        except OSError as error:
            _complain(record, error)

    def write(self, line: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        try:
            os.write(file, line.encode("ascii"))  # in one piece: several processes write here
        finally:
            os.close(file)


def _complain(record: Record, error: Exception) -> None:
    """The act is done and the database has the record: this is no reason to answer 503."""
    import structlog  # slow, and most commands never get here

    structlog.get_logger("doorward.audit").error(
        "audit_line_lost", number=record.number, reason=str(error)
    )
