"""What the ASGI carrier notes of an exchange as it goes, for whoever observes.

Knows ASGI messages and our server's exchange; must not know who is told, and decides nothing.
"""

from collections.abc import Awaitable
from typing import Any

from doorward.accounts.sessions.sessions import Session
from doorward.gate.accept import Accepted, Arrival
from doorward.gate.decision import Forward, Refuse
from doorward.observe.observer import (
    CLIENT_GONE,
    FORWARDED,
    LEFT,
    NO_ROUTE,
    OURS,
    SWITCHED,
    Asked,
    Decided,
    Unread,
    failed,
    now_s,
    refused,
)
from doorward.relay.forward import Send

CRASHED = 500  # what any ASGI server answers for an application that raised


class Note:
    """Fills `doorward.observe.observer.Told`. Under another server, its `send` stands between
    the application and that."""

    __slots__ = (
        "_exchange",
        "_send",
        "_sent",
        "_status",
        "_unread",
        "_whole",
        "accepted",
        "decided",
        "route",
        "session",
        "started",
    )

    def __init__(self, arrival: Arrival, exchange: Any, send: Send) -> None:
        """`exchange` is our own server's, None under another."""
        self.started = now_s()
        self.accepted: Accepted | None = None
        self._unread = Unread(arrival.peer, arrival.method, arrival.target)
        self.session: Session | None = None
        self.decided: Decided = OURS
        self.route = NO_ROUTE
        self._status = 0
        self._sent = 0
        self._whole = False
        self._exchange = exchange
        self._send = send

    @property
    def status(self) -> int:
        return self._status or (0 if self._exchange is None else int(self._exchange.status))

    def send(self, message: dict[str, Any]) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message["type"] == "http.response.body":
            self._sent += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        return self._send(message)

    def let_through(self, decision: Forward) -> None:
        self.decided, self.route, self.session = FORWARDED, decision.route, decision.session

    def refused(self, refusal: Refuse, request_id: str = "") -> None:
        """`request_id` is for a request that was not accepted, and has none of its own."""
        self.decided = refused(refusal.code)
        self._unread.request_id = request_id
        if refusal.route != NO_ROUTE:
            self.route = refusal.route

    def close(self, crashed: bool) -> None:
        """The exchange is over, one way or the other."""
        if not self.status and self._tunnel is not None:
            self._status = SWITCHED
        elif not self.status:
            self._status = CRASHED if crashed else self._turned_away or CLIENT_GONE
        if self.decided is FORWARDED and not self.is_whole:
            self.decided = failed(LEFT if self._exchange is None else self._exchange.gone_for)

    @property
    def request(self) -> Asked:
        return self._unread if self.accepted is None else self.accepted

    @property
    def _turned_away(self) -> int:
        return 0 if self._exchange is None else self._exchange.turned_away

    @property
    def _tunnel(self) -> Any:
        return None if self._exchange is None else self._exchange.tunnel

    @property
    def sent_bytes(self) -> int:
        if self._tunnel is not None:
            return int(self._tunnel.sent_bytes)
        if self._exchange is not None:
            return int(self._exchange.sent_bytes)
        return 0 if self.request.method == b"HEAD" else self._sent

    @property
    def is_whole(self) -> bool:
        if self._exchange is None:
            return self._whole
        return bool(self._exchange.response_complete or self._exchange.tunnel is not None)
