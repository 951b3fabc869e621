"""The form of lines of the log and of the access log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from doorward.accounts.session import FULL
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.observe.access import TARGET_CHARACTERS, AccessLog, write_lines_to
from doorward.observe.counters import REQUESTS, Counters
from doorward.observe.logs import Format, configure_logs
from doorward.observe.observer import (
    FORWARDED,
    NO_ROUTE,
    BriefRecord,
    UnreadRequest,
    now_s,
    refusal_outcome,
)

HOSTILE = "a\x1b[2J\r\nb\x85\u2028\u202ec\x7f"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("stream", "format", "is_json"),
    [
        (io.StringIO(), "auto", True),
        (io.StringIO(), "console", False),
        (Terminal(), "auto", False),
        (Terminal(), "json", True),
    ],
)
def test_a_terminal_or_the_setting_decides_how_lines_look(
    stream: io.StringIO, format: Format, is_json: bool
) -> None:
    configure_logs(stream, "warning", format)
    structlog.get_logger("doorward").info("not_told")
    structlog.get_logger("doorward").warning("told", reason=HOSTILE)
    logging.getLogger("other").warning("by the standard library %s", HOSTILE)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "told" in lines[0] and "standard library" in lines[1]
    assert lines[0].startswith("{") == is_json
    assert is_json or "a\\x1b[2J\\r\\nb\\x85" in lines[0].replace("\\\\", "\\")


class Written(io.StringIO):
    def line(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.getvalue())
        self.seek(0)
        self.truncate()
        return found


def log_to(
    stream: io.StringIO, format: Format = "json", counters: Counters | None = None
) -> AccessLog:
    return AccessLog(
        counters or Counters(),
        ("/", "/wiki"),
        lambda target: target.replace(b"?token=secret", b""),
        write_lines_to(stream, format),
    )


def test_a_request_is_a_line_with_everything_in_it() -> None:
    stream, counters = Written(), Counters()
    request = UnreadRequest("192.0.2.1", b"GET", b"/wiki/a?token=secret", "wiki.example.com", "r-1")
    log_to(stream, counters=counters).ended(
        FORWARDED, 1, 200, now_s() - 0.5, BriefRecord(request, None, 7, False)
    )
    line = stream.line()
    assert 500 <= line.pop("duration_ms") < 50_000
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "doorward.access",
        "request_id": "r-1",
        "client": "192.0.2.1",
        "method": "GET",
        "target": "/wiki/a",
        "host": "wiki.example.com",
        "status": 200,
        "bytes": 7,
        "route": "/wiki",
        "decision": "forwarded",
        "reason": "",
        "user": "",
        "session": "",
        "cut": True,
    }
    assert [key[0] for key in counters.totals()].count(REQUESTS) == 1


def test_a_session_is_logged_with_its_user_and_public_id() -> None:
    user = User(1, "id", "database", "alice", None, (), (), (), False, True, False, False, 0.0)
    session = Session(
        1, "public-id", user, 0, 0.0, 0.0, None, 1e12, False, "", "", "", "page", FULL
    )
    stream = Written()
    log_to(stream).ended(FORWARDED, 0, 200, now_s(), BriefRecord(UnreadRequest(), session))
    line = stream.line()
    assert (line["user"], line["session"]) == ("alice", "public-id")


@pytest.mark.parametrize("format", ["json", "console"])
def test_hostile_characters_are_escaped(format: Format) -> None:
    stream = Written()
    raw = HOSTILE.encode()
    request = UnreadRequest("", raw, b"/" + raw, HOSTILE, HOSTILE)
    log_to(stream, format).ended(
        refusal_outcome("bad_request"), NO_ROUTE, 400, now_s(), BriefRecord(request)
    )
    written = stream.getvalue()
    assert len(written.splitlines()) == 1 and written.endswith("\n")
    assert written[:-1].isprintable()


def test_a_target_is_logged_up_to_a_length_and_without_login_data() -> None:
    stream = Written()
    log = log_to(stream)
    for target, shown in [
        (b"/" + b"x" * 10_000, "/" + "x" * (TARGET_CHARACTERS - 1) + "..."),
        (b"http://alice:secret@example.com/a@b", "http://example.com/a@b"),
        (b"/a@b//c@d", "/a@b//c@d"),
        (b"*", "*"),
    ]:
        log.ended(FORWARDED, 0, 200, now_s(), BriefRecord(UnreadRequest(target=target)))
        assert stream.line()["target"] == shown


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_has_no_values_of_variables(restored: None, format: Format) -> None:
    """If rich is installed, structlog by default prints all of them, including passwords and
    tokens."""
    stream = Terminal() if format == "console" else io.StringIO()
    configure_logs(stream, format=format)

    def log_in(password: str) -> None:
        raise RuntimeError("broken")

    try:
        log_in("-".join(("correct", "horse")))
    except RuntimeError:
        structlog.get_logger("doorward").exception("request_failed")
    written = stream.getvalue()
    assert "RuntimeError" in written and "in log_in" in written
    assert "correct-horse" not in written
