"""The contestants: Doorward in five forms and proxies without authentication; and the application
behind all of them.

Each is a context manager that yields a `Contestant` whose logins have been made; every file it
needs is written to the folder that it is given. Those that check a login themselves, beside
Doorward, are in peers.py.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from people import NAMES, PASSWORD, htpasswd
from processes import NotStarted, ask, free_port, running, version
from tokens import make_tokens
from traffic import Header

HERE = Path(__file__).parent
PAGE = b"x" * 1024
STORMER = "alice"  # a user in the database, whose hash has the normal cost, for logins under load
DOORWARD = Path(sys.executable).with_name("doorward")
EARLIER = "DOORWARD_EARLIER"  # the environment variable with the path of another version's program
# Directories of servers that are not in every PATH.
ELSEWHERE = "/usr/sbin:/usr/local/sbin:/usr/local/go/bin"
JSON_TYPE = ("Content-Type", "application/json")

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/{name}.pid;
error_log {folder}/{name}.error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path {folder}/{name}.body;
  proxy_temp_path {folder}/{name}.proxy;
  fastcgi_temp_path {folder}/{name}.fastcgi;
  uwsgi_temp_path {folder}/{name}.uwsgi;
  scgi_temp_path {folder}/{name}.scgi;
  map $http_upgrade $hop {{ default upgrade; "" ""; }}
  upstream application {{
    server 127.0.0.1:{upstream};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  {upstreams}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    {locations}
    location / {{
      {checks}
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_request_buffering off;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $hop;
    }}
  }}
}}
"""


class Missing(Exception):
    """A program is not installed."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """`pids`: the root processes of everything that handles a request. `sessions`: the header with
    each session. `users`: the user name that the application must get for each session; empty if it
    gets none."""

    name: str
    what: str
    pids: tuple[int, ...]
    port: int
    sessions: list[Header]
    users: tuple[str, ...] = NAMES
    is_doorward: bool = False
    tokens: tuple[Header, ...] = ()  # API tokens of the same users
    lacks: tuple[str, ...] = field(default=())  # cases that it does not support
    admin_port: int | None = None  # the URL of Doorward's metrics

    def takes_part(self, only: tuple[str, ...], case: str) -> bool:
        named = self.name in only or ("doorward" in only and self.is_doorward)
        return (named or not only) and case not in self.lacks

    def metrics(self) -> str:
        """Doorward's metrics as text; empty for others. Raises NotStarted."""
        if self.admin_port is None:
            return ""
        answer = ask(self.admin_port, "/metrics")
        if answer.status != 200:
            raise NotStarted(f"{self.name} answers /metrics with {answer.status}")
        return answer.body.decode()

    def check(self) -> None:
        """Raises NotStarted unless the page is forwarded, with the right user names."""
        page = ask(self.port, "/", headers=[self.sessions[0]])
        if (page.status, page.body) != (200, PAGE):
            raise NotStarted(f"{self.name} answers {page.status} with {page.body[:200]!r}")
        for number in (0, -1):
            name = ask(self.port, "/whoami", headers=[self.sessions[number]]).body.decode()
            if name != (self.users[number] if self.users else ""):
                raise NotStarted(f"{self.name} sends the application the user name {name!r}")


Entry = Callable[[Path, int], AbstractContextManager[Contestant]]


def tool(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path=ELSEWHERE)
    if path is None:
        raise Missing(name)
    return path


@contextmanager
def application(folder: Path) -> Iterator[int]:
    """Run the application behind all contestants; yields its port."""
    port = free_port()
    command = [sys.executable, os.fspath(HERE / "application.py"), str(port)]
    with running("application", command, port, folder):
        yield port


# Doorward


def doorward(
    name: str, what: str, environ: dict[str, str] | None = None, **settings: object
) -> Entry:
    @contextmanager
    def start(folder: Path, upstream: int) -> Iterator[Contestant]:
        port, admin_port = free_port(), free_port()
        more = {"admin_listen": f"127.0.0.1:{admin_port}"} | settings
        config = write_config(name, folder, upstream, port, more)
        add_stormer(config)
        command = [os.fspath(DOORWARD), "serve", "-c", os.fspath(config)]
        with running(name, command, port, folder, environ) as pid:
            told = f"{what}; {reader(environ or {})}"
            yield build_doorward(name, told, pid, port, config, admin_port)

    return start


@contextmanager
def earlier(folder: Path, upstream: int) -> Iterator[Contestant]:
    """Another version of Doorward, which may be too old to have API tokens."""
    program = os.environ.get(EARLIER)
    if program is None:
        raise NotStarted(f"{EARLIER} names no program")
    port = free_port()
    config = write_config("earlier", folder, upstream, port, {})
    with running("earlier", [program, "serve", "-c", os.fspath(config)], port, folder) as pid:
        what = f"another version, one worker; {version(program, '--version')}"
        yield Contestant("earlier", what, (pid,), port, log_in_all(port), lacks=("token",))


def build_doorward(
    name: str, what: str, pid: int, port: int, config: Path, admin_port: int | None = None
) -> Contestant:
    sessions, tokens = log_in_all(port), tuple(make_tokens(config, NAMES))
    return Contestant(
        name,
        what,
        (pid,),
        port,
        sessions,
        is_doorward=True,
        tokens=tokens,
        admin_port=admin_port,
    )


@contextmanager
def under_uvicorn(folder: Path, upstream: int) -> Iterator[Contestant]:
    """Doorward as an ASGI application under another server."""
    if find_spec("uvicorn") is None:
        raise Missing("uvicorn")
    port = free_port()
    config = write_config("uvicorn", folder, upstream, port, {})
    options = "--no-proxy-headers --no-date-header --no-access-log --factory".split()
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--http", "httptools", *options, "doorward.app:create_app"]
    environ = {"DOORWARD_CONFIG": os.fspath(config)}
    with running("uvicorn", command, port, folder, environ) as pid:
        what = f"Doorward under uvicorn with httptools, one worker; {reader({})}"
        yield build_doorward("uvicorn", what, pid, port, config)


def write_config(
    name: str, folder: Path, upstream: int, port: int, more: dict[str, object]
) -> Path:
    users, config = folder / f"{name}.htpasswd", folder / f"{name}.yaml"
    users.write_text(htpasswd())
    settings = {  # JSON is YAML
        "listen": f"127.0.0.1:{port}",
        "admin_listen": "off",
        "data_dir": f"{folder}/{name}",
        "htpasswd": os.fspath(users),
        "routes": [{"upstream": f"http://127.0.0.1:{upstream}"}],
        "dialects": {"xhr": {}},
    }
    config.write_text(json.dumps(settings | more))
    return config


def add_stormer(config: Path) -> None:
    command = [os.fspath(DOORWARD), "user", "add", STORMER, "--password-stdin", "-c", f"{config}"]
    added = subprocess.run(  # noqa: S603
        command, input=PASSWORD + "\n", text=True, capture_output=True, timeout=60
    )
    if added.returncode:
        raise NotStarted(f"doorward user add ended with {added.returncode}:\n{added.stderr}")


def reader(environ: dict[str, str]) -> str:
    """The reader of message heads in use, as shown by `doorward --version`."""
    command = [os.fspath(DOORWARD), "--version"]
    told = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=True, env=os.environ | environ
    )
    return told.stdout.strip().splitlines()[-1]


def log_in_all(port: int) -> list[Header]:
    return [log_in(port, name) for name in NAMES]


def log_in(port: int, name: str) -> Header:
    """The header that carries a new session of the user."""
    body = json.dumps({"username": name, "password": PASSWORD})
    answer = ask(port, "/xhr/login", "POST", body, [JSON_TYPE])
    if answer.status != 200 or not answer.cookies:
        raise NotStarted(f"the login was answered with {answer.status}: {answer.body[:200]!r}")
    return "Cookie", "; ".join(answer.cookies)


def bearer(session: Header) -> Header:
    """The same session in Authorization: the cookie consists of the token and its signature."""
    return "Authorization", "Bearer " + session[1].partition("=")[2].partition(".")[0]


def forged(session: Header) -> Header:
    """A cookie of the same length with an invalid signature."""
    name, _, value = session[1].partition("=")
    token, _, signature = value.partition(".")
    random = secrets.token_urlsafe(len(token) + len(signature))
    return "Cookie", f"{name}={random[: len(token)]}.{random[-len(signature) :]}"


# Proxies without authentication. They get cookies too, so that requests are equally long.


def strangers() -> list[Header]:
    return [("Cookie", f"session={secrets.token_urlsafe(53)}") for _ in NAMES]


def go(name: str, what: str, **environ: str) -> Entry:
    @contextmanager
    def start(folder: Path, upstream: int) -> Iterator[Contestant]:
        port = free_port()
        program = os.fspath(folder / "reverseproxy")
        build = [tool("go"), "build", "-o", program, "reverseproxy.go"]
        subprocess.run(build, cwd=HERE / "go", check=True, timeout=300)  # noqa: S603
        command = [program, f"127.0.0.1:{port}", f"http://127.0.0.1:{upstream}"]
        with running(name, command, port, folder, environ) as pid:
            told = f"{what}; {version(tool('go'), 'version')}"
            yield Contestant(name, told, (pid,), port, strangers(), ())

    return start


def run_nginx(
    name: str,
    folder: Path,
    upstream: int,
    port: int,
    upstreams: str = "",
    locations: str = "",
    checks: str = "",
) -> AbstractContextManager[int]:
    """Yields its process id. `upstreams`, `locations` and `checks` are pieces of configuration."""
    path = folder / f"{name}.conf"
    path.write_text(
        NGINX.format(
            folder=folder,
            name=name,
            upstream=upstream,
            port=port,
            upstreams=upstreams,
            locations=locations,
            checks=checks,
        )
    )
    log = f"{folder}/{name}.error.log"
    command = [tool("nginx"), "-e", log, "-p", f"{folder}", "-c", f"{path}"]
    return running(name, command, port, folder)


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[Contestant]:
    port = free_port()
    with run_nginx("nginx", folder, upstream, port) as pid:
        what = f"nginx proxy_pass, one worker, no login; {version(tool('nginx'), '-v')}"
        yield Contestant("nginx", what, (pid,), port, strangers(), ())


OURS: dict[str, Entry] = {
    "doorward": doorward("doorward", "Doorward, one worker"),
    "two": doorward("two", "the same with two workers", workers=2),
    "twin": doorward("twin", "the same with DOORWARD_PURE_PYTHON=1", {"DOORWARD_PURE_PYTHON": "1"}),
    "task": doorward("task", "the same with fast_lane: false, a task a request", fast_lane=False),
    "uvicorn": under_uvicorn,
}
BARE: dict[str, Entry] = {
    "go": go("go", "Go httputil.ReverseProxy as it comes, no login"),
    "go-one": go("go-one", "the same on one core, which is kind to its scheduler", GOMAXPROCS="1"),
    "nginx": nginx,
}
