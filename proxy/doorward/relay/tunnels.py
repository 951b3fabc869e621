"""Upgrades: which pages may ask for one, how many tunnels are open, and what an answer must
contain.

Knows origins and limits; must not know the content of a tunnel.
"""

import asyncio
from dataclasses import replace

from doorward.gate.accept import Accepted
from doorward.gate.decision import Forward, Refuse, cross_origin, too_many_tunnels
from doorward.gate.same_origin import Sender, detect_sender
from doorward.http1.client_exchange import ClientExchange, ClientTunnel, TunnelLimits
from doorward.http1.headers import Header
from doorward.relay.request_body import Refused
from doorward.settings import Route
from doorward.upstream.connection import Connection
from doorward.upstream.failures import InvalidAnswer
from doorward.upstream.heads import Head

SWITCHING = 101
_WEBSOCKET = {b"websocket"}
# Close codes from 4000 on are free for private use (RFC 6455 7.4.2): 4401 is what 401 would be.
CLOSE_CODES = 4000


class Tunnels:
    """The tunnels of one process. `open` is their number."""

    def __init__(
        self, public_origin: str, routes: tuple[Route, ...], limit: int, limits: TunnelLimits
    ) -> None:
        """`limit` is for their number, `limits` for each of them."""
        self._public_origin = public_origin
        self._hosts = tuple(route.host for route in routes)
        self._limit = limit
        self._limits = limits
        self._telling_limits = replace(limits, tells=True)
        self._tells = tuple(route.close_websockets for route in routes)
        self.open = 0

    def judge(self, request: Accepted, decision: Forward) -> Forward | Refuse:
        """What happens to an upgrade that the rules allow.

        A browser sends its cookies whatever page asks, and gives the answer to that page, so only
        pages of this host may ask (RFC 6455 10.2). Programs send no Origin.
        """
        if self.is_foreign(request, decision):
            return cross_origin()
        return decision if self.open < self._limit else too_many_tunnels()

    def is_foreign(self, request: Accepted, decision: Forward) -> bool:
        """Whether a page of another site asks for an upgrade."""
        host = self._hosts[decision.route]
        asked = (request.scheme, request.authority)
        found = detect_sender(request.headers.passing, *asked, self._public_origin, host)
        return found is Sender.OTHER

    def join(
        self,
        exchange: ClientExchange,
        request: Accepted,
        connection: Connection,
        head: Head,
        headers: list[Header],
        route: int,
    ) -> ClientTunnel:
        """Join client and upstream, which has switched protocols.

        Raises InvalidAnswer if it switched to another protocol than requested, ConnectionLost if it
        has left, Refused if there are too many.
        """
        switched = [value for name, value in head.headers if name.lower() == b"upgrade"]
        protocols = _protocols(switched)
        if not protocols <= _protocols([request.upgrade]):
            raise InvalidAnswer("the upstream switched to a protocol that was not asked for")
        if self.open >= self._limit:
            raise Refused(too_many_tunnels())
        transport, early = connection.hand_over()
        lines = [*headers, (b"connection", b"Upgrade"), (b"upgrade", b", ".join(switched))]
        tells = self._tells[route] and protocols == _WEBSOCKET
        limits = self._telling_limits if tells else self._limits
        tunnel = exchange.switch(lines, transport, early, connection.handed_lost, limits)
        self.open += 1
        tunnel.over.add_done_callback(self._closed)
        return tunnel

    def _closed(self, over: asyncio.Future[None]) -> None:
        self.open -= 1


def _protocols(lines: list[bytes]) -> set[bytes]:
    return {one.strip().lower() for line in lines for one in line.split(b",")}
