"""The settings of the log, and their defaults."""

from __future__ import annotations

import pytest
from doorward.settings import InvalidSettings

from tests.conftest import Make


def test_by_default_a_terminal_decides_and_requests_are_no_lines(settings: Make) -> None:
    log = settings().log
    assert (log.format, log.level, log.access) == ("auto", "info", False)


def test_all_of_it_can_be_chosen(settings: Make) -> None:
    log = settings(log={"format": "json", "level": "debug", "access": True}).log
    assert (log.format, log.level, log.access) == ("json", "debug", True)


@pytest.mark.parametrize("key", ["format", "level", "access"])
def test_an_unknown_word_is_a_fault(settings: Make, key: str) -> None:
    with pytest.raises(InvalidSettings) as faults:
        settings(log={key: "loud"})
    assert [fault.key for fault in faults.value.faults] == [f"log.{key}"]
