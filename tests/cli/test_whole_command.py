"""Properties of every command: options, help and completion, on any terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from doorward.cli.main import COMMANDS, app
from typer.testing import CliRunner

MAIN = (sys.executable, "-c", "from doorward.cli import main; main()")
# Modules that help does not need. Importing one takes longer than printing the help.
SLOW = {"rich", "yaml", "structlog", "starlette", "sqlalchemy", "httpx", "asyncio"}
# A temporary instance with its own settings.
WITHOUT_FILE = {("demo",)}


def every_command() -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words of every command, including those in groups, and the command."""
    top: Any = typer.main.get_command(app)
    for name in COMMANDS:
        yield from open_group((name,), top.get_command(typer.Context(top), name))


def open_group(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner: dict[str, Any] = getattr(command, "commands", {})
    if not inner:
        yield words, command
    for name, one in inner.items():
        yield from open_group((*words, name), one)


EVERY = dict(every_command())
every = pytest.mark.parametrize("words", EVERY, ids=" ".join)


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    whole = os.environ | environ
    return subprocess.run([*MAIN, *words], env=whole, capture_output=True, text=True, check=False)


@every
def test_every_command_on_an_instance_takes_the_option_c(words: tuple[str, ...]) -> None:
    options = {option for each in EVERY[words].params for option in each.opts}
    assert ("-c" in options) is (words not in WITHOUT_FILE)


@every
def test_the_help_of_a_command_shows_flags_as_flags(words: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*words, "--help"])
    assert told.exit_code == 0
    assert "--help  " in told.stdout


@every
def test_the_help_of_a_command_describes_every_value_in_the_words_of_its_users(
    words: tuple[str, ...],
) -> None:
    told = CliRunner().invoke(app, [*words, "--help"]).stdout
    assert not re.search(r"<\w|\{", told), "types of Python"
    assert all(param.help for param in EVERY[words].params)
    names = [name for param in EVERY[words].params for name in param.opts]
    assert names == [name.lower() for name in names], "typer 0.27 takes a metavar for the name"


@pytest.mark.outside
@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["user", "--help"]], ids=str)
def test_help_imports_no_slow_library(words: list[str]) -> None:
    code = f"""
import atexit, sys
atexit.register(lambda: print(sorted({SLOW!r} & set(sys.modules)), file=sys.stderr))
sys.argv = ["doorward", *{words!r}]
from doorward.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "doorward" in done.stdout or "Usage" in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.outside
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("doorward us", ["user"]),
        ("doorward user imp", ["import"]),
        ("doorward user add alice --pass", ["--password-stdin"]),
        ("doorward config ex", ["example"]),
        ("doorward serve --con", ["--config"]),
    ],
)
def test_a_shell_completes_commands_and_options(typed: str, offered: list[str]) -> None:
    words = typed.split(" ")
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv = ['doorward']; from doorward.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | asked | {"_DOORWARD_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == offered, done.stderr


@pytest.mark.outside
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_character_that_the_terminal_lacks_is_escaped(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "Ж.yaml"
    file.write_text(
        "routes: [{upstream: 'http://127.0.0.1:9'}]\npages: {name: Ж 木}\n", encoding="utf-8"
    )

    config = ("-c", str(file))
    commands = (
        (0, "user", "add", "Ж木", "--name", "Жанна", "--generate", *config),
        (0, "user", "list", *config),
        (0, "user", "show", "Ж木", *config),
        (1, "user", "add", "Ж木", "--generate", *config),
        (1, "user", "show", "Жук", *config),
        (2, "serve", "-c", "Ж"),
        (0, "config", "show", *config),
        (0, "config", "check", *config),
        (0, "audit", *config),
        (0, "user", "--help"),
    )
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps(commands)],
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u0416" in done.stdout


@pytest.mark.outside
@pytest.mark.parametrize("sink", ["full", "closed"])
def test_a_command_that_cannot_print_says_so_in_a_line(tmp_path: Path, sink: str) -> None:
    """A full disk is reported in one line, with status 1. Without a standard output, a command
    still works."""
    file = tmp_path / "doorward.yaml"
    file.write_text("routes: [{upstream: 'http://127.0.0.1:9'}]\n")
    config = ("-c", str(file))
    words = [
        ("user", "list"),
        ("user", "list", "--json"),
        ("user", "add", "alice", "--generate"),
        ("audit",),
        ("keys", "list"),
        ("config", "check"),
        ("config", "show"),
    ]
    status = 1 if sink == "full" else 0
    commands = [(status, *each, *config) for each in words] + [(status, "--help")]
    lead = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    if sink == "closed":
        lead = "os.close(1); sys.stdout = None"
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys; {lead}\n{EACH_IN_A_CHILD}", json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
    )
    told = "The output could not be written: No space left on device.\n" * (status * len(commands))
    assert (done.returncode, done.stderr) == (0, told)


def every_question(file: Path) -> Iterator[list[str]]:
    """Each command that asks or reads a password, with `ada` for each argument, and those that
    read a file."""
    for words, command in EVERY.items():
        options = {option for each in command.params for option in each.opts}
        if options.isdisjoint({"--password-stdin", "--yes"}):
            continue
        required = [each for each in command.params if each.required]
        line = [*words, *("ada" for _ in required), "-c", str(file)]
        yield line
        if "--password-stdin" in options:
            visit = ("--url", "http://127.0.0.1:9", "--user", "ada") if words == ("doctor",) else ()
            yield [*line, "--password-stdin", *visit]
    yield ["hash-password"]
    yield from (["user", "import", form, "-", "-c", str(file)] for form in ("htpasswd", "tinyauth"))


@pytest.mark.outside
@pytest.mark.parametrize(
    "stdin", ["os.close(0); sys.stdin = None", "give(b'')", "give(b'\\xff\\n')"]
)
def test_a_command_without_valid_input_changes_nothing(tmp_path: Path, stdin: str) -> None:
    """A closed or empty standard input, and bytes that are no text, end in a sentence."""
    file = tmp_path / "doorward.yaml"
    file.write_text("routes: [{upstream: 'http://127.0.0.1:9'}]\n")
    assert run("user", "add", "ada", "--generate", "-c", str(file)).returncode == 0
    before = run("user", "list", "--json", "-c", str(file)).stdout
    lines = [line for line in every_question(file) if line[:1] != ["doctor"] or "--user" in line]
    give = """
def give(answer):
    reading, writing = os.pipe()
    os.write(writing, answer)
    os.close(writing)
    os.dup2(reading, 0)
"""
    for line in lines:
        code = f"import os, sys\n{give}\n{stdin}\nsys.argv = ['doorward', *{line!r}]\n"
        code += "from doorward.cli import main\nmain()"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, line
        assert done.returncode in (1, 2) or "import" in line, (line, done)
    assert run("user", "list", "--json", "-c", str(file)).stdout == before


@pytest.mark.outside
@pytest.mark.parametrize("words", [["--help"], ["serve"], ["user", "list"]], ids=" ".join)
def test_ctrl_c_while_a_command_loads_prints_no_traceback(words: list[str]) -> None:
    code = f"""
import sys
class CtrlC:
    def find_spec(self, name, *more):
        if name in ("doorward.start.serve", "doorward.cli.main"):
            raise KeyboardInterrupt
sys.meta_path.insert(0, CtrlC())
sys.argv = ["doorward", *{words!r}]
from doorward.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


EACH_IN_A_CHILD = """
import json, os, sys
for status, *words in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        sys.argv = ["doorward", *words]
        from doorward.cli import main
        main()
        sys.exit()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == status, (words, ended)
"""

ONE_AFTER_THE_OTHER = """
import json, sys
from doorward.cli import main
for status, *words in json.loads(sys.argv[1]):
    sys.argv = ["doorward", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code == status, (words, end.code)
"""
