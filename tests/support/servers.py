"""The servers that Doorward runs under: its own, and other ASGI servers.

Contains the options with which all of them behave alike towards the application.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

OWN = "doorward"
FOREIGN = ("uvicorn", "hypercorn", "granian")
EVERY = (OWN, *FOREIGN)


def serve_command(server: str, config: Path, port: int) -> list[str]:
    """The command that serves a deployment on 127.0.0.1. Other servers find it by
    DOORWARD_CONFIG."""
    if server == OWN:
        return [os.fspath(Path(sys.executable).with_name(OWN)), "serve", "-c", os.fspath(config)]
    return [sys.executable, "-m", server, *_arguments(server, config, port)]


def _arguments(server: str, config: Path, port: int) -> list[str]:
    """Doorward, not the server, decides which forwarded addresses to trust, and adds the Date."""
    if server == "uvicorn":
        address = ["--host", "127.0.0.1", "--port", str(port)]
        # Without a limit, both of these wait for clients that never leave.
        address += ["--timeout-graceful-shutdown", "5"]
        quiet = ["--no-proxy-headers", "--no-date-header", "--no-server-header", "--no-access-log"]
        # With httptools, trailers become headers of the request.
        parser = ["--http", "h11"]
        return ["doorward.app:create_app", "--factory", *address, *quiet, *parser]
    if server == "hypercorn":
        file = config.with_name("hypercorn.toml")
        settings = "include_date_header = false\ninclude_server_header = false\n"
        # By default, it closes a connection after a thousand requests, even during one.
        file.write_text(settings + "keep_alive_max_requests = 1000000000\n")
        in_process = ["--workers", "0"]
        address = ["--bind", f"127.0.0.1:{port}"]
        return ["doorward.app:create_app()", "--config", os.fspath(file), *address, *in_process]
    assert server == "granian"
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers-kill-timeout", "5"]
    return ["doorward.app:create_app", "--factory", "--interface", "asgi", *address]
