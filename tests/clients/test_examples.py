"""The programs in examples/clients, unchanged, with a running Doorward."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from doorward.accounts.factors import totp

from tests.conftest import Start
from tests.support.live import PASSWORD, Live

EXAMPLES = Path(__file__).parents[2] / "examples" / "clients"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
NODE = shutil.which("node")
ALL: dict[str, Any] = {"xhr": {}, "alekeagle": {}, "datepoll": {}, "rocketchat": {}}
with_node = pytest.mark.skipif(NODE is None, reason="there is no node; apt-get install nodejs")
PROGRAMS = [
    pytest.param(path, marks=with_node if path.suffix == ".mjs" else (), id=path.name)
    for path in sorted(EXAMPLES.glob("*.py")) + sorted(EXAMPLES.glob("*.mjs"))
]
every_program = pytest.mark.parametrize("program", PROGRAMS)


@pytest.fixture(scope="module")
def live(deploy: Start) -> Live:
    started = deploy("http://127.0.0.1:9", dialects=ALL)
    started.add_user("alice")
    return started


def run(program: Path, live: Live, name: str, **environment: str) -> list[str]:
    interpreter = sys.executable if program.suffix == ".py" else str(NODE)
    done = subprocess.run(
        [interpreter, str(program), f"http://{live.host}", name],
        env=os.environ | {"PASSWORD": PASSWORD} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_dialect_has_an_example_in_each_language() -> None:
    names = {path.name for path in EXAMPLES.iterdir()} - {"README.md"}
    assert names == {f"{name}.{kind}" for name in ALL for kind in ("py", "mjs")}


@every_program
def test_it_logs_in_and_out(live: Live, program: Path) -> None:
    told = run(program, live, "alice")
    assert told[0].startswith("logged in as alice") and told[-1] == "logged out"
    assert "alice" not in live.command("session", "list").stdout, "nothing of it is left"


@every_program
def test_it_sends_a_code_if_one_is_required(live: Live, program: Path) -> None:
    """For a user whose app was set up elsewhere: `user import` imports its secret."""
    name, secret = program.name.replace(".", "-"), totp.new_secret()
    file = live.folder / f"{name}.users"
    file.write_text(f"{name}:{HASH}:{secret}\n")
    done = live.command("user", "import", "tinyauth", str(file))
    assert done.returncode == 0, done.stderr
    code = totp.code_at(secret, totp.step_at(time.time()))
    assert run(program, live, name, CODE=code)[-1] == "logged out"
