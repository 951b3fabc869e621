"""The traffic of the benchmarks differs as much as documented."""

from __future__ import annotations

from pathlib import Path

from benchmarks.traffic import BROWSERS, PROGRAMS, TARGETS, lua_request, targets


def test_targets_are_unique_repeatable_and_as_many_as_documented() -> None:
    found = targets()
    assert len(set(found)) == len(found) == TARGETS
    assert found == targets()
    assert all(target.startswith("/") and " " not in target for target in found)


def test_five_browsers_and_three_programs_send_different_heads() -> None:
    assert (len(set(BROWSERS)), len(set(PROGRAMS))) == (5, 3)


def test_a_script_reads_a_line_per_session_and_a_blank_one_without(tmp_path: Path) -> None:
    lua_request(tmp_path, [("Cookie", "a=1"), ("Authorization", "Bearer x"), None], 1, False)
    sessions = (tmp_path / "sessions.txt").read_text()
    assert sessions == "Cookie: a=1\nAuthorization: Bearer x\n\n"
    assert len((tmp_path / "targets.txt").read_text().splitlines()) == TARGETS
