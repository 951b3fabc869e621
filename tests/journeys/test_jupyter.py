"""A real application that depends on its WebSocket: Jupyter's server behind Doorward.

Jupyter's own login is off: every user that Doorward allows can run code.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection
from websockets.typing import Origin

from tests.conftest import Start
from tests.support.live import PASSWORD, Live, config_user, free_port
from tests.support.programs import running, wait_until_answered
from tests.support.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("jupyter")
    port = free_port()
    options = {
        "ip": "127.0.0.1",
        "port": port,
        "port_retries": 0,
        "open_browser": False,
        "root_dir": os.fspath(folder),
        "allow_root": True,
        "allow_remote_access": True,
    }
    command = [sys.executable, "-m", "jupyter_server", "--IdentityProvider.token="]
    command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = os.environ | {name: os.fspath(folder / name.lower()) for name in places}
    log = folder / "jupyter.log"
    with running(command, log, folder, environment) as child:
        wait_until_answered(f"http://127.0.0.1:{port}/api", child, log)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def live(deploy: Start, jupyter: str) -> Live:
    return deploy(jupyter, users=[config_user()])


@pytest.fixture
def alice(live: Live) -> Iterator[httpx.Client]:
    """Alice's logged-in browser, with Jupyter's token against cross-site requests."""
    with httpx.Client(
        base_url=f"http://{live.host}", trust_env=False, timeout=PATIENCE_S
    ) as browser:
        login = {"username": "alice", "password": PASSWORD}
        assert browser.post("/xhr/login", json=login).status_code == 200
        browser.get("/tree")
        browser.headers["X-XSRFToken"] = browser.cookies["_xsrf"]
        yield browser


@pytest.fixture
def kernel(alice: httpx.Client) -> Iterator[str]:
    started = alice.post("/api/kernels", json={"name": "python3"})
    assert started.status_code == 201, started.text
    number: str = started.json()["id"]
    yield number
    alice.delete(f"/api/kernels/{number}")  # otherwise, it ends with Jupyter


def channels(live: Live, browser: httpx.Client, kernel: str, **more: Any) -> ClientConnection:
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    address = f"ws://{live.host}/api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
    headers = {"Cookie": cookies}
    return connect(
        address,
        additional_headers=headers,
        proxy=None,
        max_size=1 << 24,
        open_timeout=PATIENCE_S,
        **more,
    )


def run(socket: Connection, code: str) -> str:
    """The output of a cell."""
    number = uuid.uuid4().hex
    header = {
        "msg_id": number,
        "msg_type": "execute_request",
        "username": "",
        "session": number,
        "version": "5.3",
        "date": "2026-01-01T00:00:00Z",
    }
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    socket.send(json.dumps(message | {"channel": "shell", "buffers": []}))
    printed, deadline = "", time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = json.loads(socket.recv(timeout=PATIENCE_S))
        if answer["parent_header"].get("msg_id") != number:
            continue
        if answer["msg_type"] == "stream":
            printed += answer["content"]["text"]
        elif answer["msg_type"] == "error":
            pytest.fail(answer["content"]["evalue"])
        elif answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            return printed
    raise AssertionError("the cell did not end")


def test_a_kernel_runs_cells_through_the_proxy(
    live: Live, alice: httpx.Client, kernel: str
) -> None:
    with channels(live, alice, kernel, origin=Origin(f"http://{live.host}")) as socket:
        assert run(socket, "print(6 * 7)") == "42\n"
        assert run(socket, "print('x' * 2_000_000)") == "x" * 2_000_000 + "\n"
        assert run(socket, "import time\nfor n in range(3): print(n, flush=True); time.sleep(.1)")


def test_a_client_without_a_session_reaches_no_kernel(
    live: Live, alice: httpx.Client, kernel: str
) -> None:
    """CVE-2024-28179: the path of the WebSocket had no authentication."""
    with httpx.Client(
        base_url=f"http://{live.host}", trust_env=False, timeout=PATIENCE_S
    ) as stranger:
        assert stranger.get("/api/kernels").status_code == 401
        with pytest.raises(InvalidStatus) as refused, channels(live, stranger, kernel):
            pass
        assert refused.value.response.status_code == 401
    with pytest.raises(InvalidStatus) as refused:
        with channels(live, alice, kernel, origin=Origin("https://evil.example")):
            pass
    assert refused.value.response.status_code == 403


def test_a_logout_ends_the_conversation_with_the_kernel(
    live: Live, alice: httpx.Client, kernel: str
) -> None:
    with channels(live, alice, kernel) as socket:
        assert run(socket, "print('hello')") == "hello\n"
        assert alice.post("/xhr/logout").status_code == 204
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(timeout=PATIENCE_S)
