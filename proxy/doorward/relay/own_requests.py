"""Doorward's own requests to an application: logging in there, and logging out.

Knows how such a request is sent and sent again; must not know what it asks for.
"""

from collections.abc import Callable

from doorward.relay.retry import Next, SentRequest, next_step
from doorward.upstream.awaited_head import AwaitedHead
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.heads import Head
from doorward.upstream.pool import Upstreams


async def ask(
    upstreams: Upstreams, method: bytes, begin: Callable[[Connection, AwaitedHead], None]
) -> Head:
    """The head of the answer. `begin` sends the request. Raises UpstreamFailure."""
    was_stale = False
    while True:
        connection = await upstreams.connect(fresh=was_stale)
        answer = AwaitedHead()
        try:
            begin(connection, answer)
            return await answer.head
        except UpstreamFailure as failure:
            attempt = SentRequest(method, False, connection.reused, False, was_stale, is_own=True)
            if next_step(attempt, failure) is not Next.SAME_UPSTREAM_FRESH:
                raise
            was_stale = True
        finally:
            answer.leave(connection)
