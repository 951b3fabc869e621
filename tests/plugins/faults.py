"""Prints the table of faults when a run that planted some is over, from whatever process."""

from __future__ import annotations

import pytest

from tests.faults.conftest import COLUMNS, FAULT


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed")
    rows = [value for report in reports for name, value in report.user_properties if name == FAULT]
    if rows:
        terminalreporter.section("faults")
    for row in rows:
        terminalreporter.line(" | ".join(f"{c}: {v}" for c, v in zip(COLUMNS, row, strict=True)))
