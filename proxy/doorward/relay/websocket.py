"""The gateway as an ASGI application, for WebSockets under any server but Doorward's own.

An ASGI server has done the client's handshake and parses its frames, so messages are relayed. For
the gateway this is a request with an upgrade like any other. The WebSocket of the upstream is
another one, see `websocket_tunnel.py`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from doorward.http1.arrival import Arrival
from doorward.http1.client_exchange import ClientTunnel, TunnelLimits
from doorward.http1.headers import Header
from doorward.http1.response_head import ResponseHead
from doorward.observe.observer import SWITCHED
from doorward.relay.asgi import BadArrival, read_arrival
from doorward.relay.asgi_exchange import POLICY, AsgiExchange
from doorward.relay.gateway import Gateway, Receive, Scope
from doorward.relay.outbox import AnswerCut, Message, Outbox, Send
from doorward.relay.websocket_tunnel import (
    CLOSE,
    EVENTS_AT_ONCE,
    UNSAID,
    Handshake,
    WebSocketTunnel,
    count_bytes,
)

ACCEPT, DISCONNECT = "websocket.accept", "websocket.disconnect"
# A server that has this extension can answer a handshake with more than 403.
ANSWERS = "websocket.http.response"

FORBIDDEN = 403  # the server's code for a client that is closed before it was accepted
# At most this much of an answer to a handshake is passed on.
ANSWER_BYTES = 64 * 1024
# How long a server may take to send the reason to a client that is cut.
FAREWELL_S = 1.0

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
