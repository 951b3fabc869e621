"""The configurations in examples/front-proxies/, each run by its proxy.

The files are used unchanged except for ports and the paths of certificates. Those for Traefik,
which Debian does not package, are only read.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Start
from tests.support.certificates import Authority
from tests.support.corpora import corpus
from tests.support.front_proxies import (
    CLIENT,
    HOST,
    MIB,
    PROXIES,
    Application,
    Proxy,
    Replace,
    application,
    find_binary,
    running,
    talk,
)
from tests.support.live import PASSWORD, Live, config_user, free_port
from tests.support.origin import Origin
from tests.support.waiting import until
from tests.support.wire import Answer, Client, values_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "front-proxies"


@dataclass
class Front:
    """A proxy in front of Doorward in front of the application."""

    port: int
    tls: ssl.SSLContext
    application: Application

    @property
    def origin(self) -> Origin:
        return self.application.origin

    def client(self) -> Client:
        return Client(("127.0.0.1", self.port), tls=self.tls, tls_name=HOST, source=CLIENT)

    def ask(self, target: str, *lines: str, body: bytes = b"", host: str = HOST) -> Answer:
        method = "POST" if body else "GET"
        length = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, *length])
        with self.client() as client:
            return client.ask(head.encode("latin-1") + b"\r\n\r\n" + body)

    def login(self) -> str:
        """The Cookie line of a new session."""
        body = f'{{"username": "alice", "password": "{PASSWORD}"}}'.encode()
        answer = self.ask("/xhr/login", "Content-Type: application/json", body=body)
        assert answer.status == 200, answer
        lines = [line for line in answer.values(b"set-cookie") if b"Max-Age=0" not in line]
        assert lines[0].startswith(b"__Host-doorward=") and b"Secure" in lines[0]
        return "Cookie: " + lines[0].partition(b";")[0].decode()


def substituted(proxy: Proxy, replace: Replace, port: int) -> str:
    """The example with the ports and certificates of this test, each of which must occur in it."""
    text = (EXAMPLES / proxy.file).read_text()
    for old, new in {proxy.listen: proxy.replaced.format(port), **replace}.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def fronted(proxy: Proxy, folder: Path, doorward: Live, inner: Application) -> Iterator[Front]:
    authority = Authority(folder)
    pair = authority.issue(HOST)
    both = folder / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    replace = {"127.0.0.1:8080": f"127.0.0.1:{doorward.port}"}
    if proxy.binary == "haproxy":
        replace["/etc/ssl/wiki/fullchain-and-key.pem"] = str(both)
    else:
        replace["/etc/ssl/wiki/fullchain.pem"] = str(pair.certificate)
        replace["/etc/ssl/wiki/privkey.pem"] = str(pair.key)
    port = free_port()
    file = folder / proxy.file
    file.write_text(substituted(proxy, replace, port))
    front = Front(port, authority.believing(), inner)
    with running(proxy, folder, file, port, lambda: front.ask("/.doorward/healthz")):
        yield front


@pytest.fixture(scope="module", params=PROXIES)
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, deploy: Start
) -> Iterator[Front]:
    proxy = PROXIES[request.param]
    find_binary(proxy)
    settings: dict[str, Any] = yaml.safe_load((EXAMPLES / "doorward.yaml").read_text())
    del settings["listen"]
    with application() as inner:
        settings["routes"] = [{"upstream": inner.origin.url}]
        settings["access"] = {"rules": [{"host": "public.test", "require": "public"}]}
        live = deploy("", users=[config_user()], **settings)
        with fronted(proxy, tmp_path_factory.mktemp(request.param), live, inner) as built:
            yield built


def only(head: bytes, name: bytes) -> bytes:
    (value,) = values_of(head, name)
    return value


def test_after_a_login_the_application_sees_user_client_and_scheme(front: Front) -> None:
    assert front.ask("/").status == 401
    assert front.ask("/wiki?x=1", front.login()).status == 200
    head = front.origin.heads[-1]
    assert head.startswith(b"GET /wiki?x=1 HTTP/1.1\r\n")
    assert only(head, b"remote-user") == b"alice"
    assert only(head, b"host") == only(head, b"x-forwarded-host") == HOST.encode()
    assert only(head, b"x-forwarded-proto") == b"https"
    assert only(head, b"x-forwarded-port") == b"443"
    assert only(head, b"x-real-ip") == CLIENT.encode()
    assert only(head, b"x-forwarded-for") == f"{CLIENT}, 127.0.0.1".encode()
    assert not values_of(head, b"x-forwarded-prefix")
    assert len(only(head, b"x-request-id")) >= 16


FORGED = (
    "X-Forwarded-For: 203.0.113.66",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: forged.test",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Prefix: //forged.test",
    "X-Forwarded-Server: forged.test",
    "X-Real-Ip: 203.0.113.66",
    "X-Request-Id: forged",
    "Forwarded: for=203.0.113.66;host=forged.test;proto=http",
)


def test_headers_that_a_client_forges_have_no_effect(front: Front) -> None:
    names = [name.decode() for name in corpus("identity_headers.txt")]
    named = [f"{name}: forged" for name in names if name.lower().startswith(("remote", "x-remote"))]
    assert front.ask("/", *FORGED, *named).status == 401
    session = front.login()
    assert front.ask("/", session).status == 200
    assert front.ask("/", session, *FORGED, *named).status == 200
    honest, forged = (
        {line for line in head.splitlines() if not line.lower().startswith(b"x-request-id:")}
        for head in front.origin.heads[-2:]
    )
    assert honest == forged
    assert b"forged" not in front.origin.heads[-1]


@pytest.mark.parametrize("line", ["X-Forwarded-Host: public.test", "Forwarded: host=public.test"])
def test_a_host_in_another_header_has_no_effect(front: Front, line: str) -> None:
    """The rule for one host must not open the application under another."""
    sent = len(front.origin.heads)
    assert front.ask("/", line).status == 401
    assert front.ask("/", line, line).status == 401
    assert len(front.origin.heads) == sent


def test_the_decision_is_for_the_requested_host(front: Front) -> None:
    """A proxy that only serves one host may refuse it, but must never open that host."""
    sent = len(front.origin.heads)
    front.ask("/", f"X-Forwarded-Host: {HOST}", f"Forwarded: host={HOST}", host="public.test")
    for head in front.origin.heads[sent:]:
        assert only(head, b"host") == only(head, b"x-forwarded-host") == b"public.test"


def test_the_target_is_forwarded_unchanged(front: Front) -> None:
    session = front.login()
    for target in ("/a%2Fb?x=%20&y=/../", "/%C3%A9/a;b=1", "/a//b"):
        assert front.ask(target, session).status == 200
        assert front.origin.heads[-1].startswith(f"GET {target} HTTP/1.1\r\n".encode())


async def test_a_websocket_passes(front: Front) -> None:
    await talk(f"wss://{HOST}/ws", front.port, front.tls, front.login())
    assert front.application.users[-1] == "alice"


def test_an_upload_of_any_size_streams(front: Front) -> None:
    body = os.urandom(MIB) * 24
    session = front.login()
    uploads = front.application.uploads
    with front.client() as client:
        head = f"POST /upload HTTP/1.1\r\nHost: {HOST}\r\n{session}\r\nContent-Length: {len(body)}"
        client.send(head.encode() + b"\r\n\r\n" + body[:MIB])
        until(lambda: "/upload" in uploads, "for the head of an upload that has just begun")
        client.send(body[MIB:])
        assert client.answer().status == 200
    assert uploads["/upload"] == hashlib.sha256(body).hexdigest()


def test_an_event_stream_is_passed_on_event_by_event(front: Front) -> None:
    session = front.login()
    with front.client() as client:
        client.send(f"GET /events HTTP/1.1\r\nHost: {HOST}\r\n{session}\r\n\r\n".encode())
        assert b"data: 1" in client.until(b"data: 1\n\n")
        front.application.uploads["/events/seen"] = "yes"
        assert b"data: 2" in client.until(b"data: 2\n\n")


# Traefik


def test_the_traefik_files_are_consistent() -> None:
    static = yaml.safe_load((EXAMPLES / "traefik.yaml").read_text())
    dynamic = yaml.safe_load((EXAMPLES / "traefik-doorward.yaml").read_text())
    (entry,) = static["entryPoints"]
    assert "forwardedHeaders" not in static["entryPoints"][entry], "the client would be believed"
    assert static["entryPoints"][entry]["transport"]["respondingTimeouts"]["readTimeout"] == "0s"
    http = dynamic["http"]
    (router,) = http["routers"].values()
    assert router["entryPoints"] == [entry]
    assert router["service"] in http["services"]
    assert set(router["middlewares"]) == set(http["middlewares"])
    assert router["rule"] == f"Host(`{HOST}`)"
    (middleware,) = http["middlewares"].values()
    removed = middleware["headers"]["customRequestHeaders"]
    assert removed == {"X-Forwarded-Prefix": "", "Forwarded": "", "X-Request-Id": ""}


# Lines that every file must contain, so that a new one cannot lack one.


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=list(PROXIES))
def test_a_file_sets_or_removes_every_header_that_doorward_reads(proxy: Proxy) -> None:
    text = (EXAMPLES / proxy.file).read_text()
    names = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"]
    names += ["X-Forwarded-Prefix", "X-Request-Id", "Forwarded"]
    assert not [name for name in names if not re.search(rf"(?<!X-){name}(?![\w-])", text)]
