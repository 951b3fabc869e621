"""doorward config check, show, example and schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from doorward.cli.config import app
from doorward.settings.schema import schema_text
from typer.testing import CliRunner, Result

from .test_faults import FIVE

GOOD = "routes: [{upstream: 'http://a'}]\nlimits: {body_bytes: 1MiB}\n"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


def run(*arguments: str | Path, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(app, [str(argument) for argument in arguments])


def test_a_valid_file_is_reported_as_ok(good: Path) -> None:
    result = run("check", "-c", good, DOORWARD_LISTN="x")
    assert result.exit_code == 0
    assert result.stdout == f"OK: {good}\n"
    assert "DOORWARD_LISTN is not a setting" in result.stderr
    assert "without effect" not in result.stderr


def test_five_faults_are_five_lines_on_standard_error_and_status_2(tmp_path: Path) -> None:
    file = tmp_path / "five.yaml"
    file.write_text(FIVE)
    result = run("check", "--config", file)
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 5
    assert all(line.startswith(str(file)) for line in lines)
    assert run("show", "-c", file).stderr == result.stderr


def test_faults_can_be_printed_as_json(tmp_path: Path, good: Path) -> None:
    file = tmp_path / "five.yaml"
    file.write_text(FIVE)
    result = run("check", "--json", "-c", file)
    found = json.loads(result.stdout)
    assert result.exit_code == 2 and found["ok"] is False
    assert [fault["line"] for fault in found["faults"]] == [3, 4, 6, 9, None]
    assert json.loads(run("check", "--json", "-c", good).stdout)["unbuilt"] == []


def test_the_check_reads_key_files_but_creates_none(good: Path, tmp_path: Path) -> None:
    with good.open("a") as file:
        file.write("secret_files: [missing.key]\n")
    result = run("check", "-c", good)
    assert result.exit_code == 2
    assert "secret_files[0]" in result.stderr and "does not exist" in result.stderr
    assert not (tmp_path / "data").exists()


def test_the_example_is_the_file_of_the_repository_and_works(tmp_path: Path) -> None:
    told = run("example")
    assert told.exit_code == 0
    assert told.stdout == (Path(__file__).parents[2] / "config" / "doorward.yaml").read_text()
    file = tmp_path / "doorward.yaml"
    file.write_text(told.stdout)
    assert run("check", "-c", file).exit_code == 0


def test_the_environment_alone_can_be_checked() -> None:
    result = run("check", DOORWARD_ROUTES='[{"upstream": "http://a"}]')
    assert result.stdout == "OK: the environment\n"
    assert run("check").exit_code == 2


def test_the_settings_in_effect_are_shown(good: Path) -> None:
    text, data = run("show", "-c", good), run("show", "--json", "-c", good)
    assert text.exit_code == data.exit_code == 0
    assert yaml.safe_load(text.stdout) == json.loads(data.stdout)
    assert json.loads(data.stdout)["sessions"]["idle_timeout"] == "2h"


def test_the_schema_is_printed() -> None:
    assert run("schema").stdout == schema_text()
