"""An upstream with TLS: its certificate is verified, and no request is sent if that fails."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from doorward.settings import InvalidSettings, settings_from
from doorward.upstream.address import Address
from doorward.upstream.failures import ConnectFailed
from doorward.upstream.pool import Pool

from tests.support.certificates import Authority
from tests.support.exchanges import exchanged
from tests.support.live import Live
from tests.support.waiting import PATIENCE_S


class Secure(HTTPServer):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.names: list[str | None] = []
        self.shown: list[Any] = []
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, *_: object) -> None:
        pass  # in some tests, the client refuses the certificate

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Secure

    def do_GET(self) -> None:
        assert isinstance(self.connection, ssl.SSLSocket)
        self.server.shown.append(self.connection.getpeercert())
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


Serve = Callable[..., Secure]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(context: ssl.SSLContext) -> Secure:
            server = stack.enter_context(Secure(context))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield start


async def status_of(server: Secure, **tls: Any) -> int:
    """The status that a route with these `tls` settings gets from the server. Raises
    ConnectFailed."""
    settings = settings_from({"routes": [{"upstream": server.url, "tls": tls}]})
    route = settings.routes[0]
    pool = Pool(Address.of(route.upstream[0], route.tls), PATIENCE_S)
    try:
        return (await exchanged(pool)).status
    finally:
        pool.close()


async def test_an_untrusted_certificate_gets_no_request(serve: Serve, authority: Authority) -> None:
    server = serve(authority.serving(authority.issue("127.0.0.1")))
    with pytest.raises(ConnectFailed):
        await status_of(server)
    assert not server.shown


async def test_only_the_authority_of_the_route_is_trusted(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    server = serve(authority.serving(authority.issue("127.0.0.1")))
    assert await status_of(server, ca=str(authority.file)) == 200
    other = Authority(tmp_path / "other")
    with pytest.raises(ConnectFailed):
        await status_of(server, ca=str(other.file))
    assert len(server.shown) == 1


async def test_without_tls_ca_the_systems_authorities_are_trusted(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(authority.serving(authority.issue("127.0.0.1")))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert await status_of(server, server_name="127.0.0.1") == 200


async def test_a_certificate_for_another_name_is_refused(
    serve: Serve, authority: Authority
) -> None:
    server = serve(authority.serving(authority.issue("wiki.internal")))
    for name in ({}, {"server_name": "other.internal"}):
        with pytest.raises(ConnectFailed):
            await status_of(server, ca=str(authority.file), **name)
    assert not server.shown


async def test_the_routes_server_name_is_sent_and_verified(
    serve: Serve, authority: Authority
) -> None:
    server = serve(authority.serving(authority.issue("wiki.internal")))
    assert await status_of(server, ca=str(authority.file), server_name="wiki.internal") == 200
    assert server.names == ["wiki.internal"]


async def test_a_client_certificate_is_sent_on_request(serve: Serve, authority: Authority) -> None:
    server = serve(authority.serving(authority.issue("127.0.0.1"), demands=True))
    ours = authority.issue("doorward.internal")
    shown = {"certificate": str(ours.certificate), "key": str(ours.key)}
    assert await status_of(server, ca=str(authority.file), **shown) == 200
    assert (("commonName", "doorward.internal"),) in server.shown[0]["subject"]


async def test_verification_is_switched_off_only_by_saying_so(
    serve: Serve, authority: Authority
) -> None:
    server = serve(authority.serving(authority.issue("wiki.internal")))
    assert await status_of(server, verify=False) == 200


async def test_tls_before_1_2_is_refused(serve: Serve, authority: Authority) -> None:
    context = authority.serving(authority.issue("127.0.0.1"))
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ConnectFailed):
        await status_of(serve(context), ca=str(authority.file))


def test_a_failed_handshake_is_502_for_the_client(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    server = serve(authority.serving(authority.issue("127.0.0.1")))
    with Live(tmp_path / "live", server.url, access={"default": "public"}) as live:
        assert live.get("/").status == 502
    assert not server.shown


# Files that cannot be used


def test_a_file_that_cannot_be_used_is_reported_before_anything_is_sent(
    tmp_path: Path, authority: Authority
) -> None:
    one, other = authority.issue("a.test"), authority.issue("b.test")
    covered = authority.issue("c.test", password=b"secret")
    empty = tmp_path / "empty"
    empty.touch()
    for tls, said in [
        ({"ca": empty}, "contains no certificate"),
        ({"ca": tmp_path / "none"}, "does not exist"),
        ({"ca": tmp_path}, "is not a file"),
        ({"certificate": one.certificate}, "contains no private key"),
        ({"certificate": one.certificate, "key": other.key}, "not the key of the certificate"),
        ({"certificate": covered.certificate, "key": covered.key}, "protected by a password"),
        ({"certificate": empty, "key": one.key}, "contains no certificate"),
    ]:
        route = {
            "upstream": "https://127.0.0.1",
            "tls": {key: str(path) for key, path in tls.items()},
        }
        chosen = settings_from({"routes": [route]}).routes[0]
        with pytest.raises(InvalidSettings, match=said):
            Address.of(chosen.upstream[0], chosen.tls)
