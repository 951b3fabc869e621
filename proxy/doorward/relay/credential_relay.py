"""One decided request whose credentials towards the application may have to be found first.

The same as any relay otherwise; must not know which credentials these are.
"""

import asyncio
from collections.abc import Callable

from doorward.gate.decision import unavailable
from doorward.relay.preparation import TRIES
from doorward.relay.relay import Relay, Waiting
from doorward.relay.request_body import Refused
from doorward.upstream.connection import Connection


class CredentialRelay(Relay):
    """A relay of a route whose credentials need preparation."""

    def start(self) -> Waiting | None:
        has_body = self.facts.request.headers.has_body
        if has_body or not self._services.preparation.is_needed(self._decision):
            return super().start()
        return self._send(is_first=True)

    async def _find(self, *, is_first: bool) -> Connection:
        """Raises UpstreamFailure, and Refused when the decision is another one by now."""
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
            connection.abandon()  # while it was connecting, the session was read again
        raise Refused(unavailable())
