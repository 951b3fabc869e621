"""Everything that an ASGI server may do to an application, simulated with raw scopes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doorward.app import Application
from doorward.relay.asgi import read_arrival
from doorward.relay.outbox import AnswerCut
from doorward.settings import settings_from
from structlog.testing import capture_logs

from tests.support.asgi import scope
from tests.support.front import HOST, Build
from tests.support.origin import OK, Origin, silent
from tests.support.waiting import PATIENCE_S
from tests.support.wire import Header, Wire, read_body

PUBLIC = {"access": {"default": "public"}}
Message = dict[str, Any]


class Server:
    """A server with one request. It raises if the application violates ASGI, and reports a
    disconnect when `leave` is called or the answer is complete."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [
            {"type": "http.request", "body": piece, "more_body": at < len(pieces)}
            for at, piece in enumerate(pieces or (b"",), 1)
        ]
        self.said: list[Message] = []
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self.fault: Exception | None = None
        self._receiving = False

    async def receive(self) -> Message:
        assert not self._receiving, "two receive at once"
        self._receiving = True
        try:
            await asyncio.sleep(0)
            if self.pieces:
                return self.pieces.pop(0)
            await self.gone.wait()
            return {"type": "http.disconnect"}
        finally:
            self._receiving = False

    async def send(self, message: Message) -> None:
        if self.fault is not None:
            raise self.fault
        self.said.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.gone.set()
        await self.takes.wait()

    @property
    def status(self) -> int:
        status: int = self.said[0]["status"]
        return status

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.005)  # polls


def post(target: str, length: int, *lines: Header) -> Message:
    return scope(target, [*HOST, (b"content-length", b"%d" % length), *lines], method="POST")


@pytest.mark.parametrize("target", ["/x", "/.doorward/login"])
@pytest.mark.parametrize("pieces", [(b"hello",), (b"hel", b"lo"), (b"hel", b"lo", b"")])
async def test_receive_is_never_called_concurrently(
    fronts: Build, target: str, pieces: tuple[bytes, ...]
) -> None:
    front, server = await fronts(**PUBLIC), Server(*pieces)
    before = asyncio.all_tasks()
    await front.app(post(target, 5), server.receive, server.send)
    assert server.said[-1]["more_body"] is False
    after = Server()
    await front.app(scope(target, HOST), after.receive, after.send)
    assert after.status == 200
    assert asyncio.all_tasks() == before, "a task was left behind"


@pytest.mark.parametrize("version", ["1.0", "1.1", "2", "3"])
@pytest.mark.parametrize(
    "line",
    [
        (b"x-a", b"v\r\nremote-user: admin"),
        (b"x-a", b"v\nremote-user: admin"),
        (b"x-a", b"v\rremote-user: admin"),
        (b"x-a: b\r\nremote-user", b"admin"),
        (b"cookie", b"a=b\r\nremote-user: admin"),
        (b"authorization", b"x\r\nremote-user: admin"),
        (b"x-http-method", b"x\r\nremote-user: admin"),
        (b"x-a", b"\0"),
    ],
)
async def test_a_server_that_lets_line_breaks_through_gets_400(
    fronts: Build, line: Header, version: str
) -> None:
    """CVE-2025-57804: each line would become a separate header for the upstream."""
    front, server = await fronts(**PUBLIC), Server()
    asked = scope("/x", [*HOST, line]) | {"http_version": version}
    await front.app(asked, server.receive, server.send)
    assert server.status == 400
    assert front.origin.heads == []


async def test_an_error_from_send_means_that_the_client_left(
    fronts: Build,
) -> None:
    """ASGI 2.4."""
    with Origin((silent_after_a_head,)) as origin:
        front, server = await fronts(routes=[{"upstream": origin.url}], **PUBLIC), Server()
        server.fault = OSError("gone")
        await front.app(scope("/x", HOST), server.receive, server.send)
        await server.until(origin.is_done)


def silent_after_a_head(wire: Wire) -> None:
    wire.head()
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    wire.rest()


async def test_a_server_that_fails_is_not_taken_for_a_client_that_left(fronts: Build) -> None:
    front, server = await fronts(**PUBLIC), Server()
    server.fault = RuntimeError("broken")
    with pytest.raises(RuntimeError):
        await front.app(scope("/x", HOST), server.receive, server.send)


async def test_an_answer_is_cut_even_if_the_client_does_not_read(fronts: Build) -> None:
    """When the session ends, the server is waiting for its client, and Doorward for the server."""
    with Origin((silent_after_a_head,)) as origin:
        front, server = await fronts(routes=[{"upstream": origin.url}]), Server()
        opened = await front.opened()
        server.takes.clear()
        asked = scope("/x", [*HOST, front.cookie(opened)])
        running = asyncio.ensure_future(front.app(asked, server.receive, server.send))
        await server.until(lambda: server.said)
        await front.accounts.sessions.end(opened.session, front.clock())
        with pytest.raises(AnswerCut):
            await asyncio.wait_for(running, PATIENCE_S)


async def test_a_client_that_leaves_while_the_server_waits_for_it_ends_the_request(
    fronts: Build,
) -> None:
    with Origin((silent_after_a_head,)) as origin:
        front, server = await fronts(routes=[{"upstream": origin.url}], **PUBLIC), Server()
        server.takes.clear()
        running = asyncio.ensure_future(front.app(scope("/x", HOST), server.receive, server.send))
        await server.until(lambda: server.said)
        server.gone.set()
        await asyncio.wait_for(running, PATIENCE_S)
        await server.until(origin.is_done)


async def test_each_of_several_slow_answers_notices_that_its_client_leaves(fronts: Build) -> None:
    """One timer serves all of them; it does not wait for answers that were quick."""
    with Origin((silent, silent, silent)) as origin:
        front = await fronts(routes=[{"upstream": origin.url}], **PUBLIC)
        servers = [Server() for _ in range(3)]
        running = []
        for asked, server in enumerate(servers, 1):
            answering = front.app(scope("/x", HOST), server.receive, server.send)
            running.append(asyncio.ensure_future(answering))
            await server.until(lambda asked=asked: len(origin.heads) == asked)  # type: ignore[misc]
        running[1].cancel()
        for server in servers:
            server.gone.set()
        async with asyncio.timeout(PATIENCE_S):
            found = await asyncio.gather(*running, return_exceptions=True)
        assert [type(each) for each in found] == [type(None), asyncio.CancelledError, type(None)]
        assert not front.app._late._since
        await servers[0].until(origin.is_done)


async def test_a_server_that_stops_ends_the_request(fronts: Build) -> None:
    with Origin((silent,)) as origin:
        front, server = await fronts(routes=[{"upstream": origin.url}], **PUBLIC), Server()
        running = asyncio.ensure_future(front.app(scope("/x", HOST), server.receive, server.send))
        await server.until(lambda: origin.heads)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await server.until(origin.is_done)


async def test_a_body_of_http_2_is_found_and_framed(fronts: Build) -> None:
    got: list[bytes] = []

    def script(wire: Wire) -> None:
        while head := wire.head():
            got.append(read_body(wire, head))
            wire.send(OK)

    with Origin((script,)) as origin:
        front = await fronts(routes=[{"upstream": origin.url}], **PUBLIC)
        for pieces in ((b"hel", b"lo"), (b"",)):
            server = Server(*pieces)
            asked = scope("/x", HOST, method="POST") | {"http_version": "2"}
            await front.app(asked, server.receive, server.send)
            assert server.status == 200
    assert got == [b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b""]


@pytest.mark.parametrize(
    ("path", "target"),
    [("/a b", b"/a%20b"), ("/a?b", b"/a%3Fb"), ("/é", b"/%C3%A9"), ("/a%b", b"/a%25b")],
)
def test_a_path_without_raw_path_is_encoded_again(path: str, target: bytes) -> None:
    """`raw_path` is optional in ASGI."""
    asked = scope("/", HOST) | {"path": path, "raw_path": None}
    assert read_arrival(asked).target == target


# Lifespan


async def lifespan(app: Any) -> list[Message]:
    """The messages of an application that is started, then stopped."""
    news = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said: list[Message] = []

    async def receive() -> Message:
        return news.pop(0)

    async def send(message: Message) -> None:
        said.append(message)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return said


@pytest.fixture
def own_collector() -> Iterator[None]:
    """Restore the process's garbage collector after the test."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("own_collector")
async def test_the_application_supports_the_lifespan_protocol(tmp_path: Path) -> None:
    app = Application(settings_from({"routes": [{"upstream": "http://127.0.0.1:9"}]}, tmp_path))
    kinds = [message["type"] for message in await lifespan(app)]
    assert kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    # As under Doorward's own server, collections skip objects that live as long as the process.
    assert gc.get_freeze_count() > 10_000
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("own_collector")
async def test_a_failed_preparation_does_not_fail_the_shutdown(tmp_path: Path) -> None:
    """For example a template that could not be opened because clients used all descriptors."""

    def prepare() -> None:
        (tmp_path / "gone.html").read_bytes()

    class Unprepared(Application):
        async def __aenter__(self) -> Application:
            await super().__aenter__()
            self.prepare = prepare
            return self

    app = Unprepared(settings_from({"routes": [{"upstream": "http://127.0.0.1:9"}]}, tmp_path))
    with capture_logs() as logs:
        kinds = [message["type"] for message in await lifespan(app)]
    assert kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert "not_prepared" in [log["event"] for log in logs]


async def test_a_failed_start_is_reported_and_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    values = {"routes": [{"upstream": "http://127.0.0.1:9"}], "data_dir": str(tmp_path / "data")}
    (said,) = await lifespan(Application(settings_from(values, tmp_path)))
    assert said["type"] == "lifespan.startup.failed"
    assert "data_dir" in said["message"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
