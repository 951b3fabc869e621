"""The curl session in each dialect's chapter of the handbook, run as written.

A `console` block holds commands after `$ ` and what they print; `…` stands for anything. The blocks
of a chapter are one shell; its first `yaml` block is the configuration.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import Start
from tests.live import PASSWORD

CHAPTERS = sorted((Path(__file__).parents[2] / "docs" / "dialects").glob("*.md"))
END = "\N{END OF TEXT}"


def blocks(chapter: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", chapter.read_text(), re.M | re.S)


def steps(chapter: Path) -> list[tuple[str, str]]:
    """Each command with what it ought to print."""
    found: list[tuple[str, str]] = []
    for block in blocks(chapter, "console"):
        for step in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, printed = re.sub(r"\\\n", " ", step).partition("\n")
            found.append((command, printed.strip()))
    return found


def run(commands: list[str], folder: Path, **environment: str) -> list[str]:
    """What each prints, one shell for all."""
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


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_its_session_goes_as_written(chapter: Path, deploy: Start, tmp_path: Path) -> None:
    live = deploy("http://127.0.0.1:9", **yaml.safe_load(blocks(chapter, "yaml")[0]))
    live.add_user("alice", "--role", "admin")
    live.add_user("bob")
    told = steps(chapter)
    commands = [command for command, _ in told]
    assert any("curl" in command for command in commands)
    printed = run(commands, tmp_path, ADDRESS=f"http://{live.host}", PASSWORD=PASSWORD)
    for (command, expected), found in zip(told, printed, strict=True):
        form = ".*".join(re.escape(part) for part in expected.split("…"))
        assert re.fullmatch(form, found, re.S), f"{command}\nprinted\n{found}\nand not\n{expected}"
