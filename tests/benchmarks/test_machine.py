"""The benchmarks report how Python was built, because figures of two builds cannot be compared."""

from __future__ import annotations

import pytest

from benchmarks.machine import build, build_of


@pytest.mark.parametrize(
    ("options", "packaged", "told"),
    [
        ("'--enable-optimizations' '--with-lto'", False, "with PGO, with LTO"),
        ("'--enable-optimizations' '--with-lto=full'", False, "with PGO, with LTO"),
        ("'--enable-optimizations' '--with-lto=no'", False, "with PGO, without LTO"),
        ("'--prefix=/opt/python' '--enable-shared'", False, "without PGO, without LTO"),
        ("", False, "without PGO, without LTO"),
        ("'--enable-shared'", True, "packaged by Debian or Ubuntu, with PGO and LTO"),
    ],
)
def test_the_build_is_known_from_its_options_or_its_packager(
    options: str, packaged: bool, told: str
) -> None:
    assert build_of(options, packaged) == told


def test_the_build_of_the_running_python_is_reported() -> None:
    assert "PGO" in build()
