"""The files of examples/verify/, each in an application of its platform behind a real Doorward.

Every application returns its user's name, and refuses assertions that Doorward did not sign
recently for this application.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from doorward.accounts.sessions.assertions import ES256, AssertionKeys
from doorward.settings import load_settings
from doorward.wiring.keys import KeyFiles

from tests.support.lighttpd import serve_php
from tests.support.live import Live, config_user, free_port
from tests.support.programs import running, wait_until_answered
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.outside

EXAMPLES = Path(__file__).parents[2] / "examples" / "verify"
HERE = Path(__file__).parent / "verify"
KEYS = "/.doorward/jwks.json"
CLAIMS = "preferred_username"
NGINX_JS = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")

# The folder, the port, and the application's settings for Doorward.
Build = Callable[[Path, int, dict[str, str]], list[str]]


def _python(name: str) -> Build:
    def build(folder: Path, port: int, about: dict[str, str]) -> list[str]:
        script = HERE / f"{name}_application.py"
        return [sys.executable, os.fspath(script), str(port), json.dumps(about), os.fspath(folder)]

    return build


def _node(folder: Path, port: int, about: dict[str, str]) -> list[str]:
    if (node := shutil.which("node")) is None:
        pytest.skip("there is no Node.js: `apt-get install nodejs` brings it")
    return [node, os.fspath(HERE / "node_application.mjs"), str(port), json.dumps(about)]


def _php(folder: Path, port: int, about: dict[str, str]) -> list[str]:
    kept = json.dumps(os.fspath(folder / "keys.json"))
    known = ", ".join(json.dumps(about[name]) for name in ("keys_url", "issuer", "audience"))
    (folder / "index.php").write_text(
        f"<?php require {json.dumps(os.fspath(EXAMPLES / 'verify.php'))};\n"
        f"$claims = doorward_verify({known}, {kept});\n"
        "if ($claims === null) { http_response_code(401); exit; }\n"
        f"echo $claims['{CLAIMS}'];\n"
    )
    return serve_php(folder, port)


def _nginx(folder: Path, port: int, about: dict[str, str]) -> list[str]:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None or not NGINX_JS.exists():
        pytest.skip("there is no njs: `apt-get install nginx libnginx-mod-http-js` brings it")
    inner = free_port()
    text = (EXAMPLES / "nginx.conf").read_text()
    for old, new in (
        ("listen 9000", f"listen 127.0.0.1:{port}"),
        ("http://127.0.0.1:9001", f"http://127.0.0.1:{inner}"),
        (f"https://wiki.example.com{KEYS}", about["keys_url"]),
        ("https://wiki.example.com", about["issuer"]),
        ("/etc/nginx/doorward", os.fspath(EXAMPLES)),
        ("/var/cache/nginx/doorward", os.fspath(folder / "cache")),
    ):
        assert old in text, old
        text = text.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    application = f"server {{ listen 127.0.0.1:{inner}; return 200 $http_remote_user; }}"
    (folder / "nginx.conf").write_text(
        f"load_module {NGINX_JS};\ndaemon off;\nmaster_process off;\npid {folder}/nginx.pid;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}\n{application}\n}}\n"
    )
    return [nginx, "-e", "stderr", "-p", os.fspath(folder), "-c", os.fspath(folder / "nginx.conf")]


def _java(folder: Path, port: int, about: dict[str, str]) -> list[str]:
    tools = [shutil.which(name) for name in ("mvn", "javac", "java")]
    if None in tools:
        pytest.skip("there is no JDK: `apt-get install maven openjdk-17-jdk-headless` brings one")
    mvn, javac, java = map(str, tools)
    jars, classes = folder / "jars", folder / "classes"
    get = [mvn, "-q", "-B", "-f", os.fspath(HERE / "pom.xml"), "dependency:copy-dependencies"]
    subprocess.run([*get, f"-DoutputDirectory={jars}"], check=True, timeout=300)
    sources = [HERE / "JavaApplication.java", EXAMPLES / "DoorwardFilter.java"]
    compile_ = [
        javac,
        "-Xlint:all,-serial",
        "-Werror",
        "-cp",
        f"{jars}/*",
        "-d",
        os.fspath(classes),
    ]
    subprocess.run([*compile_, *map(os.fspath, sources)], check=True, timeout=300)
    known = [about[name] for name in ("keys_url", "issuer", "audience")]
    path = f"{classes}{os.pathsep}{jars}/*"
    return [java, "-cp", path, "JavaApplication", os.fspath(folder), str(port), *known]


PLATFORMS: dict[str, Build] = {
    "wsgi": _python("wsgi"),
    "flask": _python("flask"),
    "django": _python("django"),
    "node": _node,
    "php": _php,
    "nginx": _nginx,
    "java": _java,
}


@dataclass(frozen=True)
class House:
    """An application at `upstream`. Doorward adds an assertion for `wiki` to requests for `/`, and
    one for another application to requests for `/other`."""

    live: Live
    upstream: str

    def ask(self, *assertions: str, **more: str) -> httpx.Response:
        """Send a request directly to the application, with forged headers."""
        headers = [("Remote-User", "root"), ("X-Forwarded-User", "root"), *more.items()]
        headers += [("X-Doorward-Assertion", assertion) for assertion in assertions]
        return httpx.get(self.upstream, headers=headers, trust_env=False, timeout=PATIENCE_S)

    def sign(self, **changes: Any) -> str:
        """Sign an assertion like Doorward, with its own key, and with these changed claims."""
        keys = AssertionKeys(KeyFiles(load_settings(self.live.config, {}), time.time()).keys, ES256)
        pairs = keys._pairs()
        return jwt.encode(
            self.claims() | changes, pairs.private, ES256, {"kid": pairs.public[0]["kid"]}
        )

    def claims(self) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": f"http://{self.live.host}",
            "aud": "wiki",
            "sub": "23456789ABCDEFGHJ",
            CLAIMS: "root",
            "iat": now,
            "exp": now + 120,
        }


@pytest.fixture(scope="module", params=PLATFORMS)
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp(str(request.param)), free_port()
    upstream = f"http://127.0.0.1:{port}"
    routes = [
        {"upstream": upstream, "assertion": {"audience": "wiki"}},
        {"path": "/other", "upstream": upstream, "assertion": {"audience": "other"}},
    ]
    live = Live(folder / "doorward", upstream, routes=routes, users=[config_user()])
    issuer = f"http://{live.host}"
    about = {"keys_url": issuer + KEYS, "issuer": issuer, "audience": "wiki"}
    with ExitStack() as stack:
        stack.enter_context(live)
        command = PLATFORMS[str(request.param)](folder, port, about)
        log = folder / "application.log"
        child = stack.enter_context(running(command, log, cwd=folder))
        wait_until_answered(upstream, child, log)
        yield House(live, upstream)


def test_the_application_knows_its_user(house: House) -> None:
    cookie = house.live.login()
    forged = ("Remote-User: root", "X_Doorward_Assertion: a.b.c", "X-Doorward-Assertion: a.b.c")
    answer = house.live.get("/page", cookie, *forged)
    assert (answer.status, answer.body.strip()) == (200, b"alice")


def test_an_assertion_that_doorward_would_sign_is_accepted(house: House) -> None:
    """Otherwise the refusals below would prove nothing."""
    answer = house.ask(house.sign())
    assert (answer.status_code, answer.text.strip()) == (200, "root")


def test_a_request_that_bypasses_doorward_is_refused(house: House) -> None:
    assert house.ask().status_code == 401
    assert house.ask(REMOTE_USER="root", cookie=house.live.login()[8:]).status_code == 401


def _encode(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _sign_with_public_key(header: dict[str, Any], claims: str, key: bytes) -> str:
    """RFC 8725 2.1: a verifier that trusts `alg` uses the public key as a shared secret."""
    text = f"{_encode(header | {'alg': 'HS256'})}.{claims}"
    mac = base64.urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).rstrip(b"=")
    return f"{text}.{mac.decode()}"


def test_a_forged_assertion_is_refused(house: House) -> None:
    token = house.sign()
    header, claims, signature = token.split(".")
    known = jwt.get_unverified_header(token)
    published = json.dumps(json.loads(house.live.get(KEYS).body)["keys"][0]).encode()
    stranger = ec.generate_private_key(ec.SECP256R1())
    forged = [
        "",
        "...",
        "a.b.c",
        f"{header}.{claims}",
        f"{header}.{claims}.",
        f"{header}.{claims}.{signature[:-8]}AAAAAAAA",
        f"{header}.{claims}.{'A' * 86}",
        f"{header}.{_encode(house.claims() | {CLAIMS: 'admin'})}.{signature}",
        f"{_encode({'alg': 'none'})}.{claims}.",
        f"{_encode(known | {'alg': 'none'})}.{claims}.",
        f"{_encode(known | {'kid': None})}.{claims}.{signature}",
        jwt.encode(house.claims(), stranger, ES256, known),
        jwt.encode(house.claims(), stranger, ES256, {"kid": "unknown"}),
        _sign_with_public_key(known, claims, published),
    ]
    assert {text: house.ask(text).status_code for text in forged} == dict.fromkeys(forged, 401)


def test_an_expired_assertion_is_refused(house: House) -> None:
    now = int(time.time())
    assert house.ask(house.sign(iat=now - 300, exp=now - 180)).status_code == 401


def test_an_assertion_for_another_application_is_refused(house: House) -> None:
    assert house.live.get("/other/page", house.live.login()).status == 401
    assert house.ask(house.sign(aud="other")).status_code == 401


def test_an_assertion_of_another_doorward_is_refused(house: House) -> None:
    assert house.ask(house.sign(iss="https://wiki.example.com")).status_code == 401


def test_a_new_key_is_fetched(house: House) -> None:
    """The application does not know the new key when it begins to sign."""
    assert house.live.command("keys", "rotate", "--leaked").returncode == 0
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = house.ask(house.sign())
        if answer.status_code == 200:
            return
        time.sleep(0.5)  # an application fetches keys at most every ten seconds
    raise AssertionError("the new key was never believed")


def test_the_readme_lists_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        assert path.name == "README.md" or f"({path.name})" in text, path.name
