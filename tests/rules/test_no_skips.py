"""On a build machine, a run fails if anything was skipped; elsewhere, it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARKED = """
import pytest

def test_runs(): ...

{mark}
def test_marked(): {body}
"""
SKIPPED = MARKED.format(mark="@pytest.mark.skip", body="...")
EXPECTED_TO_FAIL = MARKED.format(mark="@pytest.mark.xfail", body="assert False")


def run(test: str, folder: Path, may_not_skip: str) -> subprocess.CompletedProcess[str]:
    path = folder / "test_it.py"
    path.write_text(test)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.plugins.no_skips",
        "-p",
        "no:cacheprovider",
    ]
    command += ["-c", os.fspath(ROOT / "pyproject.toml"), os.fspath(path)]
    environ = os.environ | {"TESTS_MAY_NOT_SKIP": may_not_skip}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)


@pytest.mark.outside
@pytest.mark.parametrize(
    ("test", "may_not_skip", "status"),
    [(SKIPPED, "1", 1), (SKIPPED, "", 0), (SKIPPED, "0", 0), (EXPECTED_TO_FAIL, "1", 0)],
    ids=["forbidden", "not asked", "switched off", "expected to fail"],
)
def test_a_skip_fails_the_run_if_forbidden(
    test: str, may_not_skip: str, status: int, tmp_path: Path
) -> None:
    ended = run(test, tmp_path, may_not_skip)
    assert ended.returncode == status, ended.stdout
    assert ("::test_marked" in ended.stdout.partition("forbids")[2]) == bool(status)
