"""Who reads an answer, as a connection sees it.

Must not know how it comes.
"""

from typing import Protocol

from proxy.upstream.failures import UpstreamFailure
from proxy.upstream.framing import Header
from proxy.upstream.heads import Head


class Sink(Protocol):
    """Who reads an answer. Order: any `on_interim` (1xx), `on_head`, any `on_body`, then `on_end`;
    or `on_failure`, once, at any point. After these two nothing more is called. `on_sweep` comes
    now and then for as long as the exchange lasts, with the loop's time."""

    def on_interim(self, status: int, headers: list[Header]) -> None: ...
    def on_head(self, head: Head) -> None: ...
    def on_body(self, data: bytes) -> None: ...
    def on_end(self, trailers: list[Header]) -> None: ...
    def on_failure(self, failure: UpstreamFailure) -> None: ...
    def on_writable(self) -> None: ...
    def on_sweep(self, now: float) -> None: ...
