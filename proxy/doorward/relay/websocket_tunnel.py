"""A WebSocket between Doorward and an upstream, for a client whose ASGI server speaks in messages.

Knows its handshake (RFC 6455 4.1) and the frames, which `wsproto` makes and parses; must not know
the request. Extensions and pings of one side do not reach the other.
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import generate_accept_token, generate_nonce

from doorward.http1.client_exchange import TunnelLimits
from doorward.http1.headers import Header
from doorward.relay.asgi_exchange import POLICY
from doorward.relay.outbox import Message, Outbox
from doorward.upstream.failures import InvalidAnswer

CLOSE, MESSAGE = "websocket.close", "websocket.send"

# RFC 6455 7.4.1, and the registry that it opens.
NORMAL, GOING_AWAY, UNSAID, ABNORMAL, TOO_BIG = 1000, 1001, 1005, 1006, 1009
BAD_GATEWAY = 1014

# How long one side may take to read what is queued for it after the other has ended.
LINGER_S = 10.0
# Messages and control frames of one side that are taken before others have their turn: wsproto
# needs about 10 us for each, and a piece that was read at once has up to 130,000.
EVENTS_AT_ONCE = 128


class Handshake:
    """Doorward's handshake with an upstream, with the client's subprotocols."""

    def __init__(self, subprotocols: Iterable[str]) -> None:
        self._nonce = generate_nonce()
        self._subprotocols = tuple(subprotocols)

    def lines(self) -> list[Header]:
        found = [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", self._nonce)]
        if self._subprotocols:
            offered = ", ".join(self._subprotocols).encode("latin-1")
            found.append((b"sec-websocket-protocol", offered))
        return found

    def agreed(self, headers: Iterable[Header]) -> str | None:
        """The subprotocol that an answer of 101 chose. Raises InvalidAnswer (RFC 6455 4.1)."""
        said: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            said.setdefault(name.lower(), []).append(value.strip())
        if said.get(b"sec-websocket-accept") != [generate_accept_token(self._nonce)]:
            raise InvalidAnswer("the upstream's handshake is not for this WebSocket")
        if said.get(b"sec-websocket-extensions", [b""]) != [b""]:
            raise InvalidAnswer("the upstream chose an extension that was not offered")
        chosen = [value.decode("latin-1") for value in said.get(b"sec-websocket-protocol", [])]
        if len(chosen) > 1 or not set(chosen) <= set(self._subprotocols):
            raise InvalidAnswer("the upstream chose a subprotocol that was not offered")
        return chosen[0] if chosen else None


class WebSocketTunnel(asyncio.Protocol):
    """The upstream's end of a WebSocket, and the client's through an outbox; implements
    `ClientTunnel`."""

    def __init__(
        self,
        outbox: Outbox,
        upstream: asyncio.Transport,
        upstream_lost: Callable[[Exception | None], None],
        limits: TunnelLimits,
    ) -> None:
        self._outbox = outbox
        self._upstream = upstream
        self._upstream_lost = upstream_lost
        self._limits = limits
        self._websocket = Connection(ConnectionType.CLIENT)
        self._pieces: list[str | bytes] = []  # of a message that is not complete yet
        self._piece_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()
        self._moved_at = self._loop.time()
        self._has_moved = self._is_closing = self._is_lost = self._has_client_ended = False
        self._is_behind = False  # events have come that are not taken yet
        self._has_turn = False  # and will be
        self._linger: asyncio.TimerHandle | None = None
        self.farewell = (POLICY, "")  # code and reason for a client that is cut
        self.sent_bytes = 0  # to the client, of messages
        self.over: asyncio.Future[None] = self._loop.create_future()

    def open(self, early: bytes) -> None:
        """Take over a connection that has switched; `early` came after its answer."""
        self._outbox.drained = self._resume
        self._upstream.set_protocol(self)
        self._upstream.resume_reading()
        if early:
            self.data_received(early)

    # From the upstream

    def data_received(self, data: bytes) -> None:
        self._has_moved = True
        if self._websocket.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            self._websocket.receive_data(data)
            if not self._is_behind:
                self._take_events()

    def _take_events(self) -> None:
        """Take some of what has come. Nothing more is read until the rest is taken, and the client
        has caught up."""
        taken = 0
        for event in islice(self._websocket.events(), EVENTS_AT_ONCE):
            taken += 1
            self._take(event)
        self._is_behind = taken == EVENTS_AT_ONCE
        if self._is_behind:
            self._wait_for_turn()
        if (self._is_behind or self._is_held) and not self._upstream.is_closing():
            self._upstream.pause_reading()

    @property
    def _is_held(self) -> bool:
        """Whether nothing is taken because the client reads slowly."""
        return self._outbox.is_slow and not self._is_closing

    def _wait_for_turn(self) -> None:
        if not self._has_turn:
            self._has_turn = True
            self._limits.turns.wait(self._go_on)

    def _go_on(self) -> None:
        self._has_turn = False
        if not self._is_held:
            self._take_events()
            self._resume()

    def _take(self, event: object) -> None:
        if isinstance(event, CloseConnection):
            self._upstream_closes(event)
        elif self._is_closing:
            pass
        elif isinstance(event, Ping):
            self._upstream.write(bytes(self._websocket.send(event.response())))
        elif isinstance(event, TextMessage | BytesMessage):
            data = event.data if isinstance(event.data, str) else bytes(event.data)
            self._take_piece(data, is_last=event.message_finished)

    def _take_piece(self, data: str | bytes, *, is_last: bool) -> None:
        if data or not self._pieces:  # a message may have any number of empty fragments
            self._pieces.append(data)
        self._piece_bytes += count_bytes(data)
        if self._piece_bytes > self._limits.message_bytes:
            self._close(TOO_BIG)
        elif is_last:
            size, self._piece_bytes = self._piece_bytes, 0
            pieces, self._pieces = self._pieces, []
            self.sent_bytes += size
            self._outbox.put(_message(pieces), size)

    def _upstream_closes(self, event: CloseConnection) -> None:
        """A close frame, or an invalid one, for which wsproto has an answer."""
        is_fault = self._websocket.state is ConnectionState.OPEN
        if self._websocket.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._upstream.write(bytes(self._websocket.send(event.response())))
        code, reason = (BAD_GATEWAY, "") if is_fault else (int(event.code), event.reason or "")
        self._end_client(*((NORMAL, "") if code == UNSAID else (code, reason)))
        self._upstream.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._writable.set()
        self._upstream_lost(exc)
        self._end_client(BAD_GATEWAY, "")
        self._settle()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _resume(self) -> None:
        """Go on after a pause, unless there is another reason for it."""
        if self._is_behind:
            self._wait_for_turn()
        elif not (self._is_held or self._upstream.is_closing()):
            self._upstream.resume_reading()

    # From the client

    async def pass_on(self, message: Message) -> None:
        """Send a message of the client's to the upstream; wait while that is slow."""
        self._has_moved = True
        text = message.get("text")
        data: str | bytes = text if text is not None else message.get("bytes") or b""
        if self._is_closing or self._websocket.state is not ConnectionState.OPEN:
            return
        if count_bytes(data) > self._limits.message_bytes:
            self._close(TOO_BIG)
            return
        event = TextMessage(data) if isinstance(data, str) else BytesMessage(data)
        self._upstream.write(bytes(self._websocket.send(event)))
        await self._writable.wait()

    def client_closed(self, code: int, reason: str) -> None:
        """The client has closed it; a client that is lost sent no close code."""
        if not self._is_closing:
            self._is_closing = True
            if code == ABNORMAL:
                self._upstream.abort()
            else:
                self._end_upstream(code, reason)

    # Ends

    def _close(self, code: int) -> None:
        """End both sides, and say why."""
        self._end_client(code, "")
        self._end_upstream(code)

    def _end_client(self, code: int, reason: str) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._outbox.put({"type": CLOSE, "code": code, "reason": reason})
            self._outbox.finish()
            self._wait_for_ends()

    def _end_upstream(self, code: int, reason: str = "") -> None:
        """Send a close frame, and leave it to the upstream to close the connection (RFC 6455
        7.1.1)."""
        if self._websocket.state is ConnectionState.OPEN and not self._is_lost:
            event = CloseConnection(code=code, reason=reason or None)
            if code == UNSAID:
                event = CloseConnection(code=None)  # type: ignore[arg-type]
            self._upstream.write(bytes(self._websocket.send(event)))
        self._resume()
        self._wait_for_ends()

    def _wait_for_ends(self) -> None:
        if self._linger is None:
            self._linger = self._loop.call_later(LINGER_S, self._give_up)

    def _give_up(self) -> None:
        self._upstream.abort()
        self._outbox.drop()

    def client_ended(self) -> None:
        """The server has finished with it."""
        self._has_client_ended = True
        if not self._is_closing:  # the server stops, or failed
            self._is_closing = True
            self._end_upstream(GOING_AWAY)
        self._settle()

    def _settle(self) -> None:
        if self._is_lost and self._has_client_ended and not self.over.done():
            if self._linger is not None:
                self._linger.cancel()
            self.over.set_result(None)

    def sweep(self, now: float) -> None:
        """Called regularly: ends a tunnel without traffic for too long."""
        if self._has_moved:
            self._has_moved, self._moved_at = False, now
        elif now - self._moved_at > self._limits.idle_timeout_s and not self._is_closing:
            self._close(GOING_AWAY)

    def cut(self, code: int = 0, reason: str = "") -> None:
        """End both sides at once."""
        if code and self._limits.tells:
            self.farewell = (code, reason)
        self._is_closing = True
        self._upstream.abort()
        self._outbox.cut(at_once=True)


def count_bytes(data: str | bytes) -> int:
    """Bytes of a message or a piece of it as it is sent."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())


def _message(pieces: list[str | bytes]) -> Message:
    if isinstance(pieces[0], str):
        return {"type": MESSAGE, "text": "".join(pieces)}  # type: ignore[arg-type]
    return {"type": MESSAGE, "bytes": b"".join(pieces)}  # type: ignore[arg-type]
