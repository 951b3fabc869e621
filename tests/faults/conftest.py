"""The report of the fault tests: a table with a row for each, printed at the end of the run.

`make fault` runs the long form: FAULT_ROUNDS is how often each fault is injected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.origin import OK, Origin, answering

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
COLUMNS = ("fault", "acknowledged before", "found after", "users saw", "the log said")
FAULT = "fault"  # the property of a test report with a row

Tell = Callable[[str, object, object, str, str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Adds a row to the table: one value for each of COLUMNS."""

    def row(*values: object) -> None:
        record_property(FAULT, [str(value) for value in values])

    return row


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((answering(OK),)) as origin:
        yield origin
