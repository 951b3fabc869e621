"""A Git server: git's own CGI program behind a WSGI application, as on old web servers."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

# The variables of a request for a CGI program (RFC 3875 4.1).
_TOLD = ("REQUEST_METHOD", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "PATH_INFO")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing; see `requests`."""


class GitServer:
    """Repositories under `folder`. `requests` has each request's environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[dict[str, Any]] = []
        self.port = 0

    def add(self, name: str) -> None:
        """Create an empty repository to which every named user can push."""
        path = self.folder / name
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        self.requests.append(dict(environ))
        cgi = {name: environ[name] for name in _TOLD if environ.get(name)}
        cgi |= {name: str(value) for name, value in environ.items() if name.startswith("HTTP_")}
        cgi |= {
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": environ.get("HTTP_REMOTE_USER", ""),
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "PATH": os.environ["PATH"],
        }
        body = _read_body(environ)
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=cgi, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        pairs = [line.decode().split(": ", 1) for line in head.split(b"\r\n")]
        headers = [(name, value) for name, value in pairs if name.lower() != "status"]
        status = next((value for name, value in pairs if name.lower() == "status"), "200 OK")
        start_response(status, headers)
        return [content]


def _read_body(environ: dict[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    if environ.get("HTTP_TRANSFER_ENCODING") != "chunked":
        return bytes(stream.read(int(environ.get("CONTENT_LENGTH") or 0)))
    pieces = []
    while size := int(stream.readline(), 16):
        pieces.append(stream.read(size))
        stream.readline()
    stream.readline()  # the line after the last chunk: git sends no trailers
    return b"".join(pieces)


@contextmanager
def serving(folder: Path) -> Iterator[GitServer]:
    application = GitServer(folder)
    with make_server("127.0.0.1", 0, application, _Server, _Quiet) as server:
        application.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield application
        finally:
            server.shutdown()
