"""Connections before their first request: counted from `accept` on, with one deadline, and answered
if the limit is reached or there is no descriptor."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from doorward.server.limits import OTHER_DESCRIPTORS, fit_descriptors
from doorward.settings import settings_from

from tests.server.test_proxy_protocol import LINE
from tests.support.certificates import Authority
from tests.support.live import DOORWARD, Live
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import until
from tests.support.wire import Client, get

HEALTH = get("/.doorward/healthz")
LIMITS = {"connections": 20, "header_timeout": "1h"}


def live_with(folder: Path, entrance: str, **more: Any) -> Live:
    """A deployment whose clients connect by `entrance`: plain, tls or proxy (with and without
    TLS)."""
    values: dict[str, Any] = {"limits": LIMITS, "access": {"default": "public"}} | more
    authority = Authority(folder / "tls")
    if "tls" in entrance:
        pair = authority.issue("127.0.0.1")
        values["tls"] = {"certificate": str(pair.certificate), "key": str(pair.key)}
    if "proxy" in entrance:
        values |= {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1/32"]}

    class Entered(Live):
        def client(self, **options: Any) -> Client:
            client = Client(self.place, **options)
            if "proxy" in entrance:
                client.send(LINE)
            if "tls" in entrance:
                context = authority.believing()
                client.sock = context.wrap_socket(client.sock, server_hostname="127.0.0.1")
            return client

    return Entered(folder / "live", "http://127.0.0.1:9", **values)


def is_served(live: Live) -> bool:
    try:
        with live.client() as client:
            return client.ask(HEALTH).status == 200
    except OSError:
        return False


def descriptors(live: Live) -> int:
    return len(list(Path(f"/proc/{live.pid}/fd").iterdir()))


def connected(stack: ExitStack, live: Live, count: int) -> list[Client]:
    return [stack.enter_context(Client(live.place)) for _ in range(count)]


ENTRANCES = ["plain", "tls", "proxy", "proxy+tls"]
STARTS = {
    "plain": b"GET / HT",
    "tls": b"\x16\x03\x01\x02\x00\x01",
    "proxy": LINE[:9],
    "proxy+tls": LINE + b"\x16\x03\x01",
}


# If the server aborts a handshake, Python's socket object is left to the garbage collector.
handshakes_are_cut = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@handshakes_are_cut
@pytest.mark.parametrize("says_something", [False, True], ids=["silent", "begun"])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_connections_without_a_request_are_counted(
    tmp_path: Path, entrance: str, says_something: bool
) -> None:
    with live_with(tmp_path, entrance) as live, ExitStack() as stack:
        before = descriptors(live)
        clients = beginning(stack, live, 300, STARTS[entrance] if says_something else b"")
        assert not is_served(live), "those that are silent take every place"
        assert descriptors(live) <= before + 20 + 64 + 4, "and some are told so"
        until(lambda: descriptors(live) <= before + 20, "for the others to be gone")
        for client in clients:
            client.close()
        until(lambda: is_served(live), "for the places to be free")
        assert "Traceback" not in live.log.read_text()


@handshakes_are_cut
@pytest.mark.parametrize("says_something", [False, True], ids=["silent", "begun"])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_connections_without_a_request_are_closed_at_the_deadline(
    tmp_path: Path, entrance: str, says_something: bool
) -> None:
    limits = LIMITS | {"header_timeout": "2s"}  # the test waits until it is over
    with live_with(tmp_path, entrance, limits=limits) as live, ExitStack() as stack:
        for client in beginning(stack, live, 300, STARTS[entrance] if says_something else b""):
            client.rest()  # the server closes all of them, the first ones because of the deadline
        until(lambda: is_served(live), "for the places to be free")
        assert "Traceback" not in live.log.read_text()


def beginning(stack: ExitStack, live: Live, count: int, said: bytes) -> list[Client]:
    clients = connected(stack, live, count)
    for client in clients:
        with contextlib.suppress(OSError):  # it may be refused already
            client.send(said)
    return clients


def test_a_silent_client_is_counted_by_its_address_as_well(tmp_path: Path) -> None:
    limits = {"connections_per_address": 3, "header_timeout": "1h"}
    with live_with(tmp_path, "tls", limits=limits) as live, ExitStack() as stack:
        connected(stack, live, 3)
        assert not is_served(live)
        stack.close()
        until(lambda: is_served(live))


def test_a_client_behind_a_proxy_is_counted_by_its_own_address(tmp_path: Path) -> None:
    limits = {"connections_per_address": 3}
    with live_with(tmp_path, "proxy", limits=limits) as live, ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(live.client())
            assert client.ask(HEALTH).status == 200
        with live.client() as client:
            assert client.answer().status == 503
        with Client(live.place) as client:
            client.send(LINE.replace(b"203.0.113.9", b"203.0.113.8"))
            assert client.ask(HEALTH).status == 200
        stack.close()
        until(lambda: is_served(live))


# Plain http on an https port


@pytest.mark.parametrize("request_", [get("/"), b"POST / HTTP/1.1\r\n\r\n" + b"x" * 100_000, b"G"])
def test_plain_http_on_an_https_port_gets_a_message(tmp_path: Path, request_: bytes) -> None:
    with live_with(tmp_path, "tls", public_url="https://wiki.test") as live:
        with Client(live.place) as client:
            client.send(request_)
            got = client.answer()
            assert got.status == 400 and b"https://wiki.test" in got.body
            assert client.is_closed()
        assert is_served(live)


# Descriptors


def test_the_connection_limit_is_lowered_to_the_descriptors() -> None:
    settings = settings_from({"routes": [{"upstream": "http://a"}], "limits": {"connections": 700}})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
        assert fit_descriptors(settings).limits.connections == 700, "the limit is raised first"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def bound(live: Live, descriptors: int) -> None:
    """Limit the descriptors of a running server."""
    hard = resource.prlimit(live.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(live.pid, resource.RLIMIT_NOFILE, (descriptors, hard))


@pytest.mark.parametrize("workers", [1, 2])
def test_lowered_limits_are_logged_in_one_line(tmp_path: Path, workers: int) -> None:
    live = Live(tmp_path, "http://127.0.0.1:9", workers=workers)
    line = ["sh", "-c", 'ulimit -n 300; exec "$@"', "sh"]
    line += [os.fspath(DOORWARD), "serve", "-c", os.fspath(live.config)]
    with live.log.open("ab") as log:
        live.process = subprocess.Popen(line, stdout=log, stderr=log, cwd=live.folder)
    try:
        live._wait_until_ready()
        said = [line for line in live.lines() if "connections_lowered" in line]
        assert len(said) == 1
        assert f'"connections": {(300 - OTHER_DESCRIPTORS) // 2}' in said[0]
        assert '"descriptors": 300' in said[0]
    finally:
        live.__exit__()


@pytest.mark.fault(
    "no descriptor is left for clients",
    "connections that are open",
    "the same; new clients are served again",
    "503 for new connections",
    "1x descriptors_exhausted, 1x descriptors_free_again",
)
@pytest.mark.parametrize("entrance", ["plain", "proxy"])
def test_without_descriptors_clients_get_503_and_are_served_again_later(
    tmp_path: Path, entrance: str
) -> None:
    limits = {"header_timeout": "1h"}
    with live_with(tmp_path, entrance, limits=limits) as live, ExitStack() as stack:
        assert is_served(live)
        bound(live, descriptors(live) + 8)
        clients = connected(stack, live, 200)  # the first of them use up the rest
        assert {client.answer().status for client in clients[100:]} == {503}
        assert not is_served(live)
        stack.close()
        until(lambda: is_served(live) and "descriptors_free_again" in live.log.read_text())
        for said in ("descriptors_exhausted", "descriptors_free_again"):
            assert sum(said in line for line in live.lines()) == 1
        assert "Traceback" not in live.log.read_text()


@pytest.mark.fault(
    "no descriptor is left for the upstream",
    "a connection that is open",
    "the same; it is served again",
    "503 with Retry-After",
    "upstream_failed",
)
@pytest.mark.parametrize("fast_lane", [True, False])
def test_without_a_descriptor_for_the_upstream_the_answer_is_503(
    tmp_path: Path, fast_lane: bool
) -> None:
    with Origin((answering(OK),)) as origin:
        live = Live(
            tmp_path,
            origin.url,
            access={"default": "public"},
            fast_lane=fast_lane,
            limits={"header_timeout": "1h"},
        )
        with live, ExitStack() as stack:
            client = stack.enter_context(live.client())
            assert client.ask(HEALTH).status == 200
            bound(live, descriptors(live))
            last = connected(stack, live, 100)[-1]
            assert last.answer().status == 503, "the others have taken what was left"
            got = client.get("/", host=live.host)
            assert got.status == 503 and got.values(b"retry-after")
            bound(live, 4096)
            assert client.get("/", host=live.host).status == 200


def test_a_new_connection_does_not_wait_for_the_acknowledgement_of_small_writes(
    tmp_path: Path,
) -> None:
    """Connections that Doorward itself accepts have TCP_NODELAY, like those of the event loop."""
    import asyncio

    from doorward.server.acceptor import Acceptor, EntryRequirements
    from doorward.server.limits import Counts
    from uvloop import new_event_loop

    async def main() -> int:
        made: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                sock = transport.get_extra_info("socket")
                made.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        with socket.create_server(("127.0.0.1", 0)) as sock:
            sock.setblocking(False)
            acceptor = Acceptor(
                sock,
                lambda source, place: Protocol(),
                Counts(None, None, ()),
                EntryRequirements(5.0),
                lambda address, reason: None,
            )
            with socket.create_connection(sock.getsockname()):
                found = await made
            acceptor.close()
            await acceptor.wait_closed()
            return found

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(main()) == 1
