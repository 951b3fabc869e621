"""Starting and stopping: listeners, addresses that cannot be used, and open requests."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.live import Live
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Client, Wire, get


def serve(live: Live) -> str:
    """The output of a server that cannot start: one line, with exit status 2."""
    done = live.command("serve")
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("key", ["listen", "admin_listen"])
def test_an_address_in_use_is_one_sentence_and_exit_2(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        values = {key: address, "public_url": "http://app.test"}
        said = serve(Live(tmp_path, "http://127.0.0.1:9", **values))
    line = next(line for line in said.splitlines() if key in line)
    assert address in line and "in use" in line
    assert len([line for line in said.splitlines() if "cannot listen" in line]) == 1


def test_a_file_in_the_place_of_the_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    values = {"listen": f"unix:{path}", "public_url": "http://app.test"}
    assert "cannot listen" in serve(Live(tmp_path, "http://127.0.0.1:9", **values))
    assert path.read_text() == "data"


def test_a_unix_socket_is_created_and_removed(deploy: Start, tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    with socket.socket(socket.AF_UNIX) as forgotten:
        forgotten.bind(os.fspath(path))
    with Origin((answering(OK),)) as origin:
        live = Live(
            tmp_path,
            origin.url,
            listen=f"unix:{path}",
            public_url="http://app.test",
            access={"default": "public"},
        )
        live.place = path
        with live:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            with Client(path) as client:
                got = client.get("/", "X-Forwarded-For: 203.0.113.9")
                assert got.body == b"ok"
            assert b"203.0.113.9" not in origin.heads[0]
            assert "cannot listen" in serve(live), "one that is served is not taken over"
        assert live.process is not None and live.process.returncode == 0
    assert not path.exists()


@pytest.fixture(scope="module")
def live(deploy: Start) -> Live:
    return deploy("http://127.0.0.1:9")


def test_the_admin_listener_reports_health_and_readiness(live: Live) -> None:
    assert live.admin("/healthz").status_code == 200
    assert live.admin("/readyz").status_code == 200
    assert live.admin("/anything").status_code == 404


def test_the_admin_listeners_pages_are_not_public(live: Live) -> None:
    """CVE-2022-24797: debug and metrics handlers were on the public listener."""
    for path in ("/healthz", "/readyz", "/metrics"):
        assert live.get(path).status == 401


def test_the_admin_listener_refuses_post(live: Live) -> None:
    """CVE-2026-27589, CVE-2018-14505: it never changes anything."""
    import httpx

    url = f"http://127.0.0.1:{live.admin_port}/readyz"
    assert (
        httpx.post(url, headers={"Origin": "http://evil.test"}, timeout=PATIENCE_S).status_code
        == 405
    )


def test_the_health_command_asks_the_admin_listener(live: Live) -> None:
    until(lambda: live.command("health").returncode == 0)  # it waits for half a second


class Slow:
    """An origin that answers when released."""

    def __init__(self) -> None:
        self.asked, self.let = threading.Event(), threading.Event()

    def __call__(self, wire: Wire) -> None:
        wire.head()
        self.asked.set()
        assert self.let.wait(PATIENCE_S)
        wire.send(OK)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_is_answered_before_the_server_stops(
    tmp_path: Path, number: signal.Signals
) -> None:
    slow = Slow()
    with (
        Origin((slow,)) as origin,
        Live(tmp_path, origin.url, access={"default": "public"}) as live,
        live.client() as idle,
        live.client() as client,
    ):
        assert idle.get("/.doorward/healthz").status == 200
        client.send(get("/", host=live.host))
        assert slow.asked.wait(PATIENCE_S)
        os.kill(live.pid, number)
        assert idle.is_closed(), "idle connections are closed at once"
        until(lambda: not accepts(live), "for the listener to close")
        slow.let.set()
        got = client.answer()
        assert (got.body, got.values(b"connection")) == (b"ok", [b"close"])
        assert client.is_closed()
        assert live.process is not None
        assert live.process.wait(PATIENCE_S) == 0


def accepts(live: Live) -> bool:
    try:
        live.client().close()
    except OSError:
        return False
    return True


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    slow = Slow()
    with (
        Origin((slow,)) as origin,
        Live(tmp_path, origin.url, access={"default": "public"}, shutdown={"grace": "1h"}) as live,
        live.client() as client,
    ):
        client.send(get("/", host=live.host))
        assert slow.asked.wait(PATIENCE_S)
        assert live.process is not None
        os.kill(live.pid, signal.SIGTERM)
        until(lambda: not accepts(live))
        os.kill(live.pid, signal.SIGTERM)
        assert live.process.wait(PATIENCE_S) == 0  # the first signal alone would wait for an hour
        slow.let.set()


def test_it_listens_again_on_its_port_at_once(tmp_path: Path) -> None:
    with Live(tmp_path, "http://127.0.0.1:9") as live:
        with live.client() as client:
            assert client.get("/.doorward/healthz").status == 200
            live.stop()
        live.start()
        assert live.get("/.doorward/healthz").status == 200
