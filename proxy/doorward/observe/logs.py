"""The form of log lines: readable on a terminal, elsewhere one JSON object per line.

Must not know what is logged; it never gets a token.
"""

import logging
import os
import sys
from functools import cache
from typing import Any, Literal, Protocol

import structlog

from doorward.observe.channel import Channel, Descriptor, to_nothing

Format = Literal["auto", "console", "json"]


class LogStream(Protocol):
    """The methods of a file that a logger needs."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


class Output:
    """Standard error for loggers: they never wait for it or fail with it."""

    def __init__(self, file: int | None) -> None:
        """`file` is a descriptor; None if it is closed."""
        self._file = file
        write = to_nothing if file is None else Descriptor(file)
        self.channel = Channel(write, when_back=_lost)

    def write(self, text: str, /) -> None:
        self.channel.put(text)

    def flush(self) -> None:
        """Does nothing: lines are not buffered here."""

    def isatty(self) -> bool:
        return self._file is not None and os.isatty(self._file)


@cache
def output() -> Output:
    """The output of this process, and of those that it forks."""
    try:
        return Output(None if sys.stderr is None else os.dup(sys.stderr.fileno()))
    except OSError:  # standard error is not a file
        return Output(None)


def _lost(lines: int) -> None:
    structlog.get_logger("doorward.log").warning("log_lines_lost", lines=lines)


def configure_logs(
    stream: LogStream | None = None, level: int | str = logging.INFO, format: Format = "auto"
) -> None:
    """Send structlog's and the standard library's records to `stream` (standard error)."""
    stream = stream or output()
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        *choose_renderers(stream, format),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper() if isinstance(level, str) else level)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def choose_renderers(stream: LogStream, format: Format) -> list[Any]:
    """structlog's last processors, which turn a record into a line."""
    if format == "console" or (format == "auto" and stream.isatty()):
        # structlog's own choice, if rich is installed, prints local variables: passwords, tokens
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)
        return [escape_record, renderer]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def escape_record(logger: Any, method: str, record: Any) -> Any:
    """Values without characters that end a line, move a cursor or reverse text (CVE-2020-7694);
    JSON escapes them anyway."""
    for key, value in record.items():
        if isinstance(value, str) and not value.isprintable():
            record[key] = "".join(map(_escape, value))
    return record


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
