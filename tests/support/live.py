"""Doorward as a process: started on free ports, polled until it answers, stopped, killed.

Its commands also run as processes, with the same file.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import yaml
from argon2 import PasswordHasher
from doorward.cli.main import app
from typer.testing import CliRunner

from tests.support.servers import OWN, serve_command
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Answer, Client, Place

DOORWARD = Path(sys.executable).with_name("doorward")
READY_WITHIN_S = 60.0
PASSWORD = "correct horse battery staple"
# The cheapest hash, because the cost of verifying does not matter to these tests.
CHEAP_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


# A client of a test may connect, and then wait for a command before it says something.
PATIENT_LIMITS = {"header_timeout": "1h", "body_timeout": "1h"}

# Below the ephemeral ports, so that no connection takes a free port in the meantime. Concurrent
# test processes begin far apart.
PORTS = range(10_240, 32_000)
_tried = itertools.count(os.getpid() * 997)


def free_port() -> int:
    """A port without a listener, which is not returned again soon."""
    for number in itertools.islice(_tried, len(PORTS)):
        port = PORTS[number % len(PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Live:
    """One deployment: a folder with its file and its data, and the server while it runs."""

    def __init__(self, folder: Path, upstream: str, **values: Any) -> None:
        """`values` are settings, except for `server`, which is one of `support.servers`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.server: str = values.pop("server", OWN)
        self.port, self.admin_port = free_port(), free_port()
        self.place: Place = ("127.0.0.1", self.port)
        self.settings: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "admin_listen": f"127.0.0.1:{self.admin_port}",
            "data_dir": str(folder / "data"),
            "routes": [{"upstream": upstream}],
            "dialects": {"xhr": {}},
        } | values
        self.settings["limits"] = PATIENT_LIMITS | self.settings.get("limits", {})
        self.config = folder / "doorward.yaml"
        self.config.write_text(yaml.safe_dump(self.settings))
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.tls: ssl.SSLContext | None = None  # for clients of a deployment with TLS

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> Live:
        command = self.command_line()
        environment = os.environ | {"DOORWARD_CONFIG": os.fspath(self.config)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,  # some servers have several processes
            )
        self._wait_until_ready()
        return self

    def command_line(self) -> list[str]:
        return serve_command(self.server, self.config, self.port)

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                with self.client() as client:
                    if client.get("/.doorward/healthz").status == 200:
                        return
            except OSError:
                time.sleep(0.02)  # a process starts in real time
        raise AssertionError(f"it did not start; the log says:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> int:
        """The exit status after SIGTERM."""
        assert self.process is not None
        self.process.terminate()
        return self._wait()

    def kill(self) -> None:
        """End every process of the server at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> int:
        assert self.process is not None
        try:
            return self.process.wait(timeout=PATIENCE_S)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def __enter__(self) -> Live:
        return self.start()

    def __exit__(self, *failure: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    # Its output

    def lines(self) -> list[str]:
        """The complete lines of its log."""
        return self.log.read_text().split("\n")[:-1]

    def until_it_says(self, words: str) -> None:
        until(lambda: any(words in line for line in self.lines()), f"for {words} in the log")

    # Clients

    def client(self, **options: Any) -> Client:
        return Client(self.place, tls=self.tls, **options)

    def get(self, target: str = "/", *lines: str) -> Answer:
        with self.client() as client:
            return client.get(target, *lines, host=self.host)

    def login(self, name: str = "alice", password: str = PASSWORD) -> str:
        """The Cookie line of a new session."""
        body = json.dumps({"username": name, "password": password}).encode()
        head = (
            f"POST /xhr/login HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with self.client() as client:
            answer = client.ask(head.encode() + body)
        assert answer.status == 200, answer
        line = answer.values(b"set-cookie")[-1]  # cookies before it are not the session's
        return "Cookie: " + line.partition(b";")[0].decode()

    def command(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [os.fspath(DOORWARD), *words, "-c", os.fspath(self.config)]
        return subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=60)

    def add_user(self, name: str = "alice", *words: str) -> None:
        """Add a user in this process, which saves starting an interpreter, with the cheapest
        hash."""
        add = ["user", "add", name, "--password-stdin", *words, "-c", os.fspath(self.config)]
        with ThreadPoolExecutor(1) as thread:  # the command needs its own event loop
            done = thread.submit(CliRunner().invoke, app, add, input=PASSWORD + "\n").result()
        assert done.exit_code == 0, done.output

    def admin(self, path: str) -> httpx.Response:
        return httpx.get(
            f"http://127.0.0.1:{self.admin_port}{path}", trust_env=False, timeout=PATIENCE_S
        )

    def resident_kib(self) -> int:
        """The process's resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


def config_user(name: str = "alice", **more: Any) -> dict[str, Any]:
    """A user of the configuration file, whose password is PASSWORD."""
    return {"username": name, "password_hash": CHEAP_HASH, **more}
