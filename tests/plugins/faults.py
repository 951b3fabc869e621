"""Prints the table of faults at the end of a run, from all processes.

A row comes from the fixture `tell`, with figures, or from the mark `fault`, without.
"""

from __future__ import annotations

import pytest

from tests.faults.conftest import COLUMNS, FAULT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("fault")
        if mark is not None and mark.args:
            assert len(mark.args) == len(COLUMNS), item.nodeid
            item.user_properties.append((FAULT, list(mark.args)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed")
    rows = [value for report in reports for name, value in report.user_properties if name == FAULT]
    if rows:
        terminalreporter.section("faults")
    for row in dict.fromkeys(map(tuple, rows)):
        terminalreporter.line(" | ".join(f"{c}: {v}" for c, v in zip(COLUMNS, row, strict=True)))
