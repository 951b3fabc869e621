"""`doorward serve` from its command line to its exit status."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
from doorward.cli.main import app
from doorward.start.arguments import ServeArguments, read_arguments
from doorward.storage.database import DATABASE_FILE
from hypothesis import given
from hypothesis import strategies as st

from tests.support.waiting import PATIENCE_S

MAIN = (sys.executable, "-c", "from doorward.cli import main; main()")

words = st.sampled_from(
    ["serve", "-c", "--config", "--conf", "--config=f", "-cf", "f", "-", "--", "", "--help", "user"]
)


def read_with_typer(given: list[str]) -> ServeArguments | None:
    """Typer's reading of it; None if typer refuses it or prints help."""
    top: Any = typer.main.get_command(app)
    if given[:1] != ["serve"]:
        return None
    command = top.get_command(typer.Context(top), "serve")
    try:
        return ServeArguments(command.make_context("serve", given[1:]).params["config"])
    except Exception:  # help and every kind of error: their texts differ between versions
        return None


@given(st.lists(words, max_size=4))
def test_both_parsers_of_the_command_line_agree(given: list[str]) -> None:
    """The reader without typer may leave a line to typer, but must not read it differently."""
    read = read_arguments(given)
    assert read is None or read == read_with_typer(given)


@pytest.mark.parametrize("line", ["serve", "serve -c f", "serve --config f"])
def test_the_usual_forms_are_read_without_typer(line: str) -> None:
    assert read_arguments(line.split()) is not None


@pytest.mark.outside
@pytest.mark.parametrize("form", [[], ["-c", "{}"], ["--config", "{}"], ["--config={}"], ["-c{}"]])
def test_each_invalid_setting_is_reported_in_one_line(tmp_path: Path, form: list[str]) -> None:
    """Both ways to start report errors in the same way."""
    file = tmp_path / "doorward.yaml"
    file.write_text("routes: [{upstream: 'http://a'}]\nnonsense: 1\nlisten: x\n")
    done = serve(*(word.format(file) for word in form), DOORWARD_CONFIG=str(file))
    assert done.returncode == 2 and done.stdout == ""
    said = done.stderr.splitlines()
    assert len(said) == 2 and "nonsense" in done.stderr and "listen" in done.stderr, said


@pytest.mark.outside
def test_an_unusable_database_is_reported_once(tmp_path: Path) -> None:
    """The process that prepares the tables finds the error, and the server reports it."""
    file = configure(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    with closing(sqlite3.connect(tmp_path / "data" / DATABASE_FILE)) as other:
        other.execute("CREATE TABLE recipes (name)")
    done = serve("-c", str(file))
    assert done.returncode == 2
    assert done.stderr.count("holds tables of another program") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.outside
@pytest.mark.parametrize("option", ["-c", "--config="])
def test_ctrl_c_during_the_start_prints_no_traceback(tmp_path: Path, option: str) -> None:
    fifo = tmp_path / "doorward.yaml"
    os.mkfifo(fifo)
    named = [f"{option}{fifo}"] if option.endswith("=") else [option, str(fifo)]
    # If a shell starts the tests in the background, they ignore SIGINT, and the server would
    # inherit that.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    command = [sys.executable, "-c", heed + MAIN[-1], "serve", *named]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        writing = os.open(fifo, os.O_WRONLY)  # once the other end is open, it reads its settings
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            os.close(writing)
    assert (process.returncode, said) == (130, "")


def configure(folder: Path) -> Path:
    file = folder / "doorward.yaml"
    file.write_text(
        "routes: [{upstream: 'http://127.0.0.1:9'}]\ndata_dir: data\n"
        "listen: unix:listen.sock\nadmin_listen: off\npublic_url: http://localhost\n"
    )
    return file


def serve(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAIN, "serve", *options],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
