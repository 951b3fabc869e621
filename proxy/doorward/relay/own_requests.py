"""Doorward's own requests to an application: logging in there, and logging out.

Knows how such a request is sent and sent again; must not know what it asks for.
"""

from collections.abc import Callable

from doorward.relay.retry import Next, SentRequest, next_step
from doorward.upstream.awaited_answer import AwaitedAnswer, Measure, OwnAnswer
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.pool import Upstreams


async def ask(
    upstreams: Upstreams,
    method: bytes,
    begin: Callable[[Connection, AwaitedAnswer], None],
    measure: Measure | None = None,
) -> OwnAnswer:
    """The answer, with as much of its body as `measure` says. `begin` sends the request. Raises
    UpstreamFailure."""
    was_stale = False
    while True:
        connection = await upstreams.connect(fresh=was_stale)
        awaited = AwaitedAnswer(measure)
        try:
            begin(connection, awaited)
            return await awaited.answer
        except UpstreamFailure as failure:
            attempt = SentRequest(method, False, connection.reused, False, was_stale, is_own=True)
            if next_step(attempt, failure) is not Next.SAME_UPSTREAM_FRESH:
                raise
            was_stale = True
        finally:
            awaited.leave(connection)
