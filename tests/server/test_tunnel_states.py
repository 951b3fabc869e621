"""A tunnel may be ended in whatever state it is: nothing fails, and both connections are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from doorward.http1.turns import Turns
from doorward.server import tunnel as tunnels
from doorward.server.tunnel import End, FramedEnd, Tunnel
from doorward.server.websocket_frames import FrameReader
from hypothesis import given
from hypothesis import strategies as st

from tests.support.client_connection import Transport
from tests.support.waiting import PATIENCE_S


class Strict(Transport):
    """Tells its protocol once it is closed, and takes nothing from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.is_gone = b"", False

    def write(self, data: Any) -> None:
        super().write(data)
        assert not self.is_gone
        if not self.is_closed:
            self.written += data

    def write_eof(self) -> None:
        assert not self.is_gone
        super().write_eof()

    def pause_reading(self) -> None:
        if self.is_closed:
            raise RuntimeError("cannot pause a closed transport")
        super().pause_reading()

    def resume_reading(self) -> None:
        if self.is_closed:
            raise RuntimeError("cannot resume a closed transport")
        super().resume_reading()

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        if not self.is_closed:
            super().close()
            asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        self.is_gone = True
        self.protocol.connection_lost(None)


class Joined:
    """A tunnel over two transports in memory."""

    def __init__(self, *, is_followed: bool) -> None:
        self.client, self.upstream = Strict(), Strict()
        self.frames = FrameReader() if is_followed else None
        self.client_end = End(self.client, lambda exc: None)
        self.upstream_end = (
            End(self.upstream, lambda exc: None)
            if self.frames is None
            else FramedEnd(self.upstream, lambda exc: None, self.frames, Turns())
        )
        ends = self.client_end, self.upstream_end
        self.tunnel = Tunnel(*ends, 60.0, self.frames)
        self.silent: set[End] = set()  # have closed their sending side
        self.tunnel.open(b"", b"", client_is_slow=False)

    def end_sending(self, end: End) -> None:
        if self._sends(end):
            self.silent.add(end)
            if not end.eof_received():
                end.transport.close()

    def send(self, end: End, data: bytes) -> None:
        if self._sends(end):
            end.data_received(data)

    def slow(self, end: End) -> None:
        if not end.is_lost:
            end.pause_writing()

    def catch_up(self, end: End) -> None:
        if not end.is_lost:
            end.resume_writing()

    def _sends(self, end: End) -> bool:
        return not (end.transport.is_closing() or end in self.silent)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


Step = Callable[[Joined], None]
STEPS: dict[str, Step] = {
    "the client sends": lambda on: on.send(on.client_end, b"x"),
    "the application sends": lambda on: on.send(on.upstream_end, b"\x81\x01a"),
    "the application sends a part": lambda on: on.send(on.upstream_end, b"\x81"),
    "the application closes": lambda on: on.send(on.upstream_end, b"\x88\x00"),
    "the client sends no more": lambda on: on.end_sending(on.client_end),
    "the application sends no more": lambda on: on.end_sending(on.upstream_end),
    "the client leaves": lambda on: on.client.close(),
    "the application leaves": lambda on: on.upstream.close(),
    "the client is slow": lambda on: on.slow(on.client_end),
    "the application is slow": lambda on: on.slow(on.upstream_end),
    "the client caught up": lambda on: on.catch_up(on.client_end),
    "the application caught up": lambda on: on.catch_up(on.upstream_end),
    "nothing happens for an hour": lambda on: on.tunnel.sweep(
        asyncio.get_running_loop().time() + 3600
    ),
    "the session ends": lambda on: on.tunnel.cut(4401, "unauthenticated"),
    "the server stops": lambda on: on.tunnel.close(),
    "the loop turns": lambda on: None,
}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "LINGER_S", 0.0)
    monkeypatch.setattr(tunnels, "FAREWELL_S", 0.0)


@pytest.mark.usefixtures("short_waits")
@given(st.booleans(), st.lists(st.sampled_from(sorted(STEPS)), max_size=8))
def test_a_session_that_ends_closes_a_tunnel_in_any_state(
    is_followed: bool, steps: list[str]
) -> None:
    async def play() -> None:
        joined = Joined(is_followed=is_followed)
        for step in steps:
            STEPS[step](joined)
            if step == "the loop turns":
                await turns()
        if not joined.tunnel.over.done():
            joined.tunnel.cut(4401, "unauthenticated")
        await turns()
        async with asyncio.timeout(PATIENCE_S):
            await joined.tunnel.over
        assert joined.client.is_gone and joined.upstream.is_gone

    asyncio.run(play())


async def test_an_application_that_sends_no_more_leaves_no_client_behind() -> None:
    """Nothing can be written to the client then, not even why its session ended."""
    joined = Joined(is_followed=True)
    joined.send(joined.upstream_end, b"\x81\x01a")
    joined.end_sending(joined.upstream_end)
    joined.tunnel.cut(4401, "unauthenticated")
    await turns()
    assert joined.client.written == b"\x81\x01a"
    assert joined.tunnel.over.done()
