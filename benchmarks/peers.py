"""Proxies that authenticate users themselves, and services that do so for nginx by `auth_request`.

Each has the same two hundred users, logs all of them in, and takes part if its program is in the
PATH. Its configuration is written here. Only the last one is Doorward.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from contestants import (
    BARE,
    DOORWARD,
    JSON_TYPE,
    OURS,
    Contestant,
    Entry,
    Missing,
    earlier,
    log_in_all,
    run_nginx,
    tool,
    write_config,
)
from people import NAMES, PASSWORD, hashes, htpasswd
from processes import Answer, NotStarted, ask, free_port, running, version
from traffic import Header

FORM_TYPE = ("Content-Type", "application/x-www-form-urlencoded")
SITE = "app.example.com"  # some services only set cookies for such a name

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


def sessions(log_in: Callable[[str], Answer]) -> list[Header]:
    """The cookies that the login of each user sets."""
    found = []
    for name in NAMES:
        answer = log_in(name)
        if not answer.cookies or answer.status >= 400:
            raise NotStarted(f"a login was answered with {answer.status}: {answer.body[:200]!r}")
        found.append(("Cookie", "; ".join(answer.cookies)))
    return found


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
    (folder / "apache.users").write_text(htpasswd())

    def log_in(name: str) -> Answer:
        form = urlencode({"httpd_username": name, "httpd_password": PASSWORD})
        return ask(port, "/login", "POST", form, [FORM_TYPE])

    command = [program, "-DFOREGROUND", "-f", os.fspath(config)]
    with running("apache", command, port, folder) as pid:
        what = f"Apache mod_auth_form and mod_proxy, event MPM; {version(program, '-v')}"
        lacks = ("messages", "events", "many")  # not configured for that many at once
        yield Contestant("apache", what, (pid,), port, sessions(log_in), lacks=lacks)


@contextmanager
def caddy(folder: Path, upstream: int) -> Iterator[Contestant]:
    """Caddy checks a password with every request, and caches right ones."""
    port, program = free_port(), tool("caddy")
    accounts = [
        {"username": name, "password": base64.b64encode(value.encode()).decode()}
        for name, value in hashes().items()
    ]
    basic = {"hash": {"algorithm": "bcrypt"}, "accounts": accounts, "hash_cache": {}}
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
    command = [program, "run", "--config", os.fspath(config)]
    words = (base64.b64encode(f"{name}:{PASSWORD}".encode()).decode() for name in NAMES)
    basics = [("Authorization", f"Basic {word}") for word in words]
    with running("caddy", command, port, folder, {"HOME": os.fspath(folder)}) as pid:
        what = f"Caddy reverse_proxy with Basic authentication; {version(program, 'version')}"
        yield Contestant("caddy", what, (pid,), port, basics)


@contextmanager
def oauth2_proxy(folder: Path, upstream: int) -> Iterator[Contestant]:
    """oauth2-proxy with its own login form; a session is a cookie that it encrypted."""
    port, program = free_port(), tool("oauth2-proxy")
    users = folder / "oauth2-proxy.htpasswd"
    users.write_text(htpasswd())
    options = {
        "http-address": f"127.0.0.1:{port}",
        "upstream": f"http://127.0.0.1:{upstream}/",
        "provider": "github",  # an upstream that gets no requests at the start
        "client-id": "unused",
        "client-secret": "unused",
        "email-domain": "*",
        "htpasswd-file": os.fspath(users),
        "cookie-secret": secrets.token_hex(16),
        "cookie-secure": "false",
        "request-logging": "false",
        "auth-logging": "false",
    }

    def log_in(name: str) -> Answer:
        form = urlencode({"username": name, "password": PASSWORD, "rd": "/"})
        return ask(port, "/oauth2/sign_in", "POST", form, [FORM_TYPE])

    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    with running("oauth2-proxy", command, port, folder) as pid:
        what = f"oauth2-proxy with an htpasswd file; {version(program, '--version')}"
        yield Contestant("oauth2-proxy", what, (pid,), port, sessions(log_in))


# Behind nginx

CHECKED = """
      auth_request /_checked;
      auth_request_set $user $upstream_http_remote_user;
      proxy_set_header Remote-User $user;
"""
CHECKER = (
    "upstream checker {{ server 127.0.0.1:{port}; keepalive 128; keepalive_requests 1000000; }}"
)
CHECK = """
    location = /_checked {{
      internal;
      proxy_pass http://checker{path};
      proxy_http_version 1.1;
      proxy_pass_request_body off;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
      proxy_set_header Host {host};
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Original-URL {scheme}://{host}$request_uri;
      proxy_set_header X-Forwarded-Method $request_method;
      proxy_set_header X-Forwarded-Proto {scheme};
      proxy_set_header X-Forwarded-Host {host};
      proxy_set_header X-Forwarded-Uri $request_uri;
      proxy_set_header X-Forwarded-For $remote_addr;
    }}
"""


@contextmanager
def behind_nginx(
    name: str, folder: Path, upstream: int, checker: int, path: str, scheme: str = "https"
) -> Iterator[tuple[int, int]]:
    """nginx that asks another service about each request; yields its process id and port."""
    port = free_port()
    host = SITE if scheme == "https" else "$http_host"
    pieces = {
        "upstreams": CHECKER.format(port=checker),
        "locations": CHECK.format(path=path, host=host, scheme=scheme),
        "checks": CHECKED,
    }
    with run_nginx(f"{name}-nginx", folder, upstream, port, **pieces) as pid:
        yield pid, port


@contextmanager
def authelia(folder: Path, upstream: int) -> Iterator[Contestant]:
    """Authelia behind nginx; sessions in its memory."""
    port, program = free_port(), tool("authelia")
    users = {
        name: {"displayname": name, "password": value, "email": f"{name}@example.com"}
        for name, value in hashes().items()
    }
    (folder / "authelia-users.yml").write_text(json.dumps({"users": users}))
    cookie = {"domain": "example.com", "authelia_url": "https://auth.example.com"}
    settings = {
        "server": {"address": f"tcp://127.0.0.1:{port}"},
        "log": {"level": "error"},
        "ntp": {"disable_startup_check": True},
        "totp": {"disable": True},
        "webauthn": {"disable": True},
        "identity_validation": {"reset_password": {"jwt_secret": secrets.token_hex(32)}},
        "authentication_backend": {"file": {"path": f"{folder}/authelia-users.yml"}},
        "access_control": {"default_policy": "one_factor"},
        "session": {"secret": secrets.token_hex(32), "cookies": [cookie]},
        "storage": {
            "encryption_key": secrets.token_hex(32),
            "local": {"path": f"{folder}/authelia.db"},
        },
        "notifier": {"filesystem": {"filename": f"{folder}/authelia-notes.txt"}},
    }
    config = folder / "authelia.yml"
    config.write_text(json.dumps(settings))
    asked = [JSON_TYPE, ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "auth.example.com")]

    def log_in(name: str) -> Answer:
        body = json.dumps({"username": name, "password": PASSWORD, "keepMeLoggedIn": False})
        return ask(port, "/api/firstfactor", "POST", body, asked)

    command = [program, "--config", os.fspath(config)]
    with (
        running("authelia", command, port, folder) as pid,
        behind_nginx("authelia", folder, upstream, port, "/api/authz/auth-request") as front,
    ):
        what = f"Authelia behind nginx; {version(program, '--version')}"
        yield Contestant("authelia", what, (front[0], pid), front[1], sessions(log_in))


@contextmanager
def tinyauth(folder: Path, upstream: int) -> Iterator[Contestant]:
    """tinyauth behind nginx; sessions in its database."""
    port, program = free_port(), tool("tinyauth")
    users, database = f"{folder}/tinyauth-users", f"{folder}/tinyauth.db"
    Path(users).write_text(htpasswd())
    site = "https://auth.example.com"
    environ = {  # the names of versions 4 and 5
        "PORT": str(port), "TINYAUTH_SERVER_PORT": str(port),
        "ADDRESS": "127.0.0.1", "TINYAUTH_SERVER_ADDRESS": "127.0.0.1",
        "APP_URL": site, "TINYAUTH_APPURL": site,
        "USERS_FILE": users, "TINYAUTH_AUTH_USERSFILE": users,
        "DATABASE_PATH": database, "TINYAUTH_DATABASE_PATH": database,
        "RESOURCES_DIR": f"{folder}/tinyauth", "TINYAUTH_RESOURCES_PATH": f"{folder}/tinyauth",
        "DISABLE_ANALYTICS": "true", "TINYAUTH_ANALYTICS_ENABLED": "false",
        "LOG_LEVEL": "error", "TINYAUTH_LOG_LEVEL": "error",
    }  # fmt: skip

    def log_in(name: str) -> Answer:
        body = json.dumps({"username": name, "password": PASSWORD})
        return ask(port, "/api/user/login", "POST", body, [JSON_TYPE])

    with (
        running("tinyauth", [program], port, folder, environ) as pid,
        behind_nginx("tinyauth", folder, upstream, port, "/api/auth/nginx") as front,
    ):
        what = f"tinyauth behind nginx; {version(program, 'version')}"
        yield Contestant("tinyauth", what, (front[0], pid), front[1], sessions(log_in))


@contextmanager
def verify(folder: Path, upstream: int) -> Iterator[Contestant]:
    """nginx that asks Doorward about each request, in the same way as Authelia."""
    port, path = free_port(), "/.doorward/verify"
    asked = {"trusted_proxies": ["127.0.0.1"], "forward_auth": {"hosts": ["127.0.0.1"]}}
    config = write_config("verify", folder, upstream, port, asked)
    command = [os.fspath(DOORWARD), "serve", "-c", os.fspath(config)]
    with running("verify", command, port, folder) as pid:
        if ask(port, path).status == 404:
            raise Missing(path)
        with behind_nginx("verify", folder, upstream, port, path, "http") as front:
            what = "nginx that asks Doorward's verify endpoint"
            yield Contestant("verify", what, (front[0], pid), front[1], log_in_all(port))


ALL: dict[str, Entry] = {
    **OURS,
    **BARE,
    "caddy": caddy,
    "oauth2-proxy": oauth2_proxy,
    "authelia": authelia,
    "tinyauth": tinyauth,
    "verify": verify,
    "apache": apache,
    "earlier": earlier,
}
# The contestants of a run without --only.
DEFAULT = tuple(name for name in ALL if name not in ("go-one", "earlier"))
