"""With TESTS_MAY_NOT_SKIP=1 in the environment, a run in which anything was skipped fails.

On a build machine, a missing browser or database must not go unnoticed.
"""

from __future__ import annotations

import os

import pytest

skipped: list[str] = []


def asked_for() -> bool:
    return os.environ.get("TESTS_MAY_NOT_SKIP", "") not in ("", "0")


def note(report: pytest.TestReport | pytest.CollectReport) -> None:
    expected_failure = hasattr(report, "wasxfail")  # pytest also reports these as skipped
    if report.skipped and not expected_failure:
        skipped.append(report.nodeid)


pytest_runtest_logreport = note
pytest_collectreport = note


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if asked_for() and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if asked_for() and skipped:
        terminalreporter.section("skipped, which this run forbids", red=True)
        for nodeid in skipped:
            terminalreporter.line(nodeid)
