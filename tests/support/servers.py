"""The servers that Doorward runs under: its own, and any other one that speaks ASGI.

What each has to be told, so that an application sees and sends what it would under any other.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

OWN = "doorward"
FOREIGN = ("uvicorn", "hypercorn", "granian")
EVERY = (OWN, *FOREIGN)


def serve_command(server: str, config: Path, port: int) -> list[str]:
    """Serves a deployment on 127.0.0.1. Foreign servers find it by DOORWARD_CONFIG."""
    if server == OWN:
        return [os.fspath(Path(sys.executable).with_name(OWN)), "serve", "-c", os.fspath(config)]
    return [sys.executable, "-m", server, *_arguments(server, config, port)]


def _arguments(server: str, config: Path, port: int) -> list[str]:
    """Who is believed about a client's address, and what is said of dates, is Doorward's to say."""
    if server == "uvicorn":
        address = ["--host", "127.0.0.1", "--port", str(port)]
        # Without a bound both of these wait for clients that never go away.
        address += ["--timeout-graceful-shutdown", "5"]
        quiet = ["--no-proxy-headers", "--no-date-header", "--no-server-header", "--no-access-log"]
        return ["doorward.app:create_app", "--factory", *address, *quiet]
    if server == "hypercorn":
        file = config.with_name("hypercorn.toml")
        settings = "include_date_header = false\ninclude_server_header = false\n"
        # It closes a connection after a thousand requests, whatever it is doing.
        file.write_text(settings + "keep_alive_max_requests = 1000000000\n")
        in_process = ["--workers", "0"]
        address = ["--bind", f"127.0.0.1:{port}"]
        return ["doorward.app:create_app()", "--config", os.fspath(file), *address, *in_process]
    assert server == "granian"
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers-kill-timeout", "5"]
    return ["doorward.app:create_app", "--factory", "--interface", "asgi", *address]
