"""Knows the TLS files: reads them into contexts, and reports which of them cannot be used and why.
It must not listen or connect."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from doorward.settings.faults import Fault, InvalidSettings
from doorward.settings.models import Settings
from doorward.settings.tls import Tls, UpstreamTls

_READABLE = "let the user that Doorward runs as read it"
# A certificate, its chain and a key are a few KiB; a system's file of authorities is 250 KiB.
_LARGEST_BYTES = 4 * 1024 * 1024
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


class _UnusableCertificate(Exception):
    """A file that cannot be used, with the setting that names it and the reason."""

    def __init__(self, key: str, path: Path, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.fault = path, message, hint


def check_certificates(settings: Settings) -> None:
    """Read every TLS file once. Raises InvalidSettings with all files that cannot be used."""
    faults: list[Fault] = []
    if settings.tls:
        with _collect_faults("tls", faults):
            _build_listening(settings.tls)
    for number, route in enumerate(settings.routes):
        if route.tls.ca or route.tls.certificate:  # else there is no file to read
            with _collect_faults(f"routes[{number}].tls", faults):
                _build_connecting(route.tls)
    if faults:
        raise InvalidSettings(faults)


def listening_context(tls: Tls) -> ssl.SSLContext:
    """The context for clients: TLS 1.2 or later, HTTP/1.1. Raises InvalidSettings."""
    return _raise_faults("tls", lambda: _build_listening(tls))


def connecting_context(tls: UpstreamTls) -> ssl.SSLContext:
    """The context for upstreams. Raises InvalidSettings."""
    return _raise_faults("routes: tls", lambda: _build_connecting(tls))


def _raise_faults(key: str, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    faults: list[Fault] = []
    with _collect_faults(key, faults):
        return make()
    raise InvalidSettings(faults)


@contextlib.contextmanager
def _collect_faults(key: str, faults: list[Fault]) -> Iterator[None]:
    try:
        yield
    except _UnusableCertificate as error:
        path, message, hint = error.fault
        faults.append(Fault(f"{key}.{error.key}", None, f"{path} {message}", hint))


def _build_listening(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # a renegotiation costs the server ten times as much as the client
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, tls.certificate, tls.key_)
    return context


def _build_connecting(tls: UpstreamTls) -> ssl.SSLContext:
    context = _build_trusting(tls.ca) if tls.ca else ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        _load_chain(context, tls.certificate, tls.key_)
    return context


def _build_trusting(path: Path) -> ssl.SSLContext:
    """A context that trusts only these authorities."""
    data = _read("ca", path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=data.decode("latin-1"))
    except (ssl.SSLError, ValueError):
        hint = "it must be a PEM file with at least one"
        raise _UnusableCertificate("ca", path, "contains no certificate", hint) from None
    return context


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    if b"-----BEGIN CERTIFICATE-----" not in _read("certificate", certificate):
        raise _UnusableCertificate(
            "certificate", certificate, "contains no certificate", "it must be a PEM file"
        )
    place, path = ("key", key) if key else ("certificate", certificate)
    if b"PRIVATE KEY-----" not in _read(place, path):
        hint = None if key else "name the file of the key"
        raise _UnusableCertificate(place, path, "contains no private key", hint)
    try:
        # Without a password callback, OpenSSL would ask on the terminal.
        context.load_cert_chain(certificate, key, password=_refuse_to_tell)
    except _Encrypted:
        hint = "remove the password: openssl pkey -in FILE -out NEW"
        raise _UnusableCertificate(place, path, "is protected by a password", hint) from None
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            hint = "name a certificate and its own key"
            raise _UnusableCertificate(
                place, path, "is not the key of the certificate", hint
            ) from None
        word = (error.reason or "it is damaged").replace("_", " ").lower()
        raise _UnusableCertificate("certificate", certificate, f"cannot be used: {word}") from None
    except OSError as error:
        raise _UnusableCertificate(
            place, path, f"cannot be read: {error.strerror}", _READABLE
        ) from None


class _Encrypted(Exception):
    pass


def _refuse_to_tell() -> str:
    raise _Encrypted


def _read(key: str, path: Path) -> bytes:
    try:
        if not path.exists():
            raise _UnusableCertificate(key, path, "does not exist")
        if not path.is_file():  # reading a named pipe would block the start forever
            raise _UnusableCertificate(key, path, "is not a file")
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except OSError as error:
        raise _UnusableCertificate(
            key, path, f"cannot be read: {error.strerror}", _READABLE
        ) from None
