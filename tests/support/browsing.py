"""A running Doorward for a browser: an application that says who asks, and some rules."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.live import Live

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


class Application(BaseHTTPRequestHandler):
    """Greets by name; a POST tells what came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.greet("")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.greet(f"<p>You sent {body.decode()}</p>")

    def greet(self, more: str) -> None:
        name = self.headers.get("Remote-User", "nobody")
        form = '<form method=post action=/wiki/save><input name=text value="a & b"><button>Save'
        page = f"<!doctype html><title>app</title><h1>Hello, {name}</h1>{more}{form}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(folder: Path, **values: Any) -> Iterator[Live]:
    """Doorward before that application; `/strict/` wants a second factor."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chosen = {
            "access": {"rules": [{"path": "/strict/*", "require": "two_factor"}]},
            "second_factor": {"remember_browser": "30d"},
        }
        with Live(
            folder, f"http://127.0.0.1:{server.server_address[1]}", **(chosen | values)
        ) as it:
            yield it
        server.shutdown()
