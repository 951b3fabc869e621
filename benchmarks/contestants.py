"""Who takes part: the application behind everybody, the peers, and Doorward with a real login.

Each is a context manager that yields a `Contestant`, ready and checked; what is missing is said.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import bcrypt
from processes import NotStarted, ask, free_port, running

HERE = Path(__file__).parent
PAGE = "x" * 1024
DOORWARDS = ("doorward", "asgi", "two")
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

PROXY = """
  client_max_body_size 0;
  map $http_upgrade $hop {{ default upgrade; "" ""; }}
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
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_request_buffering off;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $hop;
    }}
  }}
"""


Entry = Callable[[Path, int], AbstractContextManager["Contestant"]]


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

    @property
    def is_doorward(self) -> bool:
        return self.name in DOORWARDS

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
    command = [sys.executable, os.fspath(HERE / "application.py"), str(port)]
    with running("application", command, port, folder):
        yield port


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[Contestant]:
    port = free_port()
    command = nginx_command("nginx", folder, PROXY.format(port=port, upstream=upstream))
    with running("nginx", command, port, folder) as pid:
        yield Contestant("nginx", "nginx proxy_pass, one worker, no login", pid, port, {})


def go(name: str, what: str, **environment: str) -> Entry:
    @contextmanager
    def start(folder: Path, upstream: int) -> Iterator[Contestant]:
        port = free_port()
        program = go_program("reverseproxy", folder)
        command = [program, f"127.0.0.1:{port}", f"http://127.0.0.1:{upstream}"]
        with running(name, command, port, folder, environment) as pid:
            yield Contestant(name, what, pid, port, {})

    return start


def doorward(name: str, what: str, **more: object) -> Entry:
    @contextmanager
    def start(folder: Path, upstream: int) -> Iterator[Contestant]:
        port = free_port()
        config = folder / f"{name}.yaml"
        settings = {  # JSON is YAML
            "listen": f"127.0.0.1:{port}",
            "admin_listen": "off",
            "data_dir": f"{folder}/{name}",
            "routes": [{"upstream": f"http://127.0.0.1:{upstream}"}],
            "dialects": {"xhr": {}},
        }
        config.write_text(json.dumps(settings | more))
        add_user(config)
        command = [os.fspath(DOORWARD), "serve", "-c", os.fspath(config)]
        with running(name, command, port, folder) as pid:
            yield Contestant(name, what, pid, port, {"Cookie": log_in(port)}, USER)

    return start


APACHE = """
ServerRoot {folder}
ServerName 127.0.0.1
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.error.log
Listen 127.0.0.1:{port}
{modules}
<IfModule mpm_event_module>
  StartServers 1
  ServerLimit 8
  ThreadsPerChild 25
  MaxRequestWorkers 200
</IfModule>
MaxKeepAliveRequests 0
<Location "/">
  AuthType form
  AuthName measured
  AuthFormProvider file
  AuthUserFile {folder}/apache.users
  Require valid-user
  Session On
  SessionCookieName session path=/
  SessionCryptoPassphrase measured
  RequestHeader set Remote-User "expr=%{{REMOTE_USER}}"
  ProxyPass http://127.0.0.1:{upstream}/ keepalive=On max=200
</Location>
<Location "/login">
  ProxyPass !
  SetHandler form-login-handler
  AuthFormLoginRequiredLocation http://127.0.0.1:{port}/
  AuthFormLoginSuccessLocation http://127.0.0.1:{port}/
  Require all granted
</Location>
"""
APACHE_MODULES = (
    "mpm_event authn_core authz_core authn_file authz_user auth_form request session"
    " session_cookie session_crypto headers proxy proxy_http".split()
)


@contextmanager
def apache(folder: Path, upstream: int) -> Iterator[Contestant]:
    """Apache's own form login; it checks the password of the session with every request."""
    program, directory = tool("apache2"), Path("/usr/lib/apache2/modules")
    port = free_port()
    modules = "\n".join(
        f"LoadModule {name}_module {directory}/mod_{name}.so" for name in APACHE_MODULES
    )
    config = folder / "apache.conf"
    config.write_text(APACHE.format(folder=folder, port=port, modules=modules, upstream=upstream))
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()  # htpasswd -B's cost
    (folder / "apache.users").write_text(f"{USER}:{hashed}\n")
    command = [program, "-DFOREGROUND", "-f", os.fspath(config)]
    with running("apache", command, port, folder) as pid:
        form = urlencode({"httpd_username": USER, "httpd_password": PASSWORD})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = ask(port, "/login", "POST", form, kind)
        cookies = [v.split(";")[0] for k, v in answer.headers if k.lower() == "set-cookie"]
        if not cookies:
            raise NotStarted(f"apache answers a login with {answer.status}")
        what = "Apache mod_auth_form and mod_proxy, event MPM"
        yield Contestant("apache", what, pid, port, {"Cookie": cookies[-1]}, USER)


@contextmanager
def caddy(folder: Path, upstream: int) -> Iterator[Contestant]:
    """Caddy asks for a password with every request, and remembers which ones were right."""
    port = free_port()
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5))
    account = {"username": USER, "password": base64.b64encode(hashed).decode()}
    basic = {"hash": {"algorithm": "bcrypt"}, "accounts": [account], "hash_cache": {}}
    who = {"set": {"Remote-User": ["{http.auth.user.id}"]}}
    handlers = [
        {"handler": "authentication", "providers": {"http_basic": basic}},
        {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": f"127.0.0.1:{upstream}"}],
            "headers": {"request": who},
        },
    ]
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "routes": [{"handle": handlers}],
        "automatic_https": {"disable": True},
    }
    settings = {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {"http": {"servers": {"measured": server}}},
    }
    config = folder / "caddy.json"
    config.write_text(json.dumps(settings))
    command = [tool("caddy"), "run", "--config", os.fspath(config)]
    with running("caddy", command, port, folder, {"HOME": os.fspath(folder)}) as pid:
        word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        what = "Caddy reverse_proxy with Basic authentication"
        yield Contestant("caddy", what, pid, port, {"Authorization": f"Basic {word}"}, USER)


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


ALL: dict[str, Entry] = {
    "doorward": doorward("doorward", "Doorward, one worker, a session's cookie on every request"),
    "asgi": doorward("asgi", "the same without the fast lane", fast_lane=False),
    "two": doorward("two", "the same with two workers", workers=2),
    "go": go("go", "Go httputil.ReverseProxy as it comes, no login"),
    "go-one": go("go-one", "the same on one core, which is kind to its scheduler", GOMAXPROCS="1"),
    "nginx": nginx,
    "caddy": caddy,
    "apache": apache,
}
