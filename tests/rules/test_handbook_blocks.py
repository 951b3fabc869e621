"""Every command and configuration in the documentation is tested, or has a reason why not."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from doorward.settings import list_findings, list_unbuilt_keys, load_settings

from tests.support.handbook import DOCS, ROOT, Block, list_blocks
from tools import reference

DIALECTS = DOCS / "reference" / "dialects"
# Sessions and scripts of these are run by tests/dialects/test_handbook_sessions.py.
BLOCKS = [block for block in list_blocks() if block.page.parent != DIALECTS]
MINIMAL = {"routes": [{"upstream": "http://127.0.0.1:9000"}]}
SHOWN = {"text"}  # output of commands, and diagrams
# Shell commands, in addition to `doorward` and `make`, that a page may use without a reason: those
# of the start pages, which tests/journeys/test_start_pages.py runs.
SHELL = {"curl", "echo", "export"}


def tried(*languages: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language in languages and not block.reason]
    return pytest.mark.parametrize("block", found, ids=str)


@tried("yaml")
def test_a_configuration_is_valid_and_has_no_findings(block: Block, tmp_path: Path) -> None:
    given = yaml.safe_load(block.text)
    path = tmp_path / "doorward.yaml"
    path.write_text(yaml.safe_dump({} if given.get("in_process") else MINIMAL | given))
    if given.get("in_process"):
        path.write_text(block.text)
    settings = load_settings(path, {})
    assert not list_unbuilt_keys(settings)
    assert not list_findings(settings), "`config check` and `doctor` would complain"


@tried("sh")
def test_commands_exist_with_the_options_that_are_shown(block: Block) -> None:
    for words in commands(block):
        check(words)


def commands(block: Block) -> Iterator[list[str]]:
    joined = re.sub(r"\\\n\s*", " ", block.text)
    for line in joined.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def check(words: list[str]) -> None:
    program, *arguments = words
    if program == "doorward":
        check_doorward(arguments)
    elif program == "make":
        check_make(arguments)
    else:
        known = program in SHELL or words[:2] == ["pip", "install"]
        assert known, f"{program}: say why it is not run"


def check_doorward(arguments: list[str]) -> None:
    known = dict(reference.every_command())
    name = next(n for n in (3, 2, 1) if " ".join(arguments[:n]) in known)
    command = known[" ".join(arguments[:name])]
    with click.Context(command, resilient_parsing=False) as context:
        command.parse_args(context, arguments[name:])


def check_make(arguments: list[str]) -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert targets is not None
    given = [word for word in arguments if "=" not in word]
    assert {*given} <= {*targets[1].split()}


@tried("python")
def test_a_program_can_be_read(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.reason], ids=str)
def test_every_block_is_tested_or_has_a_reason(block: Block) -> None:
    if block.language in {"yaml", "sh", "python"} | SHOWN:
        return
    files = [file for file in (ROOT / "examples").rglob("*") if file.is_file()]
    assert any(block.text in file.read_text(errors="replace") for file in files), (
        "neither a file of the examples nor marked with <!-- not run: why -->"
    )


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.reason], ids=str)
def test_commands_in_a_block_that_is_not_run_exist(block: Block) -> None:
    if block.language == "sh":
        for words in commands(block):
            if words[0] in ("doorward", "make"):
                check(words)


def test_no_page_has_commands_outside_a_fence() -> None:
    """An indented block would escape these tests."""
    for page in DOCS.rglob("*.md"):
        text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)
        assert not re.findall(r"^    (?:doorward|make|curl|pip) .*", text, re.M), page
