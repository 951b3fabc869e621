"""The changelog describes the package's version."""

from __future__ import annotations

import re
from pathlib import Path

import doorward

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def released() -> list[tuple[str, str]]:
    """Version and date of every release, newest first."""
    return re.findall(r"^## \[(\d[^]]*)\] - (\d{4}-\d{2}-\d{2})$", CHANGELOG.read_text(), re.M)


def test_its_newest_version_is_the_package_s_or_the_one_before_it() -> None:
    """A development build has the number of the next version."""
    newest, (version, _, build) = released()[0][0], doorward.__version__.partition(".dev")
    if not build:
        assert newest == version
        return
    assert numbers(newest) < numbers(version)
    unreleased = CHANGELOG.read_text().partition("## [Unreleased]")[2].partition("\n## [")[0]
    assert "\n- " in unreleased


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_its_releases_are_in_order_newest_first() -> None:
    dates = [date for _, date in released()]
    assert dates == sorted(dates, reverse=True)
