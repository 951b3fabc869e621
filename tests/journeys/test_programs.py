"""Third-party programs log in with tokens, although their user has an authenticator app: git,
vdirsyncer with Radicale, and rclone with Apache's WebDAV."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import httpx
import pytest
from doorward.accounts.factors import totp
from doorward.accounts.permissions import OWNER
from doorward.accounts.session import EVERYTHING, TokenScope
from doorward.accounts.token import NewToken
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts

from tests.journeys.test_radicale import EVENT, EXAMPLE
from tests.support.git_server import GitServer, serving
from tests.support.live import PASSWORD, Live, free_port
from tests.support.programs import running, wait_until_answered
from tests.support.sessions import spoil
from tests.support.waiting import PATIENCE_S

VDIRSYNCER = Path(sys.executable).with_name("vdirsyncer")
APACHE = shutil.which("apache2", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
MODULES = Path("/usr/lib/apache2/modules")

# Every path requires a second factor, which the programs do not have.
RULES = [
    {"path": "/git/*", "require": "two_factor", "tokens": True, "basic": True},
    {"path": "/dav/*", "require": "two_factor", "tokens": True, "basic": True},
    {"require": "two_factor", "tokens": True, "basic": True},
]


@dataclass
class Town:
    """A Doorward in front of a Git server, a calendar server and a WebDAV server. Alice has
    TOTP."""

    live: Live
    git: GitServer
    files: Path  # the folder that the WebDAV server serves

    def token(self, scope: TokenScope = EVERYTHING) -> str:
        async def make() -> str:
            async with build_accounts(load_settings(self.live.config, {})) as accounts:
                user, now = await accounts.users.get("alice"), time.time()
                new = NewToken("a program", scope)
                made = await accounts.api_tokens.add_token(user, new, actor=OWNER, now=now)
                return made.text

        return asyncio.run(make())

    def url(self, path: str, password: str | None = None, name: str = "alice") -> str:
        login = "" if password is None else f"{name}:{quote(password)}@"
        return f"http://{login}{self.live.host}{path}"


def dav_config(folder: Path, files: Path, port: int) -> Path:
    modules = "mpm_event authz_core dav dav_fs".split()
    loaded = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in modules)
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    path = folder / "dav.conf"
    path.write_text(
        f"ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog /dev/stderr\nServerName localhost\n"
        f"Mutex sem\n{loaded}{user}Listen 127.0.0.1:{port}\nDavLockDB {files}/.locks/db\n"
        f'DocumentRoot {files}\n<Directory "{files}">\nDav On\nRequire all granted\n</Directory>\n'
    )
    return path


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    repositories, calendars = folder / "git", folder / "radicale"
    for each in (repositories / "git", calendars):
        each.mkdir(parents=True)
    with ExitStack() as stack:
        # Not in the folder of the tests, which only their user can read.
        files = open_to_all(Path(stack.enter_context(TemporaryDirectory(prefix="doorward-dav-"))))
        git = stack.enter_context(serving(repositories))
        radicale, dav = free_port(), free_port()
        command = [sys.executable, "-m", "radicale", "--config", str(EXAMPLE / "radicale.conf")]
        command += ["--server-hosts", f"127.0.0.1:{radicale}", "--auth-delay", "0"]
        log = folder / "radicale.log"
        child = stack.enter_context(running(command, log, cwd=calendars))
        wait_until_answered(f"http://127.0.0.1:{radicale}", child, log)
        if APACHE is not None:
            config = dav_config(folder, files, dav)
            log = folder / "apache.log"
            arguments = [APACHE, "-d", str(folder), "-f", str(config), "-DFOREGROUND"]
            child = stack.enter_context(running(arguments, log, cwd=folder))
            wait_until_answered(f"http://127.0.0.1:{dav}", child, log)
        live = Live(
            folder / "doorward",
            "http://127.0.0.1:9",
            routes=[
                {"path": "/git", "upstream": f"http://127.0.0.1:{git.port}"},
                {"path": "/dav", "upstream": f"http://127.0.0.1:{dav}"},
                {
                    "path": "/",
                    "upstream": f"http://127.0.0.1:{radicale}",
                    "identity": ["x-remote"],
                },
            ],
            access={"rules": RULES},
        )
        stack.enter_context(live)
        live.add_user("alice")
        turn_totp_on(live)
        yield Town(live, git, files)


def open_to_all(folder: Path) -> Path:
    """Apache drops root's privileges, and its user has to write there."""
    for each in (folder, folder / "dav", folder / ".locks"):
        each.mkdir(exist_ok=True)
        each.chmod(0o777)
    return folder


def turn_totp_on(live: Live) -> None:
    async def turn() -> None:
        async with build_accounts(load_settings(live.config, {})) as accounts:
            user = await accounts.users.get("alice")
            await accounts.second_factors.adopt_totp(user, totp.new_secret(), time.time())

    asyncio.run(turn())


def run(*command: object, status: int | None = 0, **environment: str) -> str:
    """Run a program without input; its complete output."""
    settings = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "no_proxy": "*"}
    done = subprocess.run(
        [str(word) for word in command],
        env=os.environ | settings | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode == 0) == (status == 0), done.stdout
    return done.stdout


# git


def git(folder: Path, *words: object, status: int = 0) -> str:
    name = ("-c", "user.name=Alice", "-c", "user.email=alice@example.com")
    options = (*name, "-c", "init.defaultBranch=main", "-c", "protocol.version=2")
    return run("git", "-C", folder, *options, *words, status=status, HOME=str(folder))


def test_git_pushes_and_clones_with_a_token(town: Town, tmp_path: Path) -> None:
    town.git.add("git/notes.git")
    token = town.token()
    url = town.url("/git/notes.git", token)
    work = tmp_path / "work"
    git(tmp_path, "init", "-q", work)
    (work / "notes.txt").write_text("through the door\n" * 1000)
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "First")
    git(work, "push", "-q", url, "main")
    git(tmp_path, "clone", "-q", url, tmp_path / "again")
    assert (tmp_path / "again" / "notes.txt").read_text().startswith("through the door")
    assert {one.get("HTTP_REMOTE_USER") for one in town.git.requests} == {"alice"}
    seen = repr(town.git.requests)
    assert token not in seen and "HTTP_AUTHORIZATION" not in seen


def test_git_pushes_a_large_pack_in_chunks(town: Town, tmp_path: Path) -> None:
    """If a pack is larger than `http.postBuffer`, git sends it without a known length."""
    town.git.add("git/large.git")
    url, work = town.url("/git/large.git", town.token()), tmp_path / "work"
    git(tmp_path, "init", "-q", work)
    content = os.urandom(3 << 20)  # incompressible
    (work / "large").write_bytes(content)
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "Large")
    before = len(town.git.requests)
    git(work, "-c", "http.postBuffer=65536", "push", "-q", url, "main")
    codings = [one.get("HTTP_TRANSFER_ENCODING") for one in town.git.requests[before:]]
    assert "chunked" in codings
    git(tmp_path, "clone", "-q", url, tmp_path / "again")
    assert (tmp_path / "again" / "large").read_bytes() == content


def test_git_without_a_token_is_asked_and_refused(town: Town, tmp_path: Path) -> None:
    before = len(town.git.requests)
    for url in (
        town.url("/git/notes.git"),
        town.url("/git/notes.git", PASSWORD),
        town.url("/git/notes.git", spoil(town.token())),
        town.url("/git/notes.git", town.token(), "bob"),
    ):
        said = git(tmp_path, "ls-remote", url, status=1)
        assert "Authentication failed" in said or "could not read Username" in said, said
    assert len(town.git.requests) == before


def test_a_token_for_one_repository_opens_no_other(town: Town, tmp_path: Path) -> None:
    for name in ("mine", "other"):
        town.git.add(f"git/{name}.git")
    token = town.token(TokenScope(routes=("/git/mine.git",)))
    git(tmp_path, "ls-remote", town.url("/git/mine.git", token))
    assert "403" in git(tmp_path, "ls-remote", town.url("/git/other.git", token), status=1)


# vdirsyncer


def test_vdirsyncer_keeps_a_calendar_with_a_token(town: Town, tmp_path: Path) -> None:
    token, calendar = town.token(), town.url("/alice/diary/")
    login = ("alice", token)
    made = httpx.request("MKCALENDAR", calendar, auth=login, trust_env=False, timeout=PATIENCE_S)
    assert made.status_code == 201, made.text
    local = tmp_path / "calendar"
    local.mkdir()
    (local / "tea.ics").write_text(EVENT.replace("\r\n", "\n"))
    config = tmp_path / "config"
    config.write_text(
        f"""
[general]
status_path = "{tmp_path}/status/"
[pair diary]
a = "here"
b = "there"
collections = null
[storage here]
type = "filesystem"
path = "{local}"
fileext = ".ics"
[storage there]
type = "caldav"
url = "{calendar}"
username = "alice"
password = "{token}"
"""
    )
    for word in ("discover", "sync"):
        run(VDIRSYNCER, "-c", config, word, HOME=str(tmp_path))
    event = EVENT.replace("tea-with-bob", "cake").replace("Tea", "Cake")
    headers = {"Content-Type": "text/calendar; charset=utf-8"}
    put = httpx.put(
        f"{calendar}cake.ics", content=event, auth=login, headers=headers, trust_env=False,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert put.status_code == 201
    run(VDIRSYNCER, "-c", config, "sync", HOME=str(tmp_path))
    kept = "".join(path.read_text() for path in local.iterdir())
    assert "Tea with Bob" in kept and "Cake with Bob" in kept
    config.write_text(config.read_text().replace(token, PASSWORD))
    run(VDIRSYNCER, "-c", config, "sync", status=1, HOME=str(tmp_path))


# rclone


@pytest.mark.skipif(
    APACHE is None or shutil.which("rclone") is None,
    reason="there is no rclone or no Apache; apt-get install rclone apache2 brings them",
)
def test_rclone_copies_and_moves_files_with_a_token(town: Town, tmp_path: Path) -> None:
    token = town.token(TokenScope(routes=("/dav",)))
    hidden = run("rclone", "obscure", token).strip()
    options = ("--webdav-url", town.url("/dav"), "--webdav-user", "alice", "--webdav-pass")
    here = tmp_path / "files"
    (here / "inner").mkdir(parents=True)
    for number in range(5):
        (here / "inner" / f"note {number}.txt").write_text(f"{number}\n" * 5000)

    def rclone(*words: object, password: str = hidden, status: int = 0) -> str:
        config = ("--config", tmp_path / "none", "--retries", "1", "--low-level-retries", "1")
        return run("rclone", *config, *words, *options, password, status=status)

    rclone("copy", here, ":webdav:kept")
    assert (town.files / "dav" / "kept" / "inner" / "note 3.txt").read_text() == "3\n" * 5000
    rclone("moveto", ":webdav:kept/inner/note 3.txt", ":webdav:kept/moved.txt")
    listed = rclone("lsf", "-R", ":webdav:")
    assert "kept/moved.txt" in listed and "note 3.txt" not in listed
    rclone("copy", ":webdav:kept", tmp_path / "back")
    assert (tmp_path / "back" / "moved.txt").read_text() == "3\n" * 5000
    wrong = run("rclone", "obscure", PASSWORD).strip()
    assert "401" in rclone("lsf", ":webdav:", password=wrong, status=1)
