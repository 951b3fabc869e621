"""The handbook names everything there is, leads nowhere that is not there, and its samples work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from doorward.cli.main import COMMANDS, app
from doorward.settings import list_unbuilt_keys, load_settings
from doorward.settings.identity import PRESETS
from doorward.settings.known import list_fields
from doorward.settings.models import Settings

ROOT = Path(__file__).parents[2]
HANDBOOK = (ROOT / "README.md").read_text()


def commands() -> Iterator[str]:
    """Every command a person can type, groups opened."""
    top = typer.main.get_command(app)
    context = typer.Context(top)
    for name in COMMANDS:
        command = top.get_command(context, name)  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        yield from (f"doorward {name} {sub}" for sub in inner) if inner else (f"doorward {name}",)


def samples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", HANDBOOK, re.M | re.S)


def test_it_names_every_command() -> None:
    table = HANDBOOK.partition("\n## Commands")[2].partition("\n## ")[0]
    assert not [name for name in commands() if not re.search(rf"`{name}\b", table)]


def test_it_names_every_group_of_settings() -> None:
    table = HANDBOOK.partition("\n## Configuration")[2].partition("\n## ")[0]
    assert not [key for key in list_fields(Settings) if f"`{key}`" not in table]


def test_it_names_every_preset() -> None:
    """And every header of each, as it is spelt."""
    for preset, headers in PRESETS.items():
        row = re.search(rf"^\| `{preset}`[^\n]*", HANDBOOK, re.M)
        assert row, preset
        assert not [header.header for header in headers if f"`{header.header}`" not in row[0]]


def test_the_five_minutes_begin_with_one_command_and_ask_for_the_tests_last() -> None:
    chapter = HANDBOOK.partition("\n## Five minutes")[2].partition("\n## ")[0]
    lines = re.findall(r"^    (.+)$", chapter, re.M)
    assert (lines[0], lines[-1]) == ("make demo", "make test")


def test_it_installs_from_no_index_before_there_is_a_release_on_one() -> None:
    for page in [ROOT / "README.md", *(ROOT / "examples").glob("*/README.md")]:
        assert not re.search(r"pip install [^\n]*\bdoorward\b", page.read_text()), page


def test_there_are_ten_promises_at_its_head() -> None:
    chapter = HANDBOOK.partition("\n## Ten promises")[2].partition("\n## ")[0]
    assert re.findall(r"^(\d+)\. \*\*", chapter, re.M) == [str(n) for n in range(1, 11)]


@pytest.mark.parametrize("sample", samples("yaml"))
def test_a_sample_of_the_configuration_is_valid(sample: str, tmp_path: Path) -> None:
    minimal = {"routes": [{"upstream": "http://127.0.0.1:9000"}]}
    path = tmp_path / "doorward.yaml"
    path.write_text(yaml.safe_dump(minimal | yaml.safe_load(sample)))
    assert not list_unbuilt_keys(load_settings(path, {}))


def test_the_block_for_nginx_is_the_file_that_the_tests_run() -> None:
    file = ROOT / "examples" / "front-proxies" / "nginx.conf"
    assert samples("nginx") == [file.read_text()]


@pytest.mark.parametrize(
    "page",
    [path for path in ROOT.rglob("*.md") if not {".venv", "node_modules"} & {*path.parts}],
    ids=lambda p: p.name,
)
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target
