"""Who takes part: the application behind everybody, the peers, and Doorward with a real login.

Each is a context manager that yields a `Contestant`, ready and checked; what is missing is said.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import NotStarted, ask, free_port, running

HERE = Path(__file__).parent
PAGE = "x" * 1024
USER, PASSWORD = "alice", "a password for measuring"
DOORWARD = Path(sys.executable).with_name("doorward")

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
  client_body_temp_path {folder}/{name}.body;
  proxy_temp_path {folder}/{name}.proxy;
  fastcgi_temp_path {folder}/{name}.fastcgi;
  uwsgi_temp_path {folder}/{name}.uwsgi;
  scgi_temp_path {folder}/{name}.scgi;
  {body}
}}
"""

APPLICATION = """
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /whoami {{ return 200 "$http_remote_user"; }}
    location / {{ return 200 "{page}"; }}
  }}
"""

PROXY = """
  upstream application {{
    server 127.0.0.1:{upstream};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
"""


class Missing(Exception):
    """A tool that is not on this machine."""


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    what: str
    pid: int
    port: int
    headers: dict[str, str]
    user: str = ""  # whom the application must see

    def check(self) -> None:
        """Raises NotStarted unless the page comes through, under the right name."""
        page, name = (ask(self.port, path, headers=self.headers) for path in ("/", "/whoami"))
        if (page.status, page.body) != (200, PAGE.encode()):
            raise NotStarted(f"{self.name} answers {page.status} with {page.body[:200]!r}")
        if name.body.decode() != self.user:
            raise NotStarted(f"{self.name} tells the application the name {name.body!r}")


def tool(name: str) -> str:
    # /usr/sbin is on root's path only, and nginx lives there.
    path = shutil.which(name) or shutil.which(
        name, path="/usr/sbin:/usr/local/sbin:/usr/local/go/bin"
    )
    if path is None:
        raise Missing(name)
    return path


def go_program(name: str, folder: Path) -> str:
    binary = folder / name
    command = [tool("go"), "build", "-o", os.fspath(binary), f"{name}.go"]
    subprocess.run(command, cwd=HERE / "go", check=True, timeout=300)  # noqa: S603
    return os.fspath(binary)


def nginx_command(name: str, folder: Path, body: str) -> list[str]:
    path = folder / f"{name}.conf"
    path.write_text(NGINX.format(folder=folder, name=name, body=body))
    return [tool("nginx"), "-e", f"{folder}/{name}.error.log", "-p", f"{folder}", "-c", f"{path}"]


@contextmanager
def application(folder: Path) -> Iterator[int]:
    """The application that all of them stand in front of; yields its port."""
    port = free_port()
    try:
        body = APPLICATION.format(port=port, page=PAGE)
        command = nginx_command("application", folder, body)
    except Missing:
        command = [go_program("upstream", folder), f"127.0.0.1:{port}"]
    with running("application", command, port, folder):
        yield port


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[Contestant]:
    port = free_port()
    command = nginx_command("nginx", folder, PROXY.format(port=port, upstream=upstream))
    with running("nginx", command, port, folder) as pid:
        yield Contestant("nginx", "nginx proxy_pass, one worker, no login", pid, port, {})


@contextmanager
def go(folder: Path, upstream: int) -> Iterator[Contestant]:
    port = free_port()
    command = [
        go_program("reverseproxy", folder),
        f"127.0.0.1:{port}",
        f"http://127.0.0.1:{upstream}",
    ]
    with running("go", command, port, folder, {"GOMAXPROCS": "1"}) as pid:
        yield Contestant("go", "Go httputil.ReverseProxy, one core, no login", pid, port, {})


@contextmanager
def doorward(folder: Path, upstream: int) -> Iterator[Contestant]:
    port = free_port()
    config = folder / "doorward.yaml"
    settings = {  # JSON is YAML
        "listen": f"127.0.0.1:{port}",
        "admin_listen": "off",
        "data_dir": f"{folder}/data",
        "routes": [{"upstream": f"http://127.0.0.1:{upstream}"}],
        "dialects": {"xhr": {}},
    }
    config.write_text(json.dumps(settings))
    add_user(config)
    command = [os.fspath(DOORWARD), "serve", "-c", os.fspath(config)]
    with running("doorward", command, port, folder) as pid:
        what = "Doorward, one worker, a session's cookie on every request"
        yield Contestant("doorward", what, pid, port, {"Cookie": log_in(port)}, USER)


def add_user(config: Path) -> None:
    command = [
        os.fspath(DOORWARD),
        "user",
        "add",
        USER,
        "--password-stdin",
        "-c",
        os.fspath(config),
    ]
    added = subprocess.run(  # noqa: S603
        command, input=PASSWORD + "\n", text=True, capture_output=True, timeout=60
    )
    if added.returncode:
        raise NotStarted(f"doorward user add ended with {added.returncode}:\n{added.stderr}")


def log_in(port: int) -> str:
    """The value of a Cookie header that holds a session of the user."""
    login = json.dumps({"username": USER, "password": PASSWORD})
    answer = ask(port, "/xhr/login", "POST", login, {"Content-Type": "application/json"})
    cookies = [
        value.split(";")[0] for name, value in answer.headers if name.lower() == "set-cookie"
    ]
    if answer.status != 200 or not cookies:
        raise NotStarted(f"the login was answered with {answer.status}: {answer.body[:200]!r}")
    return "; ".join(cookies)


Entry = Callable[[Path, int], AbstractContextManager[Contestant]]
ALL: dict[str, Entry] = {"doorward": doorward, "go": go, "nginx": nginx}
