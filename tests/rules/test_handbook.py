"""The documentation is complete, has no broken links, and can be built."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doorward.settings.identity import PRESETS
from doorward.settings.known import every_key

from tests.support.handbook import DOCS, PAGES, ROOT, read_page
from tools import reference, site

README = (ROOT / "README.md").read_text()
LEVELS = {"info", "warning", "error", "exception"}


def chapter(text: str, title: str) -> str:
    return text.partition(f"\n## {title}")[2].partition("\n## ")[0]


def test_the_reference_has_every_command() -> None:
    written = reference.write("commands")
    paths = [path for path, _ in reference.every_command()]
    assert len(paths) > 30
    assert not [path for path in paths if f"`doorward {path}`" not in written]


def test_the_reference_has_every_setting_with_type_default_variable_and_example() -> None:
    written = reference.write("settings")
    once = [key for key in every_key() if reference.example(key)]
    assert not [key for key in once if f"# `{'.'.join(key)}`" not in written]
    shared = {key[:2] for key in every_key() if key not in once}
    assert shared <= {("routes", "rules"), ("dialects", "alekeagle")}, "described elsewhere"
    for name in ("Type", "Default", "Environment", "Example"):
        assert written.count(f"| {name} |") > 100


@pytest.mark.parametrize("name", reference.PARTS)
def test_a_generated_part_is_used_in_one_page(name: str) -> None:
    line = f"<!-- generated: {name} -->"
    assert [page for page in DOCS.rglob("*.md") if line in page.read_text().splitlines()]


def test_it_names_every_preset() -> None:
    """Including the exact name of every header."""
    page = read_page("guides/identity-headers.md")
    for preset, headers in PRESETS.items():
        row = re.search(rf"^\| `{preset}`[^\n]*", page, re.M)
        assert row, preset
        assert not [header.header for header in headers if f"`{header.header}`" not in row[0]]


def list_log_events() -> Iterator[str]:
    """The event names of all log lines."""
    for file in (ROOT / "proxy" / "doorward").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield from _event(node, node.func)


def _event(node: ast.Call, called: ast.Attribute) -> Iterator[str]:
    logger = re.fullmatch(r"_?log(ger)?(\(\))?", ast.unparse(called.value))
    if called.attr not in LEVELS or logger is None:
        return
    if node.args and isinstance(node.args[0], ast.Constant):
        yield str(node.args[0].value)


def test_the_reference_has_every_log_event() -> None:
    page = read_page("reference/log-events.md")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.M)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    events = set(list_log_events())
    assert len(events) > 25
    assert events - told == set()
    elsewhere = {"log_lines_lost", "connections_lowered"}  # logged under another name
    assert told - events <= elsewhere


def test_the_readme_begins_with_two_commands() -> None:
    commands = re.findall(r"^```sh\n(.*?)\n```", chapter(README, "Try it"), re.M | re.S)
    assert commands == ["make demo", "make test"]


def test_the_readme_has_ten_promises_with_a_link_each() -> None:
    promises = re.split(r"^\d+\. ", chapter(README, "Ten promises"), flags=re.M)[1:]
    assert len(promises) == 10
    assert all(promise.startswith("**") and "](docs/" in promise for promise in promises)


def test_the_handbook_names_the_test_of_each_promise_but_the_last() -> None:
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    rows = re.findall(r"^\| (\d+) \|.*\| `([^`]+)` \|$", read_page("security/promises.md"), re.M)
    assert [number for number, _ in rows] == [str(number) for number in range(1, 10)]
    for _, test in rows:
        assert (ROOT / test).exists() if "/" in test else f"def {test}(" in tests


def test_it_does_not_install_from_an_index_before_a_release() -> None:
    for page in PAGES:
        assert not re.search(r"pip install [^\n]*\bdoorward\b", page.read_text()), page


@pytest.mark.parametrize(
    "page",
    [path for path in ROOT.rglob("*.md") if not {".venv", "node_modules", "build"} & {*path.parts}],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_its_links_are_not_broken(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_navigation() -> None:
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    decisions = {page for page in pages if re.match(r"decisions/\d", page)}  # listed on one page
    assert set(list_targets(navigation)) == pages - decisions


def list_targets(navigation: Any) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    else:
        inner = navigation.values() if isinstance(navigation, dict) else navigation
        for each in inner:
            yield from list_targets(each)


def test_a_site_that_loads_something_from_elsewhere_is_refused(tmp_path: Path) -> None:
    page = '<link rel="stylesheet" href="https://fonts.example/a.css"><img src="https://x.example/a.png">'
    (tmp_path / "index.html").write_text(page + '<a href="https://example.com/">a link</a>')
    assert len(list(site.find_faults(tmp_path))) == 2


def test_a_site_whose_links_lead_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<a href="gone.html"><a href="#gone"><img src="gone.png">')
    assert len(list(site.find_faults(tmp_path))) == 3
