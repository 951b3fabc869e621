"""An application on the standard library's server, correct or with one fault."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ETAG = '"v1"'


@dataclass
class Habits:
    """How a server behaves. `marks`: the characters that it reads as a hyphen in a header's
    name."""

    clock_ahead_s: float = 0.0
    marks: str = "-"
    ignores_parameters: bool = False
    decodes_twice: bool = False
    obeys_override: bool = False
    # For a path, a status and headers to answer instead.
    answers: Mapping[str, tuple[int, Mapping[str, str]]] | None = None


@contextmanager
def application(
    habits: Habits | None = None,
    place: tuple[str, int] = ("127.0.0.1", 0),
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """Serve `/` and `/health` at this address; its port."""

    class Handler(_Handler):
        has = habits or Habits()

    server = ThreadingHTTPServer(place, Handler)
    server.handle_error = lambda *failure: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    has = Habits()
    protocol_version = "HTTP/1.1"

    def log_message(self, *about: object) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + self.has.clock_ahead_s, usegmt=True)

    def do_GET(self) -> None:
        path = self._read_path()
        if self.has.answers is not None and path in self.has.answers:
            status, headers = self.has.answers[path]
            self._answer(status, b"", headers)
        elif path not in ("/", "/health"):
            self._answer(404, b"no")
        elif self._header("if-none-match") == ETAG:
            self._answer(304, b"")
        elif self.has.obeys_override and self._header("x-http-method-override") == "HEAD":
            self._answer(200, b"")
        else:
            self._answer(200, b"here", {"ETag": ETAG})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.do_GET()

    def _read_path(self) -> str:
        path = self.path.partition("?")[0]
        if self.has.ignores_parameters:
            path = path.partition(";")[0]
        if self.has.decodes_twice:
            path = path.replace("%2568", "h")
        return path

    def _header(self, name: str) -> str | None:
        for key, value in self.headers.items():
            folded = "".join("-" if each in self.has.marks else each for each in key.lower())
            if folded == name:
                return value
        return None

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
