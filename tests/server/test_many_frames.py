"""A WebSocket with very many small frames lets other connections have their turns if its frames are
tracked (`close_websockets`) or parsed, and keeps their order."""

from __future__ import annotations

import asyncio
from typing import Any

from doorward.http1.client_exchange import TunnelLimits
from doorward.http1.turns import Turns
from doorward.relay.outbox import HIGH_WATER_BYTES, MESSAGE_BYTES, Message, Outbox
from doorward.relay.websocket import WebSocketExchange
from doorward.relay.websocket_tunnel import EVENTS_AT_ONCE, WebSocketTunnel
from doorward.server.tunnel import End, FramedEnd, Tunnel
from doorward.server.websocket_frames import FRAMES_AT_ONCE, FrameReader
from hypothesis import given
from hypothesis import strategies as st

from tests.support.client_connection import Transport

FRAME = b"\x81\x01a"
SCOPE: dict[str, Any] = {
    "type": "websocket",
    "scheme": "ws",
    "http_version": "1.1",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "headers": [(b"host", b"app.test")],
    "client": ("192.0.2.1", 1),
    "server": ("127.0.0.1", 80),
}
MANY = FRAME * (3 * FRAMES_AT_ONCE + 5)


class Keeping(Transport):
    """Records the written data."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        super().write(data)
        self.written += data

    def abort(self) -> None:
        self.close()


class Socket:
    """An open WebSocket, and the transports of both ends."""

    def __init__(self, turns: Turns) -> None:
        self.client, self.upstream = Keeping(), Keeping()
        self.client_end = End(self.client, lambda exc: None)
        frames = FrameReader()
        self.end = FramedEnd(self.upstream, lambda exc: None, frames, turns)
        self.tunnel = Tunnel(self.client_end, self.end, 60.0, frames)
        self.tunnel.open(b"", b"", client_is_slow=False)

    @property
    def passed_frames(self) -> int:
        return len(self.client.written) // len(FRAME)


async def one_turn() -> None:
    await asyncio.sleep(0)


async def test_many_frames_are_passed_on_in_several_turns() -> None:
    socket = Socket(Turns())
    socket.end.data_received(MANY)
    assert socket.passed_frames == FRAMES_AT_ONCE and socket.upstream.is_paused
    await one_turn()
    assert socket.passed_frames == 2 * FRAMES_AT_ONCE
    for _ in range(3):
        await one_turn()
    assert socket.client.written == MANY and not socket.upstream.is_paused


async def test_sockets_with_many_frames_take_turns() -> None:
    """A turn of the loop takes as long as one piece, whatever the number of sockets."""
    turns = Turns()
    sockets = [Socket(turns) for _ in range(5)]
    for socket in sockets:
        socket.end.data_received(MANY)
    for _ in range(15):
        before = sum(socket.passed_frames for socket in sockets)
        await one_turn()
        assert sum(socket.passed_frames for socket in sockets) <= before + FRAMES_AT_ONCE
    for _ in range(5):
        await one_turn()
    assert all(socket.client.written == MANY for socket in sockets)


async def test_a_client_that_catches_up_does_not_let_later_frames_overtake() -> None:
    socket = Socket(Turns())
    socket.end.data_received(MANY)
    socket.client_end.pause_writing()
    socket.client_end.resume_writing()
    assert socket.upstream.is_paused, "the rest is still waiting"
    socket.end.data_received(b"\x81\x01z")  # a TLS transport may deliver data while it is paused
    socket.client_end.pause_writing()
    for _ in range(5):
        await one_turn()
    assert socket.client.written == MANY + b"\x81\x01z"
    assert socket.upstream.is_paused, "the client is slow"
    socket.client_end.resume_writing()
    assert not socket.upstream.is_paused


async def test_frames_sent_before_the_application_left_are_forwarded() -> None:
    socket = Socket(Turns())
    socket.end.data_received(MANY)
    socket.end.connection_lost(None)
    assert socket.client.written == MANY and socket.client.is_closed


async def test_nothing_follows_the_close_frame() -> None:
    socket = Socket(Turns())
    socket.end.data_received(MANY)
    socket.tunnel.cut(4401, "unauthenticated")
    told = socket.client.written
    assert told.startswith(FRAME) and told.endswith(b"unauthenticated")
    await one_turn()
    socket.end.connection_lost(None)
    assert socket.client.written == told
    socket.tunnel.cut()


async def test_a_turn_that_fails_does_not_end_the_others() -> None:
    def fail() -> None:
        raise ValueError

    turns, taken = Turns(), list[str]()
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, fault: faults.append(fault))
    turns.wait(fail)
    turns.wait(lambda: taken.append("next"))
    for _ in range(3):
        await one_turn()
    assert taken == ["next"] and len(faults) == 1
    turns.wait(lambda: taken.append("later"))
    await one_turn()
    assert taken == ["next", "later"]


@given(st.lists(st.integers(1, 40_000), max_size=8))
def test_a_reader_that_stops_early_stops_between_frames(
    cuts: list[int],
) -> None:
    """However the data are split."""
    reader, at = FrameReader(), 0
    for size in (*cuts, len(MANY)):
        piece = MANY[at : at + size]
        taken = reader.read(piece)
        at += taken
        assert taken == len(piece) or (at % len(FRAME) == 0 and reader.is_between)
        assert reader.is_between == (at % len(FRAME) == 0)


# Under other ASGI servers, every frame becomes a message


class Parsed:
    """A WebSocket over ASGI, whose client accepts messages while `gate` is set."""

    def __init__(self, turns: Turns) -> None:
        self.upstream, self.sent = Keeping(), list[Message]()
        self.gate = asyncio.Event()
        self.gate.set()
        self.outbox = Outbox(self._send, lambda: None)
        limits = TunnelLimits(60.0, 1 << 20, turns=turns)
        self.tunnel = WebSocketTunnel(self.outbox, self.upstream, lambda exc: None, limits)
        self.tunnel.open(b"")
        self.running = asyncio.ensure_future(self.outbox.run())

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        await self.gate.wait()

    async def close(self) -> None:
        self.tunnel.connection_lost(None)
        self.gate.set()
        await self.running


async def test_many_messages_are_taken_in_several_turns() -> None:
    turns = Turns()
    sockets = [Parsed(turns) for _ in range(3)]
    messages = 4 * EVENTS_AT_ONCE + 5
    for socket in sockets:
        socket.tunnel.data_received(FRAME * messages)
        assert socket.upstream.is_paused
    for _ in range(20):
        before = sum(socket.tunnel.sent_bytes for socket in sockets)
        await one_turn()
        assert sum(socket.tunnel.sent_bytes for socket in sockets) <= before + EVENTS_AT_ONCE
    for socket in sockets:
        assert [message["text"] for message in socket.sent] == ["a"] * messages
        assert not socket.upstream.is_paused
        await socket.close()


async def test_small_messages_for_a_slow_client_do_not_fill_memory() -> None:
    socket = Parsed(Turns())
    await one_turn()
    socket.gate.clear()
    frames = 20_000
    socket.tunnel.data_received(FRAME * frames)
    for _ in range(200):
        await one_turn()
    assert socket.tunnel.sent_bytes <= HIGH_WATER_BYTES / MESSAGE_BYTES + EVENTS_AT_ONCE
    assert socket.upstream.is_paused
    socket.gate.set()
    for _ in range(400):
        await one_turn()
    assert len(socket.sent) == frames and not socket.upstream.is_paused
    await socket.close()


async def test_a_close_after_many_messages_is_handled_with_a_slow_client() -> None:
    socket = Parsed(Turns())
    await one_turn()
    socket.gate.clear()
    socket.tunnel.data_received(FRAME * 20_000 + b"\x88\x02\x03\xe8")
    for _ in range(20):
        await one_turn()
    socket.tunnel.client_closed(1000, "")
    assert not socket.upstream.is_closed
    for _ in range(200):
        await one_turn()
    assert socket.upstream.is_closed
    await socket.close()


async def test_messages_of_a_client_are_passed_on_in_several_turns() -> None:
    """A server that has many at once gives them without waiting."""
    messages, given = 3 * EVENTS_AT_ONCE, 0

    async def receive() -> Message:
        nonlocal given
        given += 1
        if given <= messages:
            return {"type": "websocket.receive", "text": "a"}
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None: ...

    exchange = WebSocketExchange(SCOPE, receive, send)
    reading = asyncio.ensure_future(exchange._read())
    before, turns = 0, 0
    while not reading.done():
        await one_turn()
        assert given - before <= EVENTS_AT_ONCE + 1
        before, turns = given, turns + 1
    assert given == messages + 1 and turns > 2


async def test_empty_fragments_take_no_memory() -> None:
    """An application may send any number of them within a message."""
    socket = Parsed(Turns())
    socket.tunnel.data_received(b"\x01\x01a" + b"\x00\x00" * (3 * EVENTS_AT_ONCE))
    for _ in range(5):
        await one_turn()
    assert len(socket.tunnel._pieces) == 1
    socket.tunnel.data_received(b"\x80\x01b")
    for _ in range(3):
        await one_turn()
    assert [message["text"] for message in socket.sent] == ["ab"]
    await socket.close()
