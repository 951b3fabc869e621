"""Upstream connections that belong to one client connection and end with it.

An authenticated connection answers every later request as that user, so it never goes back to its
pool. Knows connections and pools; must not know schemes, users or requests.
"""

from typing import cast

from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.pool import Pool


class BoundConnections:
    """The connections of one client connection: at most one per route.

    `session` is the request's session, or None. A connection that began with another session is
    closed instead of used.
    """

    def __init__(self) -> None:
        self._connections: dict[object, BoundConnection] = {}
        self.is_closed = False

    def take(self, route: object, session: object) -> Connection | None:
        """The connection of this route, if there is one and an exchange may begin over it."""
        bound = self._connections.get(route)
        if bound is None:
            return None
        if bound.session != session or not bound.connection.is_usable():
            self._drop(route)
            return None
        return bound.connection if bound.resume() else None

    async def acquire(self, route: object, session: object) -> Connection | None:
        """The same, once the upstream accepts one more request. Raises UpstreamOverloaded."""
        bound = self._connections.get(route)
        if bound is None:
            return None
        await bound.pool.room()
        connection = self.take(route, session)
        if connection is None:
            bound.pool.let_in()
        return connection

    def hold(self, route: object, session: object, connection: Connection) -> None:
        """Keep a connection, which an exchange is using, for this client."""
        known = self._connections.get(route)
        if known is None or known.connection is not connection:
            self._drop(route)
            self._connections[route] = BoundConnection(connection, self, session)

    def _drop(self, route: object) -> None:
        bound = self._connections.pop(route, None)
        if bound is not None:
            bound.drop()

    def close(self) -> None:
        """The client is gone."""
        self.is_closed = True
        for route in tuple(self._connections):
            self._drop(route)


class BoundConnection:
    """The owner of such a connection. Without `client`, it is closed after the current exchange,
    because no later request can be recognized as the same client's."""

    def __init__(
        self,
        connection: Connection,
        client: BoundConnections | None = None,
        session: object = None,
    ) -> None:
        self.connection = connection
        self.session = session
        self.pool = cast(Pool, connection.home)
        self._client = client
        self._is_parked = False
        connection.owner = self

    def resume(self) -> bool:
        """Whether it waited for a request, and an exchange may begin now."""
        if not (self._is_parked and self.pool.resume()):
            return False
        self._is_parked = False
        return True

    def drop(self) -> None:
        """Close it, at once or after the current exchange."""
        self._client = None
        if self._is_parked:
            self.connection.close()

    def release(
        self, connection: Connection, alive: bool, failure: UpstreamFailure | None = None
    ) -> None:
        if self._is_parked:
            self._is_parked = False
            self.pool.unpark()
        if alive and self._client is not None and not self._client.is_closed:
            self._is_parked = True
            self.pool.park()
        else:
            self.pool.release(connection, False, failure)
