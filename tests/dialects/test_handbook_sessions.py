"""The curl session in each dialect's chapter of the handbook, run as written.

A `console` block contains commands after `$ ` and their output; all such blocks of a chapter run in
one shell. A `sh` block is a script, and the `text` block after it is its output. `…` stands for
anything. A chapter's first `yaml` block is the configuration.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import Start
from tests.support.live import PASSWORD

CHAPTERS = sorted((Path(__file__).parents[2] / "docs" / "reference" / "dialects").glob("*.md"))
END = "\N{END OF TEXT}"


def blocks(chapter: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", chapter.read_text(), re.M | re.S)


def steps(chapter: Path) -> list[tuple[str, str]]:
    """Each command and its expected output."""
    found: list[tuple[str, str]] = []
    for block in blocks(chapter, "console"):
        for step in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, printed = re.sub(r"\\\n", " ", step).partition("\n")
            found.append((command, printed.strip()))
    return found


def run(commands: list[str], folder: Path, **environment: str) -> list[str]:
    """The output of each command, run in one shell."""
    script = "\n".join(f"{command}\necho '{END}'" for command in commands)
    done = subprocess.run(
        ["bash", "-uc", script],
        env=os.environ | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [printed.strip() for printed in done.stdout.split(END)[:-1]]


def scripts(chapter: Path) -> list[tuple[str, str]]:
    """Each script and its expected output."""
    form = r"^```sh\n(.*?)^```\n.*?^```text\n(.*?)^```"
    return re.findall(form, chapter.read_text(), re.M | re.S)


def is_as_written(command: str, found: str, expected: str) -> bool:
    form = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    assert re.fullmatch(form, found, re.S), f"{command}\nprinted\n{found}\nand not\n{expected}"
    return True


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_the_documented_session_runs_as_written(
    chapter: Path, deploy: Start, tmp_path: Path
) -> None:
    live = deploy("http://127.0.0.1:9", **yaml.safe_load(blocks(chapter, "yaml")[0]))
    live.add_user("alice", "--role", "admin")
    live.add_user("bob")
    at = {"ADDRESS": f"http://{live.host}", "PASSWORD": PASSWORD}
    told, whole = steps(chapter), scripts(chapter)
    assert any("curl" in command for command, _ in told + whole)
    printed = run([command for command, _ in told], tmp_path, **at)
    for (command, expected), found in zip(told, printed, strict=True):
        assert is_as_written(command, found, expected)
    for script, expected in whole:
        assert is_as_written(script, run([script], tmp_path, **at)[0], expected)
