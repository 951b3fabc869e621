"""A stop: new connections are refused, streams end, requests may finish within the grace period,
and nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doorward.server.acceptor import EntryRequirements
from doorward.server.serving import Serving
from doorward.settings import LimitSettings
from uvloop import new_event_loop

from tests.server.test_workers import children
from tests.support.certificates import Authority
from tests.support.live import DOORWARD, Live
from tests.support.origin import OK, Origin
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Client, Wire, get

PUBLIC: dict[str, Any] = {"access": {"default": "public"}}
LONG = {"grace": "1h"}
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


def accepts(live: Live) -> bool:
    """Whether a new connection is accepted at the moment."""
    try:
        live.client().close()
    except ConnectionRefusedError:
        return False
    return True


def stop(live: Live) -> None:
    """Send the stop signal, and wait until connections are refused."""
    os.kill(live.pid, signal.SIGTERM)
    until(lambda: not accepts(live), "for connections to be refused")


def ends(live: Live) -> int:
    assert live.process is not None
    return live.process.wait(PATIENCE_S)


def holding(*said: bytes) -> Any:
    """An origin that answers the first request, so that the second one uses the fast lane, and
    answers that with only these bytes."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        wire.head()
        for data in said:
            wire.send(data)
        wire.rest()

    return script


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("place", ["tcp", "unix"])
def test_new_connections_are_refused_while_requests_under_way_are_answered(
    tmp_path: Path, workers: int, place: str
) -> None:
    let = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        assert let.wait(PATIENCE_S)
        wire.send(OK)

    more: dict[str, Any] = {"workers": workers, "shutdown": LONG}
    if place == "unix":
        more |= {"listen": f"unix:{tmp_path / 's'}", "public_url": "http://app.test"}
    with Origin((script,)) as origin:
        live = Live(tmp_path, origin.url, **PUBLIC, **more)
        if place == "unix":
            live.place = tmp_path / "s"
        with live, live.client() as client:
            client.send(get("/", host=live.host))
            until(lambda: origin.heads)
            stop(live)
            assert not accepts(live), "and stays so"
            let.set()
            got = client.answer()
            assert got.body == b"ok"
            if workers == 1:  # of several processes, one may answer before the stop has reached it
                assert got.values(b"connection") == [b"close"]
            assert ends(live) == 0
            assert "Traceback" not in live.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("fast_lane", [True, False])
def test_an_event_stream_ends_at_once_and_whole(
    tmp_path: Path, workers: int, fast_lane: bool
) -> None:
    """Its client reconnects to another server."""
    event = b"6\r\ndata:1\r\n"
    with (
        Origin((holding(EVENTS, event),)) as origin,
        Live(
            tmp_path, origin.url, workers=workers, fast_lane=fast_lane, shutdown=LONG, **PUBLIC
        ) as live,
        live.client() as client,
    ):
        assert client.get("/", host=live.host).status == 200
        client.send(get("/", host=live.host))
        client.until(event)
        os.kill(live.pid, signal.SIGTERM)
        assert client.rest() == b"0\r\n\r\n"
        assert ends(live) == 0
        until(origin.is_done, "for the upstream to see it, too")
        assert "Traceback" not in live.log.read_text()


def test_a_tunnel_ends_at_once(tmp_path: Path) -> None:
    with (
        Origin((holding(SWITCHED, b"hello"),)) as origin,
        Live(tmp_path, origin.url, shutdown=LONG, **PUBLIC) as live,
        live.client() as client,
    ):
        assert client.get("/", host=live.host).status == 200
        client.send(get("/", *UPGRADE, host=live.host))
        client.until(b"hello")
        os.kill(live.pid, signal.SIGTERM)
        assert client.is_closed()
        assert ends(live) == 0
        until(origin.is_done)
        assert "Traceback" not in live.log.read_text()


@pytest.mark.parametrize("fast_lane", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_is_not_answered_in_time_gets_503(
    tmp_path: Path, fast_lane: bool, method: str
) -> None:
    stop = {"grace": "200ms"}  # the answer never comes
    values = {"fast_lane": fast_lane, "log": {"access": True}, "shutdown": stop}
    with (
        Origin((holding(),)) as origin,
        Live(tmp_path, origin.url, **PUBLIC, **values) as live,
        live.client() as client,
    ):
        assert client.get("/", host=live.host).status == 200
        client.send(get("/", host=live.host).replace(b"GET", method.encode(), 1))
        until(lambda: len(origin.heads) == 2)
        os.kill(live.pid, signal.SIGTERM)
        got = client.answer()
        assert got.status == 503 and got.values(b"connection") == [b"close"]
        assert got.values(b"retry-after") and client.is_closed()
        assert ends(live) == 0
        said = live.log.read_text()
        assert "Traceback" not in said
        assert '"status": 503' in said and '"reason": "server_stopping"' in said


@pytest.mark.parametrize("fast_lane", [True, False])
def test_an_answer_that_does_not_end_in_time_is_cut(tmp_path: Path, fast_lane: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"
    stop = {"grace": "200ms"}  # the answer never ends
    with (
        Origin((holding(head),)) as origin,
        Live(tmp_path, origin.url, fast_lane=fast_lane, shutdown=stop, **PUBLIC) as live,
        live.client() as client,
    ):
        assert client.get("/", host=live.host).status == 200
        client.send(get("/", host=live.host))
        client.until(b"hel")
        os.kill(live.pid, signal.SIGTERM)
        assert client.rest() == b""
        assert ends(live) == 0
        assert "Traceback" not in live.log.read_text()


ANSWER_BYTES = 32 * 1024 * 1024  # more than the system keeps for a connection


async def answer_at_once(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"%d" % ANSWER_BYTES)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(ANSWER_BYTES)})


async def stop_while_a_client_reads(authority: Authority | None) -> int:
    """How much of its body a client gets that begins to read an answer during the stop."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    tls, trusts = None, None
    if authority is not None:
        tls = {"ssl": authority.serving(authority.issue("127.0.0.1"))}
        trusts = authority.believing()
    serving = Serving(listener, answer_at_once, LimitSettings(), EntryRequirements(5.0, tls))
    reader, writer = await asyncio.open_connection(*listener.getsockname(), ssl=trusts, limit=1024)
    writer.write(get("/", "Connection: close", host="app.test"))
    await reader.readuntil(b"\r\n\r\n")
    stopping = asyncio.ensure_future(serving.end(3600.0, asyncio.Event()))
    for _ in range(20):
        await asyncio.sleep(0)
    body = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            body += piece
    writer.close()
    await stopping
    return len(body)


@pytest.mark.outside
@pytest.mark.parametrize("over", ["tcp", "tls"])
def test_an_answer_that_a_client_still_reads_is_sent_whole(tmp_path: Path, over: str) -> None:
    """The server has written all of it and closes the connection, but it is not sent yet."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        authority = Authority(tmp_path) if over == "tls" else None
        assert runner.run(stop_while_a_client_reads(authority)) == ANSWER_BYTES


def test_by_default_a_stop_takes_less_than_ten_seconds(tmp_path: Path) -> None:
    """The limit of `docker stop`, for the grace period and everything after it."""
    from doorward.settings import settings_from
    from doorward.start.serve import AFTER_GRACE_S

    grace = settings_from({"routes": [{"upstream": "http://a"}]}).shutdown.grace
    assert grace.total_seconds() + AFTER_GRACE_S < 10


def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    stop = {"grace": "100ms"}  # the worker never stops
    with Live(tmp_path, "http://127.0.0.1:9", workers=2, shutdown=stop) as live:
        stuck = min(children(live.pid))
        os.kill(stuck, signal.SIGSTOP)
        until(
            lambda: "State:\tT" in Path(f"/proc/{stuck}/status").read_text(), "for it to be stuck"
        )
        os.kill(live.pid, signal.SIGTERM)
        assert ends(live) == 1
        live.until_it_says("worker_killed")


# Signals


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hang_up_is_ignored_and_logged(tmp_path: Path, workers: int) -> None:
    with Live(tmp_path, "http://127.0.0.1:9", workers=workers) as live:
        until(lambda: told(live, '"listening"') == workers, "for every worker")
        processes = [live.pid, *(children(live.pid) if workers > 1 else ())]
        for number, process in enumerate(processes, 1):
            os.kill(process, signal.SIGHUP)
            until(lambda number=number: told(live, "signal_ignored") == number)  # type: ignore[misc]
        assert live.get("/.doorward/healthz").status == 200
        assert workers == 1 or children(live.pid) == set(processes[1:])
        assert live.stop() == 0


def told(live: Live, event: str) -> int:
    return sum(event in line for line in live.lines())


def test_ctrl_c_in_a_terminal_gives_workers_their_grace_period(tmp_path: Path) -> None:
    """The signal reaches the parent and the workers, which must not count as two."""
    let = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        assert let.wait(PATIENCE_S)
        wire.send(OK)

    with (
        Origin((script,)) as origin,
        Live(tmp_path, origin.url, workers=2, shutdown=LONG, **PUBLIC) as live,
        live.client() as client,
    ):
        client.send(get("/", host=live.host))
        until(lambda: origin.heads)
        for process in (*children(live.pid), live.pid):
            os.kill(process, signal.SIGINT)
        until(lambda: not accepts(live))
        let.set()
        assert client.answer().body == b"ok"
        assert ends(live) == 0


# Foreign child processes


@contextlib.contextmanager
def with_a_child(folder: Path, **values: Any) -> Iterator[tuple[Live, int]]:
    """A server that has a foreign child process, as the first process of a container may; and the
    id of that process, which ends with its standard input."""
    live = Live(folder, "http://127.0.0.1:9", **values)
    reading, writing = os.pipe()
    command = 'exec 3<&0; cat <&3 >"$1" & echo $! >"$1.pid"; shift; exec "$@" 3<&-'
    line = ["sh", "-c", command, "sh", str(folder / "child")]
    line += [os.fspath(DOORWARD), "serve", "-c", os.fspath(live.config)]
    with live.log.open("ab") as log:
        live.process = subprocess.Popen(line, stdin=reading, stdout=log, stderr=log, cwd=folder)
    os.close(reading)
    try:
        live._wait_until_ready()
        yield live, int((folder / "child.pid").read_text())
    finally:
        with contextlib.suppress(OSError):
            os.close(writing)
        live.__exit__()


@pytest.mark.fault(
    "a child that is no worker dies",
    "a server that serves",
    "the server; the child is reaped",
    "nothing",
    "nothing",
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_child_that_is_no_worker_is_reaped_and_ignored(tmp_path: Path, workers: int) -> None:
    with with_a_child(tmp_path, workers=workers) as (live, child):
        assert child in children(live.pid)
        os.kill(child, signal.SIGKILL)
        until(lambda: child not in children(live.pid), "for it to be reaped")
        assert live.get("/.doorward/healthz").status == 200
        assert "worker_died" not in live.log.read_text()
        assert live.stop() == 0


def test_a_stop_does_not_wait_for_the_pause_before_a_worker_is_started_again(
    tmp_path: Path,
) -> None:
    with Live(tmp_path, "http://127.0.0.1:9", workers=2) as live:
        for number in range(1, 4):  # each is replaced after a longer delay
            os.kill(min(children(live.pid)), signal.SIGKILL)
            until(lambda number=number: told(live, "worker_died") == number)  # type: ignore[misc]
            if number < 3:
                until(lambda: len(children(live.pid)) == 2)
        assert live.stop() == 0
        assert told(live, "worker_died") == 3


# The listen queue


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", ["tcp", "unix"])
def test_the_listen_queue_has_the_expected_length(tmp_path: Path, workers: int, place: str) -> None:
    most = min(2048, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    more: dict[str, Any] = {"workers": workers}
    if place == "unix":
        more |= {"listen": f"unix:{tmp_path / 's'}", "public_url": "http://app.test"}
    live = Live(tmp_path, "http://127.0.0.1:9", **more)
    if place == "unix":
        live.place = tmp_path / "s"
    with live:
        flags, name = ("-ltnH", live.host) if place == "tcp" else ("-lxH", str(tmp_path / "s"))
        rows = subprocess.run(["ss", flags], capture_output=True, text=True, check=True).stdout
        row = next(row.split() for row in rows.splitlines() if name in row.split())
        assert int(row[2 if place == "tcp" else 3]) == most


def test_refused_sockets_accept_no_connection(tmp_path: Path) -> None:
    """Whichever process has them open."""
    from doorward.server.listeners import Sockets, bind
    from doorward.settings.addresses import Listen

    with bind(Listen(host="127.0.0.1", port=0), "listen") as sock:
        copy = sock.dup()
        Sockets(sock, None).refuse()
        with copy, pytest.raises(ConnectionRefusedError):
            socket.create_connection(copy.getsockname())


def test_a_socket_file_of_the_next_server_is_left_alone(tmp_path: Path) -> None:
    from doorward.server.listeners import open_listeners
    from doorward.settings import settings_from

    path = tmp_path / "s"
    values = {
        "listen": f"unix:{path}",
        "public_url": "http://a",
        "admin_listen": "off",
        "routes": [{"upstream": "http://a"}],
    }
    with open_listeners(settings_from(values, tmp_path)) as first:
        first.refuse()
        with open_listeners(settings_from(values, tmp_path)):
            first.main.close()
            with contextlib.suppress(OSError), Client(path):
                pass
        assert not path.exists()
        path.touch()
    assert path.exists()
