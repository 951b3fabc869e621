"""A closed connection releases all its memory at once.

A server's garbage collector rarely examines objects that are older than a few seconds, so a
connection in a reference cycle would stay for hours. The collector is off here.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from doorward.app import Application
from doorward.relay.relay import Relay
from doorward.server.acceptor import EntryRequirements
from doorward.server.exchange import Exchange
from doorward.server.pipeline import Pipeline
from doorward.server.protocol import Protocol
from doorward.server.request_parser import RequestParser
from doorward.server.serving import Serving
from doorward.server.tunnel import End, Tunnel
from doorward.settings import settings_from
from doorward.upstream.answer_parser import AnswerParser
from doorward.upstream.connection import Connection
from doorward.upstream.pool import Pool
from uvloop import new_event_loop

from tests.support.origin import OK, Origin
from tests.support.savings import migrated
from tests.support.waiting import settled
from tests.support.wire import Wire, read_body

HELD = (
    Protocol,
    Pipeline,
    RequestParser,
    Exchange,
    Relay,
    Connection,
    AnswerParser,
    Tunnel,
    End,
)

ANSWERS = {
    b"/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"/closing": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    b"/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok",
    b"/invalid": b"nonsense\r\n\r\n",
    b"/nothing": b"",
    b"/stream": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
    b"/tunnel": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket"
    b"\r\n\r\n",
}
ENDS = (b"/closing", b"/cut", b"/nothing")
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

# What a client sends, and the beginning of the answer that it reads before it leaves; b"" if it
# does not wait.
TRAFFIC = {
    "nothing": (b"", b""),
    "half a head": (b"GET / HTTP/1.1\r\nHo", b""),
    "no request": (b"GET / HTTP/9.9\r\n\r\n", b"HTTP/1.1 400"),
    "a request": (b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200"),
    "a refused request": (b"GET /private HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 401"),
    "a page of Doorward's": (b"GET /.doorward/login HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200"),
    "several at once": (b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 3, b"HTTP/1.1 200"),
    "HTTP/1.0": (b"GET /a HTTP/1.0\r\nHost: a\r\n\r\n", b"HTTP/1.1 200"),
    "its last one": (b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200"),
    "a body": (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 200"),
    "chunks": (
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200",
    ),
    "half a body": (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nok", b""),
    "half a body in chunks": (
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"",
    ),
    "an answer in chunks": (b"GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200"),
    "an answer without length": (b"GET /closing HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200"),
    "half an answer": (b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200"),
    "no answer": (b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 502"),
    "an invalid answer": (b"GET /invalid HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 502"),
    "an event stream": (b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200"),
    "a tunnel": (b"GET /tunnel HTTP/1.1\r\nHost: a\r\n%b\r\n" % UPGRADE, b"HTTP/1.1 101"),
    "no tunnel": (b"GET /a HTTP/1.1\r\nHost: a\r\n%b\r\n" % UPGRADE, b"HTTP/1.1 200"),
}


def answer(wire: Wire) -> None:
    while head := wire.head():
        target = head.split(b" ")[1]
        read_body(wire, head)
        wire.send(ANSWERS.get(target, OK))
        if target in ENDS:
            return


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def count_held() -> int:
    return sum(isinstance(one, HELD) for one in gc.get_objects())


@pytest.mark.usefixtures("_no_collector")
def test_a_closed_connection_is_forgotten_at_once(tmp_path: Path) -> None:
    with Origin((answer,)) as origin, asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(exchange_all(tmp_path, origin))


async def exchange_all(folder: Path, origin: Origin) -> None:
    routes = [{"upstream": origin.url, "rules": [{"path": "/private"}, {"require": "public"}]}]
    settings = settings_from({"data_dir": str(migrated(folder)), "routes": routes}, folder)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    async with Application(settings) as app:
        assert app.gateway is not None
        upstreams = app.gateway._forwarders[0].upstreams
        assert isinstance(upstreams, Pool)
        parts = settings.limits, EntryRequirements(5.0), (), app.gateway, app.observer
        serving = Serving(listener, app, *parts)
        gc.freeze()  # so that there are few objects to count
        for kind, (sent, begins) in TRAFFIC.items():
            heads = len(origin.heads)
            held = count_held()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(sent)
            if begins:
                assert (await reader.read(100)).startswith(begins), kind
            elif b"\r\n\r\n" in sent:
                await settled(lambda: len(origin.heads) > heads)  # noqa: B023
            else:
                await settled(lambda: count_held() > held)  # noqa: B023
            writer.close()
            await settled(lambda: not serving._connections and not upstreams.busy)
            upstreams.close()
            with contextlib.suppress(TimeoutError):
                await settled(lambda: count_held() <= held)  # noqa: B023
            assert count_held() <= held, kind
        await serving.end(1.0, asyncio.Event())
