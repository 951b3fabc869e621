"""How log lines look: readable on a terminal, JSON objects, one a line, elsewhere.

Must not know what is logged; nobody hands it a token.
"""

import logging
import sys
from typing import Any, Literal, TextIO

import structlog

Format = Literal["auto", "console", "json"]


def configure_logs(
    stream: TextIO | None = None, level: int | str = logging.INFO, format: Format = "auto"
) -> None:
    """Send structlog's and the standard library's records to `stream` (standard error)."""
    stream = stream or sys.stderr
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
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *drawing(stream, format)]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper() if isinstance(level, str) else level)
    for noisy in ("uvicorn.error", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def drawing(stream: TextIO, format: Format) -> list[Any]:
    """structlog's last processors: what makes a line of a record."""
    if format == "console" or (format == "auto" and stream.isatty()):
        return [harmless, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def harmless(logger: Any, method: str, record: Any) -> Any:
    """Values without what ends a line, moves a cursor or turns text around (CVE-2020-7694); JSON
    does that by itself."""
    for key, value in record.items():
        if isinstance(value, str) and not value.isprintable():
            record[key] = "".join(map(_shown, value))
    return record


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
