"""The gateway as an ASGI application, for requests under any server but Doorward's own.

`RequestExchange` implements `ClientExchange` with ASGI messages. ASGI has three gaps: a client that
leaves is noticed only while a coroutine receives, so a task does that once the body is over; an
HTTP/2 body is not announced, so its first piece is read before anything is decided; and only an
exception can report that an answer was cut. It supports no trailers and no interim answers.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable
from typing import Any
from urllib.parse import quote

from doorward.http1.arrival import Arrival
from doorward.http1.client_exchange import ClientTunnel, TunnelLimits
from doorward.http1.headers import TOKEN, Header
from doorward.http1.heads import RequestHead, read_request
from doorward.http1.response_head import InvalidResponseHead, ResponseHead
from doorward.relay.asgi_exchange import BODY, START, AsgiExchange
from doorward.relay.gateway import Gateway, Receive, Scope
from doorward.relay.outbox import Message, Outbox, Send

REQUEST, DISCONNECT = "http.request", "http.disconnect"
BODILESS = (204, 304)
# How long an answer may take before a task waits for the client to leave. Most take less, and the
# task costs more than everything else.
LISTENS_AFTER_S = 0.2
# What RFC 3986 allows in a path; the rest of a decoded path is encoded again.
PATH_SAFE = "/!$&'()*+,;=:@-._~"


_BREAKS = re.compile(rb"[\r\n\0]")
_BAD_REQUEST = b"this is not a valid HTTP request\n"


class BadArrival(Exception):
    """A server passed on a request with bytes that end a line."""


class LateListening:
    """Has exchanges whose answer takes long listen for their client. One timer serves all of them:
    one for each would cost every request 2.5 us more."""

    def __init__(self) -> None:
        self._since: dict[RequestExchange, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, exchange: "RequestExchange") -> None:
        loop = asyncio.get_running_loop()
        self._since[exchange] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(LISTENS_AFTER_S, self._look)

    def remove(self, exchange: "RequestExchange") -> None:
        self._since.pop(exchange, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        begun_by = loop.time() - LISTENS_AFTER_S
        late = [exchange for exchange, since in self._since.items() if since <= begun_by]
        for exchange in late:
            del self._since[exchange]
            exchange.listen()
        first = next(iter(self._since.values()), None)
        self._timer = None
        if first is not None:
            self._timer = loop.call_at(first + LISTENS_AFTER_S, self._look)


def answer(
    gateway: Gateway, late: LateListening, scope: Scope, receive: Receive, send: Send
) -> Coroutine[Any, Any, None]:
    """Answer one request, once this is awaited. Raises AnswerCut then."""
    try:
        exchange = RequestExchange(scope, receive, send, late)
    except BadArrival:
        return _refuse(send)
    return exchange.run(gateway)


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BAD_REQUEST))]
    await send({"type": START, "status": 400, "headers": headers})
    await send({"type": BODY, "body": _BAD_REQUEST})


class RequestExchange(AsgiExchange):
    """One request of an ASGI server and its answer."""

    # Class attributes, so that values that most exchanges share cost nothing.
    _peeked: Message | None = None
    _body_left = True  # of the request: it was not received completely
    _listening: asyncio.Task[None] | None = None
    _is_watched = False  # by `LateListening`
    _gone: Callable[[], object] | None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send, late: LateListening) -> None:
        self.scope = self.original = scope
        self.arrival = arrival = read_arrival(scope)
        self.method = arrival.method
        self.trailers: list[Header] = []
        self._is_bodiless = arrival.method == b"HEAD"
        self._is_multiplexed = scope.get("http_version", "1.1") >= "2"
        self._receive = receive
        self._late = late
        self.outbox = Outbox(send, self._client_gone)

    @property
    def link(self) -> tuple[str, str]:
        return self.arrival.peer, self.arrival.scheme

    async def run(self, gateway: Gateway) -> None:
        """Answer through `gateway`, and return once the server has the whole answer. Raises
        AnswerCut."""
        try:
            if self._is_multiplexed and not self._has_body():
                await self._peek()
            waiting = gateway.begin(self)
            if waiting is not None:
                self.spawn(waiting)
            await self.outbox.run()
        finally:
            if self._is_watched:
                self._late.remove(self)
            if not self.response_complete:
                self._client_gone()

    # The request's body

    def _has_body(self) -> bool:
        """Whether the head announces a body."""
        if self.arrival.parsed is not None:
            return False
        names = {name for name, value in self.arrival.headers if value != b"0"}
        return not names.isdisjoint((b"content-length", b"transfer-encoding"))

    async def _peek(self) -> None:
        """Look for a body that no header announces (RFC 9113 8.1), and frame it as HTTP/1.1
        does."""
        message = await self._receive()
        if message["type"] == DISCONNECT:
            self._client_gone()
        elif message.get("body") or message.get("more_body", False):
            self._peeked = message
            self.arrival.headers = [*self.arrival.headers, (b"transfer-encoding", b"chunked")]
        else:
            self._body_left = False

    async def receive(self) -> Message:
        """The next piece of the request's body, or the message that the client has left. Only one
        coroutine may call this at a time, and nothing else may receive from the server
        meanwhile."""
        if not self._body_left and self._listening is None:
            self.listen()
        if self._listening is not None:
            if self._body_left:  # it has none, and this was not reported yet
                self._body_left = False
                return {"type": REQUEST, "body": b"", "more_body": False}
            if not (self.disconnected or self.response_complete):
                await asyncio.wait((self._listening,))
        if self.disconnected or self.response_complete:
            return {"type": DISCONNECT}
        message, self._peeked = self._peeked or await self._receive(), None
        if message["type"] == DISCONNECT:
            self._client_gone()
        elif not message.get("more_body", False):
            self._body_left = False
            if self._gone is not None:
                self.listen()
        return message

    # The client

    def when_gone(self, callback: Callable[[], object]) -> None:
        """While a body is being received, its receiver notices that the client left."""
        self._gone = callback
        if self.disconnected:
            self._client_gone()
        elif not (self._is_watched or (self._body_left and self._has_body())):
            self._is_watched = True
            self._late.add(self)

    def listen(self) -> None:
        """Notice that the client leaves, from now on."""
        if self._listening is None:
            self._listening = self.outbox.spawn(self._await_disconnect())

    async def _await_disconnect(self) -> None:
        while (await self._receive())["type"] != DISCONNECT:
            pass
        self._client_gone()

    def _client_gone(self) -> None:
        callback, self._gone = self._gone, None
        self.disconnected = self.disconnected or not self.response_complete
        self.outbox.drop()
        if callback is not None and not self.response_complete:
            callback()

    # The answer

    def start_with(self, head: ResponseHead) -> None:
        if self.response_started:
            raise InvalidResponseHead("a second head")
        self.response_started = True
        self.status = head.status
        headers = head.headers
        if head.status in BODILESS:
            # Some servers expect exactly the announced number of bytes (RFC 9110 8.6, 15.4.5).
            self._is_bodiless = True
            headers = [line for line in headers if line[0].lower() != b"content-length"]
        if not self.keep_alive and not self._is_multiplexed:
            headers.append((b"connection", b"close"))
        self._put({"type": START, "status": head.status, "headers": headers})

    def write(self, data: bytes) -> None:
        self._put_body(data, more=True)

    def end(self, data: bytes = b"", trailers: bytes = b"") -> None:
        self._put_body(data, more=False)
        self.response_complete = True
        self._gone = self.outbox.drained = None
        self.outbox.finish()

    def _put_body(self, data: bytes, *, more: bool) -> None:
        """An empty piece makes the server send the head: servers may keep it until a body
        follows."""
        if self._is_bodiless:
            data = b""
        last = None if data or more else self.outbox.last_queued
        if last is not None and last["type"] == BODY:
            last["more_body"] = False
            return
        self.sent_bytes += len(data)
        self._put({"type": BODY, "body": data, "more_body": more}, len(data))

    def _put(self, message: Message, size: int = 0) -> None:
        if not self.disconnected:
            self.outbox.put(message, size)

    def switch(
        self,
        headers: Iterable[Header],
        upstream: asyncio.Transport,
        early: bytes,
        upstream_lost: Callable[[Exception | None], None],
        limits: TunnelLimits,
    ) -> ClientTunnel:
        raise AssertionError("no upgrade is asked for over ASGI's http scopes")

    # An application in this process, see `passage.py`

    def host(self, guest: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return self.outbox.host(guest)

    async def guest_receive(self) -> Message:
        return await self.receive()

    async def guest_send(self, message: Message) -> None:
        await self.send(message)


def read_arrival(scope: Scope) -> Arrival:
    """An ASGI scope as bytes. The target is put together again."""
    raw_path = scope.get("raw_path") or quote(scope["path"], safe=PATH_SAFE).encode()
    query = scope["query_string"]
    client = scope.get("client")
    http_version = scope.get("http_version", "1.1")
    headers = scope["headers"]
    method = scope.get("method", "GET").encode("latin-1")
    target = raw_path + b"?" + query if query else raw_path
    parsed = _read_plain(method, target, headers) if http_version == "1.1" else None
    if parsed is None:
        _check(method, target, headers)
    return Arrival(
        method,
        target,
        _with_one_cookie(headers) if http_version >= "2" else headers,
        client[0] if client else "",
        scope["scheme"],
        is_http_1_0=http_version == "1.0",
        parsed=parsed,
    )


def _check(method: bytes, target: bytes, headers: Iterable[Header]) -> None:
    """Check what a server has to keep from its applications (CVE-2025-57804): a line break in a
    value would become a header towards the upstream. Raises BadArrival."""
    if not TOKEN.fullmatch(method) or _BREAKS.search(target):
        raise BadArrival
    for name, value in headers:
        if not TOKEN.fullmatch(name) or _BREAKS.search(value):
            raise BadArrival


def _read_plain(method: bytes, target: bytes, headers: Iterable[Header]) -> RequestHead | None:
    """The head, parsed by the fast reader if it has no body: takes a fifth of the time of the
    gate's own walk over the headers. If a server passes on a line break, nothing is parsed."""
    lines = list(map(b": ".join, headers))
    text = b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (method, target, b"\r\n".join(lines))
    if text.count(b"\n") != len(lines) + 2:
        return None
    head = read_request(text)
    if head is None or head.has_body or len(head.text) != len(text):
        return None
    return head


def _with_one_cookie(headers: Iterable[Header]) -> list[Header]:
    """HTTP/2 may send each cookie in its own line; HTTP/1.1 may not (RFC 9113 8.2.3)."""
    lines = list(headers)
    cookies = [value for name, value in lines if name == b"cookie"]
    if len(cookies) < 2:
        return lines
    rest = [line for line in lines if line[0] != b"cookie"]
    return [*rest, (b"cookie", b"; ".join(cookies))]
