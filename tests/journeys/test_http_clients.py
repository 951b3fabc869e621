"""Programs of every day before an application: pip, wget, curl and Node.js, with tokens, with a
login by the form, and with what each does by itself."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.session import EVERYTHING
from doorward.accounts.token import NewToken
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts

from tests.support.live import PASSWORD, Live, free_port
from tests.support.programs import running, wait_until_answered
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.outside

HERE = Path(__file__).parent / "http_clients"
RULES = [{"path": "/public/*", "require": "public"}, {"tokens": True, "basic": True}]
LARGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Site:
    live: Live
    token: str

    @property
    def url(self) -> str:
        return f"http://{self.live.host}"

    @property
    def url_with_login(self) -> str:
        return f"http://alice:{self.token}@{self.live.host}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("clients"), free_port()
    upstream, log = f"http://127.0.0.1:{port}", folder / "application.log"
    command = [sys.executable, os.fspath(HERE / "application.py"), str(port)]
    with running(command, log, cwd=folder) as child:
        wait_until_answered(upstream, child, log)
        with Live(folder / "doorward", upstream, access={"rules": RULES}) as live:
            live.add_user("alice")
            yield Site(live, asyncio.run(make_token(live)))


async def make_token(live: Live) -> str:
    async with build_accounts(load_settings(live.config, {})) as accounts:
        user, new = await accounts.users.get("alice"), NewToken("a program", EVERYTHING)
        made = await accounts.api_tokens.add_token(user, new, actor=OWNER, now=time.time())
        return made.text


def find(name: str, package: str = "") -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}: `apt-get install {package or name}` brings it")
    return found


def run(folder: Path, *command: object, status: int | None = 0) -> str:
    """What the program prints; it has no settings of its user."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=os.environ | {"HOME": os.fspath(folder), "no_proxy": "*"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_pip_installs_from_an_index_with_a_token(site: Site, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--isolated", "--no-cache-dir", "--no-deps"]
    options = ["--quiet", "--disable-pip-version-check", "--dest", tmp_path]
    index = f"{site.url_with_login}/simple/"
    run(tmp_path, *pip, *options, "--index-url", index, "demo-package")
    assert len([*tmp_path.glob("*.whl")]) == 1


def test_wget_answers_the_challenge_and_resumes(site: Site, tmp_path: Path) -> None:
    wget, large = find("wget"), tmp_path / "large"
    login = ("--user=alice", f"--password={site.token}")
    run(tmp_path, wget, "-q", f"{site.url}/large", status=6)  # it could not log in
    large.write_bytes(bytes(range(256)) * 100)
    run(tmp_path, wget, "-q", "-c", *login, f"{site.url}/large")
    assert large.read_bytes() == bytes(range(256)) * 4096
    posted = run(tmp_path, wget, "-q", "-O", "-", *login, "--post-data=a=b", f"{site.url}/echo")
    assert json.loads(posted)["bytes"] == 3
    assert json.loads(posted)["headers"]["remote-user"] == "alice"


def test_curl_logs_in_by_the_form_and_keeps_its_cookies(site: Site, tmp_path: Path) -> None:
    curl = (find("curl"), "-sS", "-b", "jar", "-c", "jar")
    fields = ("--data-urlencode", "username=alice", "--data-urlencode", f"password={PASSWORD}")
    login = (*curl, "-H", f"Origin: {site.url}", *fields, "-o", "page", "-w", "%{http_code}")
    assert run(tmp_path, *login, f"{site.url}/.doorward/login?rd=/echo") == "303"
    seen = json.loads(run(tmp_path, *curl, f"{site.url}/echo"))
    assert seen["headers"]["remote-user"] == "alice" and "cookie" not in seen["headers"]
    (tmp_path / "jar").unlink()
    assert "unauthenticated" in run(tmp_path, *curl, f"{site.url}/echo")


@pytest.mark.parametrize("way", ["--anyauth", "--basic", "--http1.0", "--http2", "--netrc"])
def test_curl_uploads_with_a_token(site: Site, tmp_path: Path, way: str) -> None:
    """`--anyauth` asks first and sends its body again; `--http2` offers to upgrade."""
    (tmp_path / "upload").write_bytes(bytes(3_000_000))
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login alice password {site.token}\n")
    login = () if way == "--netrc" else ("-u", f"alice:{site.token}")
    curl = (find("curl"), "-sS", way, *login, "-T", "upload")
    seen = json.loads(run(tmp_path, *curl, f"{site.url}/echo"))
    assert (seen["bytes"], seen["headers"]["remote-user"]) == (3_000_000, "alice")
    assert "authorization" not in seen["headers"] and "upgrade" not in seen["headers"]


def test_curl_makes_many_requests_at_once(site: Site, tmp_path: Path) -> None:
    login, each = ("-u", f"alice:{site.token}"), ("-o", os.devnull, "-w", "%{http_code}\n")
    curl = (find("curl"), "-s", "-Z", "--parallel-max", "20", *login, *each)
    assert run(tmp_path, *curl, f"{site.url}/echo?[1-40]").split() == ["200"] * 40


def test_node_fetches_uploads_and_resumes_events(site: Site, tmp_path: Path) -> None:
    node = find("node", "nodejs")
    has_events = not subprocess.run(
        [node, "--experimental-eventsource", "-e", ""], capture_output=True, check=False
    ).returncode
    words = ["--experimental-eventsource"] if has_events else []
    told = json.loads(run(tmp_path, node, *words, HERE / "client.mjs", site.url, site.token))
    events = {"events": ["1", "2", "3", "4"]} if has_events else {}
    assert told == events | {
        "nobody": [401, "unauthenticated"],
        "upload": [200, 400_000, "alice", False],
        "large": LARGE_BYTES,
        "expected": 200,
    }
