"""How a record looks as a line, where lines go, and what the filter for fail2ban makes of them."""

from __future__ import annotations

import configparser
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from doorward.accounts.audit import Event, Kind, Record
from doorward.observe import audit
from doorward.observe.audit import FileSink, StreamSink, line_of, open_sink
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
HOST = r"(?P<host>[0-9A-Fa-f:.]+)"  # what fail2ban puts for <HOST>, as far as addresses go


def rule(name: str) -> str:
    found = configparser.RawConfigParser()
    found.read_string(FILTER.read_text())
    return found.get("Definition", name)


def banned(line: str) -> str | None:
    """The address that fail2ban reads from a line: it takes the time out before it looks."""
    stamp = rule("datepattern").replace("%%f", r"\d+").replace("%%z", "Z")
    stamp = re.sub("%%[YmdHMS]", r"\\d+", stamp)
    rest, times = re.subn(stamp, "", line, count=1)
    assert times == 1
    match = re.search(rule("failregex").replace("<HOST>", HOST), rest)
    return match and match["host"]


def test_a_line_has_every_field_in_a_fixed_order() -> None:
    assert line_of(Record(7, EVENT)) == (
        '{"time": "2023-11-14T22:13:20.250Z", "kind": "login_failed", "address": "192.0.2.1", '
        '"outcome": "refused", "actor": "", "subject": "alice", "session": "", '
        '"request_id": "r-1", "detail": "password", "number": 7}\n'
    )


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("kind", [Kind.LOGIN_FAILED, Kind.FACTOR_FAILED, Kind.FACTOR_LOCKED])
def test_the_filter_for_fail2ban_matches_failures(address: str, kind: Kind) -> None:
    assert banned(line_of(Record(1, replace(EVENT, address=address, kind=kind)))) == address


@pytest.mark.parametrize(
    "event",
    [
        replace(EVENT, kind=Kind.LOGIN, outcome="done"),
        replace(EVENT, kind=Kind.LOCKED_OUT),  # it follows a failure, which counts already
        replace(EVENT, kind=Kind.SESSION_ENDED, outcome="done"),
        replace(EVENT, address=""),
    ],
)
def test_the_filter_matches_nothing_else(event: Event) -> None:
    assert banned(line_of(Record(1, event))) is None


@given(st.text(), st.sampled_from(['", "address": "203.0.113.1", "outcome": "refused", ', "\n"]))
def test_no_name_can_put_somebody_elses_address_there(text: str, attack: str) -> None:
    name = f"{text}{attack}{line_of(Record(1, replace(EVENT, address='203.0.113.1')))}"
    line = line_of(Record(1, replace(EVENT, subject=name, actor=name)))
    assert banned(line) == "192.0.2.1"
    assert line.count("\n") == 1 and line.isascii() and line[:-1].isprintable()
    assert json.loads(line)["subject"] == name
    assert banned(line_of(Record(1, replace(EVENT, kind=Kind.LOGIN, subject=name)))) is None


def test_a_file_is_appended_to_made_private_and_may_be_rotated(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    tell = open_sink(file)
    assert isinstance(tell, FileSink)
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


def test_no_file_is_no_sink_and_standard_output_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert open_sink(None) is None
    tell = open_sink("stdout")
    assert tell is not None
    tell(Record(7, EVENT))
    assert json.loads(capsys.readouterr().out)["number"] == 7


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match=r"^audit.file: .*missing/audit.*; let the user"):
        open_sink(tmp_path / "missing" / "audit.jsonl")


def test_a_line_that_is_lost_later_is_told_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has the record: the act is done, and nobody is answered otherwise."""
    lost: list[int] = []
    monkeypatch.setattr(audit, "_complain", lambda record, error: lost.append(record.number))
    (folder := tmp_path / "logs").mkdir()
    tell = open_sink(folder / "audit.jsonl")
    assert tell is not None
    (folder / "audit.jsonl").unlink()
    folder.rmdir()
    tell(Record(7, EVENT))
    closed = io.StringIO()
    closed.close()
    StreamSink(closed)(Record(8, EVENT))
    assert lost == [7, 8]
