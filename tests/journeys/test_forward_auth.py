"""The configurations in examples/forward-auth/, each run by its front proxy.

The files are used unchanged except for ports and the paths of certificates. Those for Envoy,
Compose and Kubernetes are only read.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import yaml
from doorward.accounts.sessions.sessions import ClientInfo, Lifetimes
from doorward.settings import load_settings
from doorward.settings.identity import PRESETS
from doorward.wiring.accounts import build_accounts

from tests.conftest import Start
from tests.support.certificates import Authority
from tests.support.front_proxies import (
    CLIENT,
    MIB,
    PROXIES,
    TRAEFIK,
    Application,
    Replace,
    application,
    find_binary,
    running,
    talk,
)
from tests.support.live import PASSWORD, Live, config_user, free_port
from tests.support.sessions import open_session
from tests.support.wire import Answer, Client, values_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "forward-auth"
APP, PORTAL = "app.example.com", "auth.example.com"
OPEN = "open.example.com"  # also allowed in forward_auth.hosts
NAMES = [header.header for header in PRESETS["remote-user"]]
DAY_S = 86_400.0
BROWSER = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html")
ACCESS = {
    "rules": [
        {"host": OPEN, "require": "public"},
        {"path": "/public/*", "require": "public"},
        {"path": "/admin/*", "groups": ["admins"]},
        {"path": "/second/*", "require": "two_factor"},
    ]
}
# The text with the port in each file, and its replacement.
LISTENS = {
    "nginx": {"listen 443 ssl": "listen 127.0.0.1:{} ssl", "$host": "$host:{}"},
    "caddy": {f"{APP} {{": f"{APP}:{{}} {{", f"{PORTAL} {{": f"{PORTAL}:{{}} {{"},
    "haproxy": {"bind :443": "bind 127.0.0.1:{}"},
    "traefik": {},
}
RUN = {**PROXIES, "traefik": TRAEFIK}


@dataclass
class Asking:
    """A front proxy that asks Doorward, in front of the application."""

    name: str
    port: int
    tls: ssl.SSLContext
    inner: Application
    doorward: Live

    @property
    def site(self) -> str:
        """The address of the application as Doorward sees it: nginx, HAProxy and Caddy forward the
        port of these tests."""
        return f"https://{APP}:{self.port}"

    def client(self, host: str = APP) -> Client:
        address = ("127.0.0.1", self.port)
        return Client(address, tls=self.tls, tls_name=host, source=CLIENT)

    def ask(
        self, target: str, *lines: str, body: bytes = b"", host: str = APP, method: str = "GET"
    ) -> Answer:
        length = [f"Content-Length: {len(body)}"] if body else []
        asked = [f"{method} {target} HTTP/1.1", f"Host: {host}:{self.port}", *lines, *length]
        with self.client(host) as client:
            return client.ask("\r\n".join(asked).encode() + b"\r\n\r\n" + body)

    def login(self, target: str = "/") -> tuple[str, str]:
        """The Cookie line of a new session from the login page of the portal, and the redirect's
        target."""
        form = urlencode({"username": "alice", "password": PASSWORD}).encode()
        page = f"/.doorward/login?rd={quote(self.site + target, safe='')}"
        lines = ("Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin")
        answer = self.ask(page, *lines, *BROWSER[:1], body=form, host=PORTAL, method="POST")
        assert answer.status == 303, answer
        name = b"__Secure-doorward="
        (line,) = [
            one
            for one in answer.values(b"set-cookie")
            if one.startswith(name) and b"Max-Age=0" not in one
        ]
        assert b"Domain=example.com" in line
        cookie = "Cookie: " + line.partition(b";")[0].decode()
        return cookie, answer.values(b"location")[0].decode()


@contextmanager
def asking(
    name: str,
    folder: Path,
    doorward: Live,
    inner: Application,
    more: Replace | None = None,
    port: int = 0,
    text: str = "",
) -> Iterator[Asking]:
    """`more`: further replacements in the file. Without a port, a free one is used. `text` replaces
    the example."""
    proxy, authority, port = RUN[name], Authority(folder), port or free_port()
    pair = authority.issue(APP, PORTAL)
    both = folder / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    replace: Replace = {
        "/etc/ssl/example/fullchain-and-key.pem": str(both),
        "/etc/ssl/example/fullchain.pem": str(pair.certificate),
        "/etc/ssl/example/privkey.pem": str(pair.key),
        "/etc/haproxy/doorward.lua": str(folder / "doorward.lua"),
        "127.0.0.1:8080": f"127.0.0.1:{doorward.port}",
        "127.0.0.1:9000": inner.origin.url.removeprefix("http://"),
        **{old: new.replace("{}", str(port)) for old, new in LISTENS[name].items()},
        **(more or {}),
    }
    file = {"certFile": str(pair.certificate), "keyFile": str(pair.key)}
    store = {"tls": {"stores": {"default": {"defaultCertificate": file}}}}
    (folder / "certificates.yaml").write_text(yaml.safe_dump(store))
    for source in (proxy.file, "doorward.lua"):
        written = (EXAMPLES / source).read_text()
        if text and source == proxy.file:
            written = text
        for old, new in replace.items():
            written = written.replace(old, new)
        (folder / source).write_text(written)
    front = Asking(name, port, authority.believing(), inner, doorward)
    ask = lambda: front.ask("/.doorward/healthz", host=PORTAL)  # noqa: E731
    with running(proxy, folder, folder / proxy.file, port, ask):
        yield front


@pytest.fixture(scope="module", params=LISTENS)
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, deploy: Start
) -> Iterator[Asking]:
    find_binary(RUN[request.param])
    settings: dict[str, Any] = yaml.safe_load((EXAMPLES / "doorward.yaml").read_text())
    del settings["listen"]
    settings["forward_auth"]["hosts"].append(OPEN)
    with application() as inner:
        live = deploy("", users=[config_user()], access=ACCESS, routes=[{}], **settings)
        with asking(request.param, tmp_path_factory.mktemp(request.param), live, inner) as built:
            yield built


def test_a_login_at_the_portal_leads_back_and_the_user_is_seen(
    front: Asking,
) -> None:
    refused = front.ask("/wiki?x=1&y=2", *BROWSER)
    assert refused.status == 303
    (way,) = refused.values(b"location")
    assert way.startswith(f"https://{PORTAL}/.doorward/login?rd=".encode())
    assert quote(front.site, safe="").encode() in way
    cookie, onward = front.login("/wiki?x=1&y=2")
    assert onward == front.site + "/wiki?x=1&y=2"
    assert front.ask("/wiki?x=1&y=2", cookie, *BROWSER).status == 200
    head = front.inner.origin.heads[-1]
    assert head.startswith(b"GET /wiki?x=1&y=2 HTTP/1.1\r\n")
    assert values_of(head, b"remote-user") == [b"alice"]


def test_a_program_gets_a_401_that_names_the_login(front: Asking) -> None:
    sent = len(front.inner.origin.heads)
    for lines in ((), ("Sec-Fetch-Mode: cors",), ("Cookie: __Secure-doorward=forged",)):
        answer = front.ask("/", *lines)
        assert answer.status == 401
        assert answer.values(b"x-doorward-location")[0].startswith(f"https://{PORTAL}/".encode())
        assert answer.values(b"www-authenticate") == [b'Bearer realm="doorward"']
    assert len(front.inner.origin.heads) == sent


def test_a_user_without_access_gets_403(front: Asking) -> None:
    cookie, _ = front.login()
    sent = len(front.inner.origin.heads)
    assert front.ask("/admin/", cookie).status == 403
    assert front.ask("/admin/", cookie, *BROWSER).status == 403
    assert len(front.inner.origin.heads) == sent


def test_a_required_second_factor_is_asked_for_at_the_portal(front: Asking) -> None:
    cookie, _ = front.login()
    answer = front.ask("/second/", cookie, *BROWSER)
    assert answer.status == 303
    assert f"https://{PORTAL}/.doorward/second-factor?rd=".encode() in answer.values(b"location")[0]
    assert front.ask("/second/", cookie).status == 401


FORGED = [
    *(f"{name}: root" for name in NAMES),
    "X-Forwarded-For: 10.9.9.9",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: auth.example.com",
    "X-Forwarded-Uri: /public/",
    "X-Forwarded-Method: OPTIONS",
    "X-Original-Url: https://app.example.com/public/",
    "X-Original-Method: OPTIONS",
    "X-Original-URI: /public/",
    "Forwarded: for=10.9.9.9;host=auth.example.com;proto=http",
    "X-Doorward-Location: https://evil.test/",
]


def test_forged_headers_have_no_effect_and_are_not_forwarded(front: Asking) -> None:
    """GHSA-5wcc-hf24-rf5h, CVE-2026-40575, CVE-2026-30851, CVE-2026-52845."""
    sent = len(front.inner.origin.heads)
    for line in FORGED:
        assert front.ask("/", line).status == 401, line
        assert front.ask("/", line, line).status in (400, 401), line
    assert front.ask("/", *FORGED).status == 401
    assert len(front.inner.origin.heads) == sent
    assert front.ask("/public/", *FORGED).status == 200
    head = front.inner.origin.heads[-1]
    assert not [name for name in NAMES if any(values_of(head, name.lower().encode()))]
    cookie, _ = front.login()
    assert front.ask("/a", cookie, *FORGED).status == 200
    head = front.inner.origin.heads[-1]
    assert [value for value in values_of(head, b"remote-user") if value] == [b"alice"]
    assert b"root" not in head


def name_two_hosts(front: Asking) -> Iterator[bytes]:
    """Requests whose targets are complete URLs of one host, and whose Host is another (RFC 9112
    3.2.2)."""
    for site in (front.site, f"https://{APP}", f"http://{APP}"):
        for host in (OPEN, f"{OPEN}:{front.port}"):
            yield f"GET {site}/a HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def test_an_absolute_target_is_decided_and_forwarded_for_the_same_host(front: Asking) -> None:
    """The decision must not be on one of two hosts and the forwarding to the other, as in
    CVE-2026-77560."""
    sent = len(front.inner.origin.heads)
    for request in name_two_hosts(front):
        with front.client() as client:
            assert client.ask(request).status in (302, 400, 401, 421), request
    assert len(front.inner.origin.heads) == sent


def test_an_ended_session_is_refused(front: Asking) -> None:
    cookie, _ = front.login()
    assert front.ask("/", cookie).status == 200
    lines = (cookie, "Sec-Fetch-Site: same-origin")
    out = front.ask(
        f"/.doorward/logout?rd={quote(front.site + '/public/', safe='')}",
        *lines, "Content-Type: application/x-www-form-urlencoded",
        body=b"a=b", host=PORTAL, method="POST",
    )  # fmt: skip
    assert (out.status, out.values(b"location")) == (303, [f"{front.site}/public/".encode()])
    assert front.ask("/", cookie).status == 401
    assert front.ask("/", cookie, *BROWSER).status == 303


def test_a_body_is_forwarded_whole_and_once(front: Asking) -> None:
    cookie, _ = front.login()
    body = os.urandom(MIB) * 100
    answer = front.ask("/upload", cookie, body=body, method="POST")
    assert answer.status == 200
    assert front.inner.uploads["/upload"] == hashlib.sha256(body).hexdigest()
    assert front.ask("/upload", body=b"x" * 1024, method="POST").status == 401


async def test_a_websocket_is_verified_and_carries_frames_both_ways(front: Asking) -> None:
    key = base64.b64encode(b"sixteen bytes!!!").decode()
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {key}")
    lines = (*upgrade, "Sec-WebSocket-Version: 13")
    cookie, _ = front.login()
    sent = len(front.inner.origin.heads)
    assert front.ask("/ws", *lines).status == 401
    assert front.ask("/ws", cookie, *lines, "Origin: https://evil.test").status == 403
    assert len(front.inner.origin.heads) == sent
    await talk(f"wss://{APP}:{front.port}/ws", front.port, front.tls, cookie)
    assert front.inner.users[-1] == "alice"
    assert values_of(front.inner.origin.heads[-1], b"upgrade")[0].lower() == b"websocket"


async def test_an_expired_session_is_refused(front: Asking) -> None:
    settings = load_settings(front.doorward.config, {})
    async with build_accounts(settings) as accounts:
        user, now = await accounts.users.get("alice"), time.time()
        for age_s, status in ((3600.0, 200), (DAY_S + 60, 401)):
            opened = await open_session(
                accounts.sessions,
                user,
                client=ClientInfo(CLIENT, ""),
                lifetimes=Lifetimes(None, DAY_S, DAY_S, None),
                now=now - age_s,
            )
            cookie = f"Cookie: __Secure-doorward={accounts.tokens.sign(opened.token)}"
            assert front.ask("/", cookie).status == status
            assert front.ask("/", cookie, *BROWSER).status == (200 if status == 200 else 303)


LOOKALIKES = [
    ("Remote_User: root",),
    ("remote_user: root", "Remote_Groups: admins"),
    ("REMOTE_USER: root",),
    ("Remote.User: root",),
    ("Remote-User: root", "Remote-User: root"),
    ("remote-user: root", "REMOTE-USER: root"),
    ("Remote-User: root", "Remote_User: root"),
    ("Remote_User: root", "Connection: Remote-User"),
    ("Remote-User: root", "Connection: Remote-User, close"),
]


@pytest.mark.parametrize("lines", LOOKALIKES, ids=", ".join)
def test_an_application_that_folds_names_sees_only_the_user(
    front: Asking, lines: tuple[str, ...]
) -> None:
    """CVE-2026-52845, CVE-2025-64484, CVE-2024-45410: CGI uses one name for `Remote_User` and
    `Remote-User`."""
    cookie, _ = front.login()
    for path, more, user in (("/public/", (), []), ("/", (cookie,), ["alice"])):
        sent = len(front.inner.origin.heads)
        answer = front.ask(path, *more, *lines)
        if len(front.inner.origin.heads) == sent:
            assert answer.status in (400, 403)
            continue
        assert answer.status == 200
        assert front.inner.read_variables("Remote-User") == user
        assert front.inner.read_variables("Remote-Groups") == []


@pytest.mark.parametrize("name", ["X-Remote_User", "Remote_Users", "X_Other"])
def test_other_headers_with_an_underscore_are_allowed(front: Asking, name: str) -> None:
    assert front.ask("/public/", f"{name}: x").status == 200


def test_an_unknown_host_is_never_forwarded(front: Asking) -> None:
    sent = len(front.inner.origin.heads)
    with front.client() as client:
        answer = client.ask(b"GET /public/ HTTP/1.1\r\nHost: other.test\r\n\r\n")
    assert len(front.inner.origin.heads) == sent
    assert answer.status in (200, 404, 421) and not answer.body.startswith(b"ok")


# The requests for every front proxy. A test fails if a row is missing, or a front proxy has no
# tests.
MATRIX: dict[str, Callable[..., Any]] = {
    "allowed, nobody in a browser": test_a_login_at_the_portal_leads_back_and_the_user_is_seen,
    "nobody, a program": test_a_program_gets_a_401_that_names_the_login,
    "forbidden": test_a_user_without_access_gets_403,
    "forged headers": test_forged_headers_have_no_effect_and_are_not_forwarded,
    "lookalikes": test_an_application_that_folds_names_sees_only_the_user,
    "second factor due": test_a_required_second_factor_is_asked_for_at_the_portal,
    "over by time": test_an_expired_session_is_refused,
    "logged out": test_an_ended_session_is_refused,
    "two hosts": test_an_absolute_target_is_decided_and_forwarded_for_the_same_host,
    "WebSocket": test_a_websocket_is_verified_and_carries_frames_both_ways,
    "POST with a body": test_a_body_is_forwarded_whole_and_once,
}


def test_every_row_of_the_matrix_runs_with_every_front_proxy() -> None:
    for row in MATRIX.values():
        assert "front" in inspect.signature(row).parameters
    assert {"nginx", "caddy", "haproxy", "traefik"} == LISTENS.keys()


# Front proxies configured for another program

# The usual configuration of nginx for Authelia, except for the address.
AUTHELIA_STYLE = f"""
server {{
  listen 443 ssl;
  server_name {PORTAL};
  ssl_certificate /etc/ssl/example/fullchain.pem;
  ssl_certificate_key /etc/ssl/example/privkey.pem;
  location / {{
    proxy_pass http://127.0.0.1:8080;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Uri $request_uri;
    proxy_set_header X-Forwarded-For $remote_addr;
  }}
}}
server {{
  listen 443 ssl;
  server_name {APP};
  ssl_certificate /etc/ssl/example/fullchain.pem;
  ssl_certificate_key /etc/ssl/example/privkey.pem;
  location /internal/authelia/authz {{
    internal;
    proxy_pass http://127.0.0.1:8080/api/authz/auth-request;
    proxy_set_header X-Original-Method $request_method;
    proxy_set_header X-Original-URL $scheme://$host$request_uri;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header Content-Length "";
    proxy_set_header Connection "";
    proxy_pass_request_body off;
    proxy_http_version 1.1;
    client_body_buffer_size 128k;
  }}
  location / {{
    auth_request /internal/authelia/authz;
    auth_request_set $user $upstream_http_remote_user;
    auth_request_set $redirection_url $upstream_http_location;
    error_page 401 =302 $redirection_url;
    proxy_set_header Remote-User $user;
    proxy_pass http://127.0.0.1:9000;
  }}
}}
"""


# The usual configuration of nginx for oauth2-proxy, except for the address.
OAUTH2_PROXY_STYLE = f"""
server {{
  listen 443 ssl;
  server_name {PORTAL};
  ssl_certificate /etc/ssl/example/fullchain.pem;
  ssl_certificate_key /etc/ssl/example/privkey.pem;
  location / {{
    proxy_pass http://127.0.0.1:8080;
    proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr;
  }}
}}
server {{
  listen 443 ssl;
  server_name {APP};
  ssl_certificate /etc/ssl/example/fullchain.pem;
  ssl_certificate_key /etc/ssl/example/privkey.pem;
  location /oauth2/ {{
    proxy_pass http://127.0.0.1:8080;
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Auth-Request-Redirect $request_uri;
  }}
  location = /oauth2/auth {{
    proxy_pass http://127.0.0.1:8080;
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-Uri $request_uri;
    proxy_set_header Content-Length "";
    proxy_pass_request_body off;
  }}
  location / {{
    auth_request /oauth2/auth;
    error_page 401 = @signin;
    auth_request_set $user $upstream_http_x_auth_request_user;
    auth_request_set $email $upstream_http_x_auth_request_email;
    proxy_set_header X-User $user;
    proxy_set_header X-Email $email;
    proxy_pass http://127.0.0.1:9000;
  }}
  location @signin {{
    return 302 /oauth2/sign_in?rd=$scheme://$host$request_uri;
  }}
}}
"""


@contextmanager
def instead_of(alias: str, text: str, folder: Path, deploy: Start) -> Iterator[Asking]:
    """nginx with a configuration for another program, which asks Doorward instead."""
    find_binary(PROXIES["nginx"])
    settings: dict[str, Any] = yaml.safe_load((EXAMPLES / "doorward.yaml").read_text())
    del settings["listen"]
    settings["forward_auth"]["aliases"] = [alias]
    settings["forward_auth"]["hosts"].append(OPEN)
    with application() as inner:
        live = deploy("", users=[config_user()], access=ACCESS, routes=[{}], **settings)
        with asking("nginx", folder, live, inner, text=text) as front:
            yield front


def test_an_nginx_for_authelia_only_needs_another_address(tmp_path: Path, deploy: Start) -> None:
    with instead_of("authelia", AUTHELIA_STYLE, tmp_path, deploy) as front:
        refused = front.ask("/a?b=c", *BROWSER)
        assert refused.status == 302
        (way,) = refused.values(b"location")
        assert way.startswith(f"https://{PORTAL}/.doorward/login?rd=".encode())
        cookie, onward = front.login("/a?b=c")
        assert onward == front.site + "/a?b=c"
        assert front.ask("/a?b=c", cookie, "Remote-User: root").status == 200
        assert values_of(front.inner.origin.heads[-1], b"remote-user") == [b"alice"]
        assert front.ask("/admin/", cookie).status == 403
        test_an_absolute_target_is_decided_and_forwarded_for_the_same_host(front)


def test_an_nginx_for_oauth2_proxy_only_needs_another_address(
    tmp_path: Path, deploy: Start
) -> None:
    with instead_of("oauth2-proxy", OAUTH2_PROXY_STYLE, tmp_path, deploy) as front:
        refused = front.ask("/a?b=c", *BROWSER)
        assert refused.status == 302
        (sign_in,) = refused.values(b"location")
        path = sign_in.decode().removeprefix(front.site)
        assert path == f"/oauth2/sign_in?rd={front.site}/a?b=c"
        led = front.ask(path, *BROWSER)
        (way,) = led.values(b"location")
        assert (led.status, way.partition(b"?")[0]) == (
            302,
            f"https://{PORTAL}/.doorward/login".encode(),
        )
        cookie, onward = front.login("/a?b=c")
        assert onward == front.site + "/a?b=c"
        assert (
            front.ask("/a?b=c", cookie, "X-User: root", "X-Auth-Request-User: root").status == 200
        )
        assert values_of(front.inner.origin.heads[-1], b"x-user") == [b"alice"]
        assert front.ask("/admin/", cookie).status == 403
        told = json.loads(front.ask("/oauth2/userinfo", cookie).body)
        assert (told["user"], told["preferredUsername"]) == ("alice", "alice")
        (out,) = front.ask("/oauth2/sign_out", cookie).values(b"location")
        assert out == f"https://{PORTAL}/.doorward/logout".encode()
        test_an_absolute_target_is_decided_and_forwarded_for_the_same_host(front)
        for line in (f"X-Forwarded-Host: {PORTAL}", "X-Forwarded-Uri: /public/", *FORGED):
            sent = len(front.inner.origin.heads)
            assert front.ask("/", line).status != 200, line
            assert len(front.inner.origin.heads) == sent, line


# Files that are only read


def of_labels(service: dict[str, Any]) -> dict[str, Any]:
    """Convert the labels of a service in a Compose file to the form of Traefik's file."""
    found: dict[str, Any] = {}
    for name, value in service["labels"].items():
        at, steps = found, name.removeprefix("traefik.").split(".")
        for step in steps[:-1]:
            at = at.setdefault(step, {})
        at[steps[-1]] = value
    return found


def test_the_traefik_labels_match_the_traefik_file() -> None:
    file = yaml.safe_load((EXAMPLES / "traefik-doorward.yaml").read_text())["http"]
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]
    portal, app = (of_labels(services[name])["http"] for name in ("doorward", "app"))
    for name, said in (("portal", portal), ("app", app)):
        router, expected = said["routers"][name], file["routers"][name]
        assert (router["rule"], router["service"]) == (expected["rule"], expected["service"])
        assert router["middlewares"].split(",") == expected["middlewares"]
        assert (router["entryPoints"], router["tls"]) == ("websecure", "true")
    asks, expected = portal["middlewares"]["doorward"]["forwardAuth"], file["middlewares"]
    assert asks["address"] == "http://doorward:8080/.doorward/verify/traefik"
    assert asks["trustForwardHeader"] == "false"
    assert asks["authResponseHeaders"].split(",") == NAMES
    assert portal["middlewares"]["clean"] == expected["clean"]
    network = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["networks"]["front"]
    (block,) = network["ipam"]["config"]
    environment = services["doorward"]["environment"]
    assert environment["DOORWARD_TRUSTED_PROXIES"] == block["subnet"]
    assert [name for name, one in services.items() if "ports" in one] == ["traefik"]
    assert "forwardedHeaders" not in " ".join(services["traefik"]["command"])


def test_the_kubernetes_file_matches_the_traefik_and_nginx_files() -> None:
    file = yaml.safe_load((EXAMPLES / "traefik-doorward.yaml").read_text())["http"]
    found = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))
    named = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(named) == len(found)
    notes = named["Ingress", "app"]["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/"
    assert notes[f"{prefix}auth-url"].endswith("/.doorward/verify/nginx")
    assert notes[f"{prefix}auth-response-headers"].split(",") == NAMES
    assert notes[f"{prefix}proxy-body-size"] == "0"
    assert "annotations" not in named["Ingress", "portal"]["metadata"]
    for name in ("clean", "doorward"):
        spec, expected = named["Middleware", name]["spec"], file["middlewares"][name]
        assert {**spec, "forwardAuth": None} == {**expected, "forwardAuth": None}
    asks = named["Middleware", "doorward"]["spec"]["forwardAuth"]
    assert asks["address"].endswith(":8080/.doorward/verify/traefik")
    assert asks | {"address": ""} == file["middlewares"]["doorward"]["forwardAuth"] | {
        "address": ""
    }
    for route, name in zip(
        named["IngressRoute", "portal-and-app"]["spec"]["routes"], ("portal", "app"), strict=True
    ):
        assert route["match"] == file["routers"][name]["rule"]
        used = [one["name"] for one in route["middlewares"]]
        assert used == file["routers"][name]["middlewares"]


def test_the_envoy_file_refuses_underscores_and_fails_closed() -> None:
    envoy = yaml.safe_load((EXAMPLES / "envoy.yaml").read_text())
    (listener,) = envoy["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    authz = manager["http_filters"][0]["typed_config"]
    assert authz["failure_mode_allow"] is False and manager["use_remote_address"] is True
    options = manager["common_http_protocol_options"]
    assert options["headers_with_underscores_action"] == "REJECT_REQUEST"
    service = authz["http_service"]
    assert service["path_prefix"] == "/.doorward/verify/envoy"
    told = service["authorization_response"]["allowed_upstream_headers"]["patterns"]
    assert [one["exact"] for one in told] == [name.lower() for name in NAMES]


@pytest.mark.parametrize("file", ["nginx.conf", "Caddyfile", "haproxy.cfg", "doorward.lua"])
def test_the_files_name_every_identity_header(file: str) -> None:
    text = (EXAMPLES / file).read_text().lower()
    if file != "haproxy.cfg":
        assert not [name for name in NAMES if name.lower() not in text]
