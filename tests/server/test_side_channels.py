"""If logs, audit lines and metrics cannot be written, answers are neither changed nor delayed."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import DOORWARD, Live, config_user
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import until
from tests.support.wire import get

CHATTY: dict[str, Any] = {"log": {"access": True, "level": "debug"}, "users": [config_user()]}


@contextlib.contextmanager
def writing_to(
    folder: Path, redirection: str = "", error: int | None = None, **values: Any
) -> Iterator[Live]:
    """A deployment whose standard streams are redirected as by a shell; `error` is a descriptor for
    standard error."""
    with Origin((answering(OK),)) as origin:
        live = Live(folder, origin.url, **{**CHATTY, **values})
        line = ["sh", "-c", f'exec "$@" {redirection}', "sh"]
        line += [os.fspath(DOORWARD), "serve", "-c", os.fspath(live.config)]
        with live.log.open("ab") as log:
            live.process = subprocess.Popen(line, stdout=log, stderr=error or log, cwd=folder)
        try:
            live._wait_until_ready()
            yield live
        finally:
            live.__exit__()


def unwritten(live: Live, channel: str) -> int:
    text = live.admin("/metrics").text
    found = re.search(rf'doorward_unwritten_total{{channel="{channel}"}} (\S+)', text)
    return int(float(found[1])) if found else 0


def is_well(live: Live) -> None:
    """Requests get their usual answers: refused, from Doorward itself, and forwarded."""
    assert live.get("/").status == 401
    cookie = live.login()
    assert [live.get("/", cookie).status for _ in range(5)] == [200] * 5


@pytest.mark.fault(
    "standard error takes nothing",
    "a session",
    "the session; the lost lines are counted",
    "nothing",
    "nothing, as it cannot; doorward_unwritten_total counts",
)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "0<&- 1>&- 2>&-"])
def test_an_unwritable_standard_error_affects_no_answer(
    tmp_path: Path, redirection: str, workers: int
) -> None:
    with writing_to(tmp_path, redirection, workers=workers) as live:
        is_well(live)
        until(lambda: unwritten(live, "log") > 0, "for lost lines to be counted")
        assert live.stop() == 0


def test_a_full_log_pipe_delays_no_answer(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with writing_to(tmp_path, error=writing) as live:
            os.close(writing)
            with live.client() as client:
                for _ in range(105):  # of a hundred each: more than the pipe and the queue can hold
                    client.send(get("/", host=live.host) * 100)
                    assert {client.answer().status for _ in range(100)} == {401}
            is_well(live)
            assert unwritten(live, "log") > 0
            seen = b""
            while b"log_lines_lost" not in seen:
                seen = seen[-1000:] + os.read(reading, 65536)
            assert live.stop() == 0
    finally:
        os.close(reading)


def test_a_stop_does_not_wait_for_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with writing_to(tmp_path, error=writing, workers=2) as live:
            os.close(writing)
            with live.client() as client:
                for _ in range(5):
                    client.send(get("/", host=live.host) * 100)
                    assert {client.answer().status for _ in range(100)} == {401}
            assert live.stop() == 0
    finally:
        os.close(reading)


@pytest.mark.fault(
    "the audit file is on a full disk",
    "a session",
    "the session; the records are in the database",
    "nothing",
    "1x audit_lines_lost",
)
def test_an_audit_file_on_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    with writing_to(tmp_path, audit={"file": "/dev/full"}) as live:
        is_well(live)
        until(lambda: unwritten(live, "audit") > 0)
        live.until_it_says("audit_lines_lost")
        assert len([line for line in live.lines() if "audit_lines_lost" in line]) == 1


def test_an_audit_file_may_be_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "audit"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with writing_to(tmp_path, audit={"file": str(pipe)}) as live:
            is_well(live)
            until(lambda: b'"kind": "login"' in os.read(reading, 65536))
    finally:
        os.close(reading)
