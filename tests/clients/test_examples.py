"""The clients in the examples: each logs in, lists, logs out, and says why when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bcrypt
import pytest

from proxy.accounts import totp
from tests.conftest import Start
from tests.live import PASSWORD, Live

CLIENTS = Path(__file__).parents[2] / "examples" / "clients"
NODE = shutil.which("node")
EVERY = ("xhr", "alekeagle", "datepoll", "rocketchat")
WRITTEN = sorted(path for path in CLIENTS.iterdir() if path.suffix in (".py", ".mjs"))


SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def user_of(client: Path, *, with_app: bool = False) -> str:
    """Each client has users of its own, so that none waits for another's mistakes or codes."""
    return client.name.replace(".", "-") + ("-app" if with_app else "")


@pytest.fixture(scope="module")
def live(deploy: Start) -> Live:
    live = deploy("http://127.0.0.1:9", dialects={name: {} for name in EVERY})
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    lines = [f"{user_of(client)}:{hashed}" for client in WRITTEN]
    lines += [f"{user_of(client, with_app=True)}:{hashed}:{SECRET}" for client in WRITTEN]
    done = live.command("user", "import", "tinyauth", "-", stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    return live


def run(
    live: Live, client: Path, user: str, password: str = PASSWORD, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    if client.suffix == ".mjs" and NODE is None:
        pytest.skip("there is no node here")
    command = sys.executable if client.suffix == ".py" else str(NODE)
    return subprocess.run(
        [command, os.fspath(client), f"http://{live.host}", user],
        env=os.environ | {"PASSWORD": password, "NO_PROXY": "*"},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("client", WRITTEN, ids=lambda path: path.name)
def test_a_client_logs_in_and_out(live: Live, client: Path) -> None:
    done = run(live, client, user_of(client))
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.endswith("logged out\n")


@pytest.mark.parametrize("client", WRITTEN, ids=lambda path: path.name)
def test_a_client_gives_the_code_that_it_is_asked_for(live: Live, client: Path) -> None:
    code = totp.code_at(SECRET, totp.step_at(time.time()))
    done = run(live, client, user_of(client, with_app=True), typed=f"{code}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("logged out\n")


@pytest.mark.parametrize("client", WRITTEN, ids=lambda path: path.name)
def test_a_client_says_why_it_is_refused(live: Live, client: Path) -> None:
    done = run(live, client, user_of(client), password="wrong")
    assert done.returncode == 1 and done.stderr and "Traceback" not in done.stderr
