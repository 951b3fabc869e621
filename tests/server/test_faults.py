"""An error while a request is answered: the client gets 500 or an aborted answer, and the log has
the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.response_head import ResponseHead
from doorward.server.protocol import protocol_with
from doorward.settings import LimitSettings
from structlog.testing import capture_logs

from tests.support.client_connection import Connections, Transport
from tests.support.live import Live
from tests.support.origin import OK, Origin, answering

FORM = "application/x-www-form-urlencoded"
REQUEST = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"


class Recording(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    def write(self, data: Any) -> None:
        self.sent += data


class Broken:
    """`begun`: how much of the answer is sent before the error. `waits`: it happens in a task."""

    def __init__(self, begun: bool, waits: bool) -> None:
        self._begun, self._waits = begun, waits

    def begin(self, exchange: ClientExchange) -> Coroutine[Any, Any, None] | None:
        if self._waits:
            return self._answer(exchange)
        self._fail(exchange)
        return None

    async def _answer(self, exchange: ClientExchange) -> None:
        self._fail(exchange)

    def _fail(self, exchange: ClientExchange) -> None:
        if self._begun:
            exchange.start_with(ResponseHead(200, [(b"content-length", b"5")]))
            exchange.write(b"a")
        raise RuntimeError("a bug")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("begun", [False, True])
async def test_an_error_is_logged_and_reported_to_the_client(begun: bool, waits: bool) -> None:
    transport = Recording()
    connection = protocol_with(LimitSettings(), None, Broken(begun, waits))(Connections())
    connection.connection_made(transport)
    with capture_logs() as lines:
        connection.data_received(REQUEST)
        for _ in range(5):
            await asyncio.sleep(0)
    assert [line["event"] for line in lines] == ["exchange_failed"]
    assert isinstance(lines[0]["exc_info"], RuntimeError)
    assert transport.sent.startswith(b"HTTP/1.1 200" if begun else b"HTTP/1.1 500")
    assert transport.is_closed
    connection.connection_lost(None)


def test_a_client_that_leaves_during_its_body_writes_no_error(tmp_path: Path) -> None:
    """Neither on a page nor in a dialect nor with a form that the login page keeps; strangers could
    fill the log with tracebacks."""
    navigates = "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate"
    bodies = {"/xhr/login": "application/json", "/.doorward/login": FORM, "/notes": FORM}
    with Origin((answering(OK),)) as origin, Live(tmp_path, origin.url) as live:
        for target, kind in bodies.items():
            head = f"POST {target} HTTP/1.1\r\nHost: {live.host}\r\n{navigates}\r\n"
            with live.client() as client:
                said = f"{head}Content-Type: {kind}\r\nExpect: 100-continue\r\n"
                client.send(f"{said}Content-Length: 100\r\n\r\n".encode())
                assert client.head().startswith(b"HTTP/1.1 100"), target  # it is reading
                client.send(b"a=")
        assert live.stop() == 0
        assert [line for line in live.lines() if '"level": "error"' in line] == []
