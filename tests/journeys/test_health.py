"""`doorward health`: ok, or one line with the reason, whatever answers."""

from __future__ import annotations

import http.server
import json
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.waiting import PATIENCE_S, until

COMMAND = [str(Path(sys.executable).with_name("doorward")), "health", "-c"]
LATE = "timed out"


def configured(directory: Path, **keys: object) -> Path:
    values = {"routes": [{"upstream": "http://127.0.0.1:9"}], **keys}
    file = directory / "doorward.yaml"
    file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))
    return file


def health(file: Path) -> tuple[int, str, str]:
    """What the command says; it is run again if a busy machine answers later than it waits."""
    found: list[tuple[int, str, str]] = []

    def is_answered() -> bool:
        found.append(ask(file))
        return not found[-1][2].endswith(LATE)

    until(is_answered, "for an answer in time")
    return found[-1]


def ask(file: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, str(file)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@contextmanager
def answering(
    status: int,
    body: bytes,
    address: Any = ("127.0.0.1", 0),
    context: ssl.SSLContext | None = None,
) -> Iterator[Any]:
    """A server that gives this answer, over TLS if it has a context, and the requested paths."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "somebody"

    asked: list[str] = []
    kind = socketserver.UnixStreamServer if isinstance(address, str) else socketserver.TCPServer
    with kind(address, Answer) as server:
        server.asked = asked  # type: ignore[attr-defined]
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def listen_of(server: Any) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


def test_a_ready_server_is_ok(tmp_path: Path) -> None:
    with answering(200, b'{"status": "ready"}') as server:
        file = configured(tmp_path, admin_listen=listen_of(server))
        assert health(file) == (0, "ok", "")
        assert set(server.asked) == {"/readyz"}


def test_an_unready_server_is_reported_with_the_reason(tmp_path: Path) -> None:
    with answering(503, b'{"reason": "The database does not answer."}') as server:
        file = configured(tmp_path, admin_listen=listen_of(server))
        assert health(file) == (1, "", "not ready: The database does not answer.")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"reason":'])
def test_an_answer_of_another_program_is_not_ready(tmp_path: Path, body: bytes) -> None:
    with answering(500, body) as server:
        file = configured(tmp_path, admin_listen=listen_of(server))
        assert health(file) == (1, "", "not ready: it answered with status 500")


def test_a_missing_server_is_reported(tmp_path: Path) -> None:
    with answering(200, b"") as server:
        free = listen_of(server)
    status, _, said = health(configured(tmp_path, admin_listen=free))
    assert (status, said) == (1, f"nothing answers on {free}: connection refused")


def test_a_server_that_never_answers_is_reported_late(tmp_path: Path) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as silent:
        status, _, said = ask(configured(tmp_path, admin_listen=listen_of(silent)))
    assert status == 1 and said.endswith(LATE)


def test_without_an_admin_listener_the_main_one_is_asked(tmp_path: Path) -> None:
    with answering(200, b'{"status": "ok"}') as server:
        file = configured(tmp_path, admin_listen="off", listen=listen_of(server))
        assert health(file)[0] == 0
        assert set(server.asked) == {"/.doorward/healthz"}


def test_without_an_admin_listener_the_main_one_is_asked_over_tls_if_it_has_it(
    tmp_path: Path,
) -> None:
    """Its certificate has the name that users open, not that of this machine."""
    authority = Authority(tmp_path)
    pair = authority.issue("wiki.example.com")
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    with answering(200, b'{"status": "ok"}', context=authority.serving(pair)) as server:
        file = configured(tmp_path, admin_listen="off", listen=listen_of(server), tls=tls)
        assert health(file) == (0, "ok", "")
        assert set(server.asked) == {"/.doorward/healthz"}
    with answering(200, b'{"status": "ready"}') as server:
        file = configured(tmp_path, admin_listen=listen_of(server), tls=tls)
        assert health(file) == (0, "ok", "")


def test_a_unix_socket_is_asked_as_well(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with answering(200, b"{}", path) as server:
        assert health(configured(tmp_path, admin_listen=f"unix:{path}")) == (0, "ok", "")
        assert set(server.asked) == {"/readyz"}


def test_a_wrong_configuration_is_status_2(tmp_path: Path) -> None:
    assert health(configured(tmp_path, admin_lisen="off"))[0] == 2
