"""The gateway as an ASGI application, for WebSockets under any server but Doorward's own.

An ASGI server has done the client's handshake and parses its frames, so messages are relayed. For
the gateway this is a request with an upgrade like any other; for the upstream it is a WebSocket by
Doorward, with its own handshake (RFC 6455 4.1) and frames made by `wsproto`. Extensions and pings
of one side do not reach the other.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import generate_accept_token, generate_nonce

from doorward.http1.arrival import Arrival
from doorward.http1.client_exchange import ClientTunnel, TunnelLimits
from doorward.http1.headers import Header
from doorward.http1.response_head import ResponseHead
from doorward.observe.observer import SWITCHED
from doorward.relay.asgi import BadArrival, read_arrival
from doorward.relay.asgi_exchange import POLICY, AsgiExchange
from doorward.relay.gateway import Gateway, Receive, Scope
from doorward.relay.outbox import AnswerCut, Message, Outbox, Send
from doorward.upstream.failures import InvalidAnswer

ACCEPT, CLOSE, MESSAGE = "websocket.accept", "websocket.close", "websocket.send"
DISCONNECT = "websocket.disconnect"
# A server that has this extension can answer a handshake with more than 403.
ANSWERS = "websocket.http.response"

FORBIDDEN = 403  # the server's code for a client that is closed before it was accepted
# RFC 6455 7.4.1, and the registry that it opens.
NORMAL, GOING_AWAY, UNSAID, ABNORMAL, TOO_BIG = 1000, 1001, 1005, 1006, 1009
BAD_GATEWAY = 1014

# At most this much of an answer to a handshake is passed on.
ANSWER_BYTES = 64 * 1024
# How long one side may take to read what is queued for it after the other has ended.
LINGER_S = 10.0
# How long a server may take to send the reason to a client that is cut.
FAREWELL_S = 1.0
# Messages and control frames of one side that are taken before others have their turn: wsproto
# needs about 10 us for each, and a piece that was read at once has up to 130,000.
EVENTS_AT_ONCE = 128

_SCHEMES = {"ws": "http", "wss": "https"}
_FRAMING = (b"content-length", b"transfer-encoding")
_HANDSHAKE = b"sec-websocket-"


async def answer_websocket(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one WebSocket. Raises AnswerCut."""
    try:
        exchange = WebSocketExchange(scope, receive, send)
    except BadArrival:
        await send({"type": CLOSE, "code": POLICY, "reason": ""})  # clients get 403
        return
    await exchange.run(gateway)


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


class WebSocketExchange(AsgiExchange):
    """One WebSocket of an ASGI server, from its handshake on: implements `ClientExchange`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._handshake = Handshake(scope.get("subprotocols") or ())
        self.arrival = arrival = _arrival(scope, self._handshake)
        self.scope = {**scope, "type": "http", "method": "GET", "scheme": arrival.scheme}
        self.original = scope
        self.method = arrival.method
        self.link = arrival.peer, arrival.scheme
        self.trailers: list[Header] = []
        self._can_answer = ANSWERS in (scope.get("extensions") or {})
        self._receive = receive
        self._send = send
        self.outbox = Outbox(send, self._client_gone)
        self._left = asyncio.Event()
        self._gone: Callable[[], object] | None = None
        self._tunnel: WebSocketTunnel | None = None
        self._head: ResponseHead | None = None  # of an answer instead of a tunnel
        self._body = bytearray()
        self._inbox: asyncio.Queue[Message] | None = None  # of an application in this process
        self._is_accepted = False

    async def run(self, gateway: Gateway) -> None:
        """Answer through `gateway`, and return once the WebSocket is over. Raises AnswerCut."""
        try:
            await self._receive()  # websocket.connect
            self.spawn(self._read())
            waiting = gateway.begin(self)
            if waiting is not None:
                self.spawn(waiting)
            await self.outbox.run()
        except AnswerCut:
            if not self._is_accepted:
                raise
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._send(self._farewell())
        finally:
            if self._tunnel is not None:
                self._tunnel.client_ended()
            elif not self.response_complete:
                self._client_gone()

    def _farewell(self) -> Message:
        code, reason = self.farewell if self._tunnel is None else self._tunnel.farewell
        return {"type": CLOSE, "code": code, "reason": reason}

    # The client

    async def _read(self) -> None:
        """Pass on the client's messages; a slow upstream makes the client wait."""
        taken = 0
        while (message := await self._receive())["type"] != DISCONNECT:
            taken += 1
            if taken % EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)  # a server may have thousands of messages at once
            if self._tunnel is not None:
                await self._tunnel.pass_on(message)
            elif self._inbox is not None:
                await self._inbox.put(message)
        if self._inbox is not None:
            await self._inbox.put(message)
            self.disconnected = self.disconnected or not self.response_complete
            return  # the application ends by itself
        if self._tunnel is not None:
            code = message.get("code") or UNSAID
            self._tunnel.client_closed(code, message.get("reason") or "")
        self._client_gone()

    def when_gone(self, callback: Callable[[], object]) -> None:
        self._gone = callback
        if self.disconnected:
            self._client_gone()

    def _client_gone(self) -> None:
        callback, self._gone = self._gone, None
        self.disconnected = self.disconnected or not self.response_complete
        self._left.set()
        self.outbox.drop()
        if callback is not None and not self.response_complete:
            callback()

    # A tunnel

    def switch(
        self,
        headers: Iterable[Header],
        upstream: asyncio.Transport,
        early: bytes,
        upstream_lost: Callable[[Exception | None], None],
        limits: TunnelLimits,
    ) -> ClientTunnel:
        lines = list(headers)
        chosen = self._handshake.agreed(lines)
        passed = [line for line in lines if not _is_handshake_header(line[0].lower())]
        self.response_started, self.status = True, SWITCHED
        self._is_accepted = True
        self.outbox.put({"type": ACCEPT, "subprotocol": chosen, "headers": passed})
        self._tunnel = WebSocketTunnel(self.outbox, upstream, upstream_lost, limits)
        self._tunnel.open(early)
        return self._tunnel

    # An answer instead of a tunnel

    def start_with(self, head: ResponseHead) -> None:
        self.response_started, self.status = True, head.status
        self._head = head
        if not self._can_answer:
            self.outbox.put({"type": CLOSE, "code": POLICY, "reason": ""})  # clients get 403
            self.outbox.finish()

    def write(self, data: bytes) -> None:
        """Keep a piece of the body, because not every server takes more than one."""
        self._body += data
        if len(self._body) > ANSWER_BYTES and not self.response_complete:
            callback = self._gone
            self.end()
            if callback is not None:
                callback()

    def end(self, data: bytes = b"", trailers: bytes = b"") -> None:
        assert self._head is not None
        body, self.response_complete = bytes(self._body + data)[:ANSWER_BYTES], True
        self._gone = None
        if self._can_answer and not self.disconnected:
            self.sent_bytes = len(body)
            lines = [line for line in self._head.headers if line[0].lower() != b"content-length"]
            lines.append((b"content-length", b"%d" % len(body)))
            start = {"status": self.status, "headers": lines}
            self.outbox.put({"type": f"{ANSWERS}.start", **start})
            self.outbox.put({"type": f"{ANSWERS}.body", "body": body, "more_body": False})
        self.outbox.finish()

    # The same as ASGI http messages, for Doorward's own paths

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    # An application in this process, see `passage.py`

    def host(self, guest: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        self._inbox = asyncio.Queue(1)
        self._inbox.put_nowait({"type": "websocket.connect"})
        task = self.outbox.host(guest)
        return task

    async def guest_receive(self) -> Message:
        assert self._inbox is not None
        return await self._inbox.get()

    async def guest_send(self, message: Message) -> None:
        kind = message["type"]
        size = count_bytes(
            message.get("text") or message.get("bytes") or message.get("body") or b""
        )
        self._is_accepted = self._is_accepted or kind == ACCEPT
        self.response_started = self.response_started or kind in (ACCEPT, f"{ANSWERS}.start")
        self.status = message.get("status", SWITCHED if kind == ACCEPT else self.status)
        self.sent_bytes += size
        self.outbox.put(message, size)
        is_last = kind == f"{ANSWERS}.body" and not message.get("more_body", False)
        if kind == CLOSE or is_last:
            self.status = self.status or FORBIDDEN
            self.response_started = self.response_complete = True
            self.outbox.finish()
        await self.outbox.wait_until_drained()


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
        self._end_upstream(code)
        self._end_client(code, "")

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
        if self._is_behind:
            self._wait_for_turn()
        elif not self._upstream.is_closing():
            self._upstream.resume_reading()
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


def _arrival(scope: Scope, handshake: Handshake) -> Arrival:
    """A WebSocket's scope as the request that its handshake would be for the upstream."""
    arrival = read_arrival(scope)
    kept = [
        line
        for line in arrival.headers
        if line[0] not in _FRAMING and not line[0].startswith(_HANDSHAKE)
    ]
    arrival.headers = [*kept, *handshake.lines()]
    arrival.scheme = _SCHEMES.get(arrival.scheme, arrival.scheme)
    arrival.upgrade = b"websocket"
    arrival.parsed = None  # which was read with the client's handshake
    return arrival


def _is_handshake_header(name: bytes) -> bool:
    return name.startswith(_HANDSHAKE) or name in (b"connection", b"upgrade", *_FRAMING)
