"""Doorward's certificate: TLS versions, errors at the start, and files that change."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doorward.server.certificate import Certificate
from doorward.settings import InvalidSettings, Tls, settings_from

from tests.support.certificates import Authority, Pair
from tests.support.live import Live
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import until
from tests.support.wire import Client


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


def named(pair: Pair) -> dict[str, str]:
    return {"certificate": str(pair.certificate), "key": str(pair.key)}


@contextmanager
def secured(folder: Path, authority: Authority, **more: object) -> Iterator[tuple[Live, Origin]]:
    """A deployment with TLS, in front of an origin."""
    pair = authority.issue("127.0.0.1")
    with Origin((answering(OK),)) as origin:
        live = Live(
            folder / "live", origin.url, tls=named(pair), access={"default": "public"}, **more
        )
        live.tls = authority.believing()
        with live:
            yield live, origin


def test_the_application_learns_that_requests_came_over_tls(
    tmp_path: Path, authority: Authority
) -> None:
    with secured(tmp_path, authority) as (live, origin):
        with live.client() as client:
            for _ in range(2):
                assert client.get("/", host=live.host).body == b"ok"
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.selected_alpn_protocol() in (None, "http/1.1")
        assert b"x-forwarded-proto: https\r\n" in origin.heads[0]
        live.until_it_says(f'"address": "https://{live.host}"')
        shown = live.command("config", "show").stdout
        assert f"public_url: https://{live.host}\n" in shown, "the default follows the certificate"


def test_an_invalid_handshake_gets_nothing_and_affects_no_other_client(
    tmp_path: Path, authority: Authority
) -> None:
    """Garbage, an old TLS version, and an endless ClientHello."""
    limits = {"header_timeout": "4s"}  # for the endless one; others say all at once
    with secured(tmp_path, authority, limits=limits) as (live, origin):
        for said in (b"\x00" * 600, b"\x16\x03\x01\x02\x00\x01"):
            with Client(live.place) as client:
                client.send(said)
                rest = client.rest()
                assert b"HTTP/" not in rest and len(rest) < 20
        old = authority.believing()
        with pytest.warns(DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):
            Client(live.place, tls=old)
        assert live.get("/").status == 200
        assert len(origin.heads) == 1
        assert "Traceback" not in live.log.read_text()


def test_a_body_that_is_cut_looks_cut_over_tls(tmp_path: Path, authority: Authority) -> None:
    pair = authority.issue("127.0.0.1")

    def script(wire: object) -> None:
        wire.head()  # type: ignore[attr-defined]
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")  # type: ignore[attr-defined]

    with Origin((script,)) as origin:
        live = Live(tmp_path / "l", origin.url, tls=named(pair), access={"default": "public"})
        live.tls = authority.believing()
        with live:
            got = live.get("/")
            assert (got.status, got.whole) == (200, False)


def test_a_renewed_certificate_is_loaded_without_a_restart(
    tmp_path: Path, authority: Authority
) -> None:
    with secured(tmp_path, authority) as (live, _), live.client() as before:
        assert before.get("/", host=live.host).status == 200
        first = serial(live)
        authority.issue("127.0.0.1")
        until(lambda: serial(live) != first, "for the new certificate")
        assert before.get("/", host=live.host).status == 200, "open connections go on"
        live.until_it_says("certificate_taken")


def serial(live: Live) -> object:
    with live.client() as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        found = client.sock.getpeercert()
        assert found is not None
        return found["serialNumber"]


def met(certificate: Certificate, authority: Authority) -> int:
    """The serial number of the certificate that a handshake gets."""
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.believing().wrap_bio(here, there, server_hostname="a.test")
    server = certificate.context.wrap_bio(there, here, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert()
    assert found is not None
    return int(str(found["serialNumber"]), 16)


def test_mismatched_files_are_ignored_until_they_match(authority: Authority) -> None:
    pair = authority.issue("a.test")
    certificate = Certificate(Tls.model_validate(named(pair)))
    first = met(certificate, authority)
    new = authority.issue("a.test", file="new")
    os.replace(new.certificate, pair.certificate)
    certificate.look()
    assert met(certificate, authority) == first, "the key is still the old one"
    pair.certificate.unlink()
    certificate.look()
    assert met(certificate, authority) == first
    authority.issue("a.test")
    certificate.look()
    second = met(certificate, authority)
    assert second != first
    certificate.look()
    assert met(certificate, authority) == second


def test_a_changed_link_is_noticed(authority: Authority, tmp_path: Path) -> None:
    """Certbot renews, and Kubernetes mounts, by changing a link."""
    one, other = authority.issue("a.test", file="one"), authority.issue("a.test", file="other")
    for name, file in (("crt", one.certificate), ("key", one.key)):
        (tmp_path / name).symlink_to(file)
    tls = Tls.model_validate({"certificate": str(tmp_path / "crt"), "key": str(tmp_path / "key")})
    certificate = Certificate(tls)
    first = met(certificate, authority)
    for name, file in (("crt", other.certificate), ("key", other.key)):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to(file)
    certificate.look()
    assert met(certificate, authority) != first


# The start


def test_files_that_cannot_be_used_stop_the_start_all_at_once(
    tmp_path: Path, authority: Authority
) -> None:
    one, other = authority.issue("a.test"), authority.issue("b.test")
    tls = {"certificate": str(one.certificate), "key": str(other.key)}
    routes = [{"upstream": "https://127.0.0.1:9", "tls": {"ca": str(tmp_path / "none.pem")}}]
    live = Live(tmp_path / "live", "", tls=tls, routes=routes)
    for command in (["serve"], ["config", "check"]):
        done = live.command(*command)
        assert done.returncode == 2
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert "tls.key" in said and "is not the key of the certificate" in said
        assert "routes[0].tls.ca" in said and "does not exist" in said


def test_a_file_that_cannot_be_read_is_reported(authority: Authority) -> None:
    pair = Pair(authority.issue("a.test").certificate, authority.folder / ("k" * 256))
    with pytest.raises(InvalidSettings, match="cannot be read: File n"):
        Certificate(Tls.model_validate(named(pair)))


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({"upstream": "http://a", "tls": {"verify": False}}, "no upstream here is https"),
        ({"upstream": "https://a", "tls": {"key": "k.pem"}}, "without a certificate"),
        ({"upstream": "https://a", "tls": {"ca": "c.pem", "verify": False}}, "verify: false"),
        ({"upstream": "https://a", "tls": {"server_name": "*.a"}}, "is not a single name"),
        ({"upstream": "https://a", "tls": {"server_name": "a:443"}}, "is not a single name"),
    ],
)
def test_upstream_tls_settings_without_effect_are_refused(
    route: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidSettings, match=said):
        settings_from({"routes": [route]})


def test_odd_tls_settings_are_a_warning() -> None:
    found = settings_from(
        {
            "tls": {"certificate": "c.pem"},
            "public_url": "http://a.test",
            "routes": [{"upstream": "https://a", "tls": {"verify": False}}],
        }
    )
    assert len(found.warnings) == 2
    assert (
        settings_from(
            {
                "listen": "127.0.0.1:8443",
                "tls": {"certificate": "c"},
                "routes": [{"upstream": "http://a"}],
            }
        ).public_origin
        == "https://127.0.0.1:8443"
    )
