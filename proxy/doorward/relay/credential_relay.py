"""One decided request whose credentials for the application may have to be fetched first.

The same as any relay otherwise; must not know which credentials these are, except that those of one
kind can be over: then a safe request is sent once more with others.
"""

import asyncio
from collections.abc import Callable

from doorward.gate.decision import unavailable
from doorward.relay.preparation import TRIES
from doorward.relay.relay import Relay, Waiting
from doorward.relay.request_body import Refused
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.framing import Header
from doorward.upstream.heads import Head, ParsedHead

# RFC 9110 9.2.1, of those that show pages: the others change something, or are not asked for twice.
_SAFE = frozenset((b"GET", b"HEAD"))


class CredentialRelay(Relay):
    """A relay of a route whose credentials need preparation."""

    _number = 0  # of the credentials that were sent
    _is_repeated = False
    _is_discarding = False  # the rest of an answer that nobody gets

    def start(self) -> Waiting | None:
        if not self._services.preparation.is_needed(self._decision):
            return super().start()
        if self.facts.request.headers.has_body and self._refuse_size():
            return None
        return self._send(is_first=True)

    async def _find(self, *, is_first: bool) -> Connection:
        """Raises UpstreamFailure, and Refused if the decision has changed meanwhile."""
        preparation = self._services.preparation
        for _ in range(TRIES):
            if preparation.is_needed(self._decision):
                task = asyncio.current_task()
                assert task is not None
                cancel: Callable[[], object] = task.cancel
                self.exchange.when_gone(cancel)
                self._decision = await preparation.prepare(self.facts, self._decision)
                self.session, is_first = self._decision.session, False
            connection = await super()._find(is_first=is_first)
            if not preparation.is_needed(self._decision):
                return connection
            connection.abandon()  # the session was read again during the connect
        raise Refused(unavailable())

    def _begin(self, connection: Connection, *, has_body: bool) -> Waiting | None:
        self._number = self._services.preparation.get_number(self._decision)
        return super()._begin(connection, has_body=has_body)

    # What the connection calls

    def on_head(self, head: Head) -> None:
        if not self._decision.credentials:
            super().on_head(head)
            return
        preparation, decision = self._services.preparation, self._decision
        headers = head.headers
        if preparation.is_over(decision, head.status, headers):
            # Told in any case: the next request goes with others.
            if preparation.renew(decision, self._number) and self._is_repeatable:
                self._repeat()
                return
        kept = preparation.take(decision, self._number, headers)
        super().on_head(ParsedHead(head.status, kept, head.length, head.binds))

    @property
    def _is_repeatable(self) -> bool:
        request = self.facts.request
        return (
            not self._is_repeated
            and request.method in _SAFE
            and not request.headers.has_body
            and not request.upgrade
        )

    def _repeat(self) -> None:
        """Send the request once more, and discard this answer."""
        connection, self._connection = self._connection, None
        assert connection is not None
        self._is_repeated = self._is_discarding = True
        # Not at once: the connection is in the middle of reading the answer.
        asyncio.get_running_loop().call_soon(self._abandon_answer, connection)
        self.exchange.spawn(self._send_again())

    def _abandon_answer(self, connection: Connection) -> None:
        if connection.serves(self):
            connection.abandon()

    async def _send_again(self) -> None:
        self._is_discarding = False
        await self._send()

    def on_whole(self, head: Head, body: bytes) -> None:
        self.on_head(head)
        if not self._is_discarding:
            self._end(body, b"")

    def on_body(self, data: bytes) -> None:
        if not self._is_discarding:
            super().on_body(data)

    def on_end(self, trailers: tuple[Header, ...]) -> None:
        if not self._is_discarding:
            super().on_end(trailers)

    def on_failure(self, failure: UpstreamFailure) -> None:
        if not self._is_discarding:
            super().on_failure(failure)
