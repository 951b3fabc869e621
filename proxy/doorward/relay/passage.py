"""A decided request on its way to an application in this process.

Replaces `Relay` if Doorward is a middleware: the same decision, request head and answer headers,
without a connection. Knows ASGI; must not know how a server sends it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, cast
from urllib.parse import unquote

from doorward.accounts.sessions.sessions import Session
from doorward.gate.authorize import Target
from doorward.gate.cookies import Cookies, log_drops
from doorward.gate.decision import Forward, Refuse, too_large
from doorward.gate.gate import RequestFacts
from doorward.gate.policy_gate import build_identity
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.headers import Header
from doorward.observe.observer import CLIENT_GONE, FORWARDED, BriefRecord, failure_outcome
from doorward.policy import Identity
from doorward.relay.outbox import Message
from doorward.relay.relay import Pending, Services
from doorward.relay.request_body import Refused, declared_bytes
from doorward.relay.tunnels import CLOSE_CODES
from doorward.rewrite.added_headers import build_added_headers
from doorward.rewrite.answer_headers import answer_headers
from doorward.rewrite.request_head import RequestHeads
from doorward.rewrite.route_credentials import drop_challenges
from doorward.settings import Route, Settings

# Messages that carry an answer's headers.
_ACCEPT = "websocket.accept"
_HEADS = frozenset(("http.response.start", _ACCEPT, "websocket.http.response.start"))
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


InnerApp = Callable[[Any, Any, Any], Awaitable[None]]


class Host(Protocol):
    """What an exchange over ASGI has in addition to `ClientExchange`: it can let an application
    answer."""

    original: dict[str, Any]  # the scope as the server made it
    farewell: tuple[int, str]  # code and reason for the client of a WebSocket that is cut

    def host(self, guest: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Let `guest` answer; it may continue after the answer."""

    async def guest_receive(self) -> Message: ...
    async def guest_send(self, message: Message) -> None: ...


class Passages:
    """All open passages of one process; `app` is the application."""

    def __init__(
        self,
        app: InnerApp,
        settings: Settings,
        routes: tuple[Route, ...],
        heads: RequestHeads,
        cookies: Cookies,
        is_public: Callable[[Target], bool],
        clock: Callable[[], float],
    ) -> None:
        self.app = app
        self.clock = clock
        self.heads = heads
        self.drops_challenges = tuple(route.credentials is not None for route in routes)
        self.body_bytes = tuple(settings.body_bytes(route) for route in routes)
        self.tells = tuple(route.close_websockets for route in routes)
        self.added = tuple(map(build_added_headers, routes))
        self.sets_ours = log_drops(cookies.sets_ours)
        self._tells_on_public = tuple(route.identity_on_public for route in routes)
        self._is_public = is_public
        self._open: set[Passage] = set()

    def start(
        self,
        exchange: ClientExchange,
        facts: RequestFacts,
        request_id: str,
        started: float,
        services: Services,
        decision: Forward,
    ) -> None:
        """Let the application answer a request."""
        passage = Passage(self, services, decision, exchange, facts, request_id, started)
        self._open.add(passage)
        if facts.request.upgrade:
            services.tunnels.open += 1
        passage.begin()

    def over(self, passage: "Passage") -> None:
        if passage in self._open:
            self._open.discard(passage)
            if passage.facts.request.upgrade:
                passage.services.tunnels.open -= 1

    def sweep(self, now: float) -> None:
        """Called regularly."""
        for passage in tuple(self._open):
            passage.services.watch.look(passage)

    def identity(self, facts: RequestFacts, decision: Forward) -> Identity | None:
        session = decision.session
        if session is None:
            return None
        if self._is_public(facts.target) and not self._tells_on_public[decision.route]:
            return None
        return build_identity(session)


class Passage(Pending):
    """One request on its way to the application; implements `watch.Stream`."""

    def __init__(
        self,
        passages: Passages,
        services: Services,
        decision: Forward,
        exchange: ClientExchange,
        facts: RequestFacts,
        request_id: str,
        started: float,
    ) -> None:
        super().__init__(exchange, facts, request_id, started)
        self.services = services
        self.session: Session | None = decision.session
        self._passages = passages
        self._decision = decision
        self._host = cast(Host, exchange)
        self._task: asyncio.Task[None] | None = None
        self._received_bytes = 0
        self.is_over = False

    def begin(self) -> None:
        most = self._passages.body_bytes[self._decision.route]
        if most is not None and declared_bytes(self.facts.request.headers) > most:
            self._refuse(too_large())
            return
        if self.services.preparation.is_needed(self._decision):
            self._task = self._host.host(self._prepare())
        else:
            self._task = self._host.host(self._run(self._scope()))

    async def _prepare(self) -> None:
        """Have what goes with the request found first."""
        try:
            decision = await self.services.preparation.prepare(self.facts, self._decision)
        except Refused as over:
            self._refuse(over.refusal)
            return
        self._decision, self.session = decision, decision.session
        await self._run(self._scope())

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._passages.app(scope, self._receive, self._send)
        finally:
            self._end()

    def _scope(self) -> dict[str, Any]:
        """The application's scope: decided values instead of the client's."""
        facts, decision, request = self.facts, self._decision, self.facts.request
        original = self._host.original
        head = self._passages.heads.make(facts, decision, self.request_id)
        target, headers = read_head(head)
        raw_path, _, query = target.partition(b"?")
        scheme = request.scheme
        client = original.get("client")
        if request.address_text and (client is None or client[0] != request.address_text):
            client = (request.address_text, 0)
        state = {**original.get("state", {}), "doorward": self._passages.identity(facts, decision)}
        kept = {"websocket.http.response"} if original["type"] == "websocket" else set()
        extensions = original.get("extensions") or {}
        return {
            **original,
            "scheme": _WEBSOCKET_SCHEMES[scheme] if original["type"] == "websocket" else scheme,
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "client": client,
            "state": state,
            # Other messages of the application would bypass this.
            "extensions": {name: extensions[name] for name in kept & extensions.keys()},
        }

    async def _receive(self) -> Message:
        message = await self._host.guest_receive()
        self._received_bytes += len(message.get("body") or b"")
        most = self._passages.body_bytes[self._decision.route]
        if most is not None and self._received_bytes > most:
            self.end_for(too_large())
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] in _HEADS:
            headers: list[Header] = [(bytes(n), bytes(v)) for n, v in message.get("headers") or ()]
            private = self._decision.private
            kept = answer_headers(headers, self._passages.sets_ours, private)
            if self._passages.drops_challenges[self._decision.route]:
                kept = drop_challenges(kept)
            added = self._passages.added[self._decision.route]
            if added is not None and message["type"] != _ACCEPT:
                secure = self.facts.request.scheme == "https"
                kept += added.missing(kept, message["status"], secure=secure)
                kept += added.expiry(self.session, private, self._passages.clock())
            message = {**message, "headers": kept}
        await self._host.guest_send(message)
        if self.exchange.response_complete:
            self._end()

    # Ends

    def end_for(self, refusal: Refuse) -> None:
        """The session is over or has lost access: end the passage at once."""
        if self.is_over:
            return
        if self.exchange.response_started:
            self._end(refusal.code)
            if self._passages.tells[self._decision.route]:
                self._host.farewell = (CLOSE_CODES + refusal.status, refusal.code)
            self.exchange.cut(at_once=True)
        else:
            self._refuse(refusal)
        if self._task is not None:
            self._task.cancel()

    def _refuse(self, refusal: Refuse) -> None:
        self.is_over = True
        self._passages.over(self)
        self.exchange.keep_alive = False
        self.services.replies.refuse(self, refusal, self._decision.route)

    def _end(self, reason: str = "") -> None:
        """Record it, once."""
        if self.is_over:
            return
        self.is_over = True
        self._passages.over(self)
        exchange = self.exchange
        is_whole = exchange.response_complete and not reason
        if not (is_whole or reason):
            reason = exchange.gone_for
        record = BriefRecord(self.request, self.session, exchange.sent_bytes, is_whole=is_whole)
        outcome = failure_outcome(reason) if reason else FORWARDED
        status, route = exchange.status or CLIENT_GONE, self._decision.route
        self.services.observer.ended(outcome, route, status, self.started, record)


def read_head(head: bytes) -> tuple[bytes, list[Header]]:
    """The target and the headers of a request head that Doorward built, names in lower case."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(b": ")
        headers.append((name.lower(), value))
    return first.split(b" ")[1], headers
