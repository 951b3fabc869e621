"""An upstream behind TLS: its certificate is verified, and nothing is sent to one that fails."""

from __future__ import annotations

import datetime
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.live import Live


class Secure(HTTPServer):
    seen = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Secure)
        self.server.seen += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "upstream.pem"
    file.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[Secure]:
    server = Secure(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def served(tmp_path: Path, secure: Secure) -> Live:
    url = f"https://127.0.0.1:{secure.server_port}"
    return Live(tmp_path / "live", url, access={"default": "public"})


def test_a_certificate_that_nobody_vouches_for_gets_no_request(
    tmp_path: Path, secure: Secure
) -> None:
    with served(tmp_path, secure) as live:
        assert live.get("/").status == 502
    assert secure.seen == 0


def test_a_certificate_of_a_trusted_authority_is_believed(
    tmp_path: Path, secure: Secure, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate.with_name("authority.pem")
    command = ["openssl", "x509", "-in", os.fspath(certificate), "-out", os.fspath(authority)]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(authority))
    with served(tmp_path, secure) as live:
        assert live.get("/").status == 200
    assert secure.seen == 1
