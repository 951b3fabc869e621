"""The access log: one line for each request, when it ends.

Knows the form of a line; must not know users. It logs a session's public id, and targets without
Doorward's tokens.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import structlog

from doorward.observe.logs import Format, LogStream, choose_renderers, output
from doorward.observe.observer import ExchangeRecord, Observer, Outcome, now_s

_log = structlog.get_logger("doorward.log")

# Longer targets are cut: if several processes write, each line has to be written in one piece.
TARGET_CHARACTERS = 2048
_LOGIN_DATA = re.compile(rb"\A([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@")


class Line(Protocol):
    def __call__(self, event: str, **fields: Any) -> Any: ...


class AccessLog:
    """An observer that writes lines, and passes events on to another observer that counts."""

    writes = True

    def __init__(
        self,
        further: Observer,
        routes: Sequence[str],
        without_tokens: Callable[[bytes], bytes],
        line: Line,
    ) -> None:
        """`routes` are the names of routes, by number; `without_tokens` removes Doorward's tokens
        from a target."""
        self._further = further
        self._routes = tuple(routes)
        self._without_tokens = without_tokens
        self._line = line

    def ended(
        self, outcome: Outcome, route: int, status: int, started: float, record: ExchangeRecord
    ) -> None:
        self._further.ended(outcome, route, status, started, record)
        try:
            self._write(outcome, route, status, started, record)
        except Exception:  # a failure to log must not affect the answer
            _log.exception("access_line_lost")

    def _write(
        self, outcome: Outcome, route: int, status: int, started: float, record: ExchangeRecord
    ) -> None:
        session, request = record.session, record.request
        self._line(
            "request",
            request_id=request.request_id,
            client=request.address_text,
            method=_text(request.method),
            target=self._target(request.target),
            host=request.authority,
            status=status,
            bytes=record.sent_bytes,
            duration_ms=round((now_s() - started) * 1000, 3),
            route=self._routes[route] if route >= 0 else "",
            decision=outcome.word,
            reason=outcome.reason,
            user="" if session is None else session.user.username,
            session="" if session is None else session.id,
            cut=not record.is_whole,
        )

    def _target(self, target: bytes) -> str:
        shown = _text(_LOGIN_DATA.sub(rb"\1", self._without_tokens(target)))
        if len(shown) <= TARGET_CHARACTERS:
            return shown
        return shown[:TARGET_CHARACTERS] + "..."


def _text(raw: bytes) -> str:
    """A client's bytes as printable ASCII."""
    return raw.decode("ascii", "backslashreplace")


def write_lines_to(stream: LogStream | None = None, format: Format = "auto") -> Line:
    """Write lines of the access log to `stream` (standard error) regardless of the log level: an
    operator who turns it on gets every line."""
    stream = stream or output()
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast(Any, stream)),
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *choose_renderers(stream, format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    line: Line = logger.bind(logger="doorward.access").info
    return line
