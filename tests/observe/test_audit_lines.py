"""Audit records as lines: their form, their destinations, and fail2ban's filter."""

from __future__ import annotations

import configparser
import json
import os
import re
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from doorward.accounts.audit.audit_log import Event, Kind, Record
from doorward.observe.audit import FileSink, format_line, open_channel, open_sink, write_to
from doorward.observe.channel import Channel
from doorward.storage import StorageFault
from hypothesis import given
from hypothesis import strategies as st

FILTER = Path(__file__).parents[2] / "examples/fail2ban/filter.conf"
EVENT = Event(
    at=1_700_000_000.25,
    kind=Kind.LOGIN_FAILED,
    subject="alice",
    address="192.0.2.1",
    request_id="r-1",
    outcome="refused",
    detail="password",
)
HOST = r"(?P<host>[0-9A-Fa-f:.]+)"  # fail2ban's pattern for <HOST>, without names


def rule(name: str) -> str:
    found = configparser.RawConfigParser()
    found.read_string(FILTER.read_text())
    return found.get("Definition", name)


def banned(line: str) -> str | None:
    """The address that fail2ban reads from a line, from which it removes the time first."""
    stamp = rule("datepattern").replace("%%f", r"\d+").replace("%%z", "Z")
    stamp = re.sub("%%[YmdHMS]", r"\\d+", stamp)
    rest, times = re.subn(stamp, "", line, count=1)
    assert times == 1
    match = re.search(rule("failregex").replace("<HOST>", HOST), rest)
    return match and match["host"]


def test_a_line_has_every_field_in_a_fixed_order() -> None:
    assert format_line(Record(7, EVENT)) == (
        '{"time": "2023-11-14T22:13:20.250Z", "kind": "login_failed", "address": "192.0.2.1", '
        '"outcome": "refused", "actor": "", "subject": "alice", "session": "", '
        '"request_id": "r-1", "detail": "password", "number": 7}\n'
    )


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("kind", [Kind.LOGIN_FAILED, Kind.FACTOR_FAILED, Kind.FACTOR_LOCKED])
def test_the_filter_for_fail2ban_matches_failures(address: str, kind: Kind) -> None:
    assert banned(format_line(Record(1, replace(EVENT, address=address, kind=kind)))) == address


@pytest.mark.parametrize(
    "event",
    [
        replace(EVENT, kind=Kind.LOGIN, outcome="done"),
        replace(EVENT, kind=Kind.LOCKED_OUT),  # it follows a failure, which already counts
        replace(EVENT, kind=Kind.SESSION_ENDED, outcome="done"),
        replace(EVENT, address=""),
    ],
)
def test_the_filter_matches_nothing_else(event: Event) -> None:
    assert banned(format_line(Record(1, event))) is None


@given(st.text(), st.sampled_from(['", "address": "203.0.113.1", "outcome": "refused", ', "\n"]))
def test_a_user_name_cannot_forge_an_address(text: str, attack: str) -> None:
    name = f"{text}{attack}{format_line(Record(1, replace(EVENT, address='203.0.113.1')))}"
    line = format_line(Record(1, replace(EVENT, subject=name, actor=name)))
    assert banned(line) == "192.0.2.1"
    assert line.count("\n") == 1 and line.isascii() and line[:-1].isprintable()
    assert json.loads(line)["subject"] == name
    assert banned(format_line(Record(1, replace(EVENT, kind=Kind.LOGIN, subject=name)))) is None


def test_a_file_is_appended_to_private_and_can_be_rotated(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    tell = open_sink(file)
    assert tell is not None
    tell(Record(1, EVENT))
    tell(Record(2, EVENT))
    assert file.stat().st_mode & 0o777 == 0o600
    file.rename(tmp_path / "audit.jsonl.1")
    tell(Record(3, EVENT))
    kept = [(tmp_path / name).read_text() for name in ("audit.jsonl.1", "audit.jsonl")]
    assert [[json.loads(line)["number"] for line in text.splitlines()] for text in kept] == [
        [1, 2],
        [3],
    ]


def test_lines_go_to_standard_output_if_configured(capfd: pytest.CaptureFixture[str]) -> None:
    assert open_sink(None) is None
    tell = open_sink("stdout")
    assert tell is not None
    tell(Record(7, EVENT))
    assert json.loads(capfd.readouterr().out)["number"] == 7


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match=r"^audit.file: .*missing/audit.*; let the user"):
        open_sink(tmp_path / "missing" / "audit.jsonl")


def test_lines_that_are_lost_later_are_reported_and_counted_once(tmp_path: Path) -> None:
    """The database has the records, so the operations succeed."""
    (folder := tmp_path / "logs").mkdir()
    channel = open_channel(folder / "audit.jsonl")
    assert channel is not None
    tell = write_to(channel)
    (folder / "audit.jsonl").unlink()
    folder.rmdir()
    with structlog.testing.capture_logs() as logged:
        tell(Record(7, EVENT))
        tell(Record(8, EVENT))
        assert channel.lost == 2
        folder.mkdir()
        tell(Record(9, EVENT))
        tell(Record(10, EVENT))
    assert [(entry["event"], entry.get("lost")) for entry in logged] == [
        ("audit_lines_lost", None),
        ("audit_written_again", 2),
    ]
    lines = (folder / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [9, 10]


def test_a_short_write_leaves_no_half_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    channel = open_channel(file)
    assert channel is not None
    tell = write_to(channel)
    tell(Record(1, EVENT))
    size = file.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        tell(Record(2, EVENT))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)
    assert file.stat().st_size == size and channel.lost == 1
    tell(Record(3, EVENT))
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [1, 3]


def test_a_pipe_without_a_reader_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    channel = Channel(FileSink(pipe))
    write_to(channel)(Record(1, EVENT))
    assert channel.lost == 1
