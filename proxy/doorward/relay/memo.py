"""Facts of requests that came before, byte for byte over the same link: the one memo of the way.

Everything that depends on the moment, the session above all, is decided anew each time.
"""

from doorward.gate.accept import REMEMBERED_BYTES
from doorward.gate.gate import RequestFacts
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.headers import Block
from doorward.http1.repeats import make_room

# Four KiB each at most, one as a rule.
LIMIT = 2048


class Memo:
    """Facts by method, target and header block, for the link that the request came by last. The
    settings that they follow from do not change; `clear` forgets all."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, bytes, Block], tuple[tuple[str, str], RequestFacts]] = {}

    def find(self, exchange: ClientExchange) -> RequestFacts | None:
        block = exchange.block
        if block is None:
            return None
        found = self._kept.get((exchange.method, exchange.target, block))
        return None if found is None or found[0] != exchange.link else found[1]

    def keep(self, exchange: ClientExchange, facts: RequestFacts) -> None:
        """Keep them, where these bytes may come again."""
        block = exchange.block
        if block is None or facts.has_own_id or len(exchange.target) > REMEMBERED_BYTES:
            return
        make_room(self._kept, LIMIT)
        self._kept[exchange.method, exchange.target, block] = exchange.link, facts

    def clear(self) -> None:
        self._kept.clear()
