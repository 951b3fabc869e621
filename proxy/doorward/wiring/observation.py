"""Connects the counters with the parts that count, and builds the observer of exchanges.

Knows where each number is kept; must not know how numbers are exported.
"""

from collections.abc import Callable, Sequence

from doorward import paths
from doorward.accounts.sessions.live import Live
from doorward.gate.access_tokens import AccessCarrier
from doorward.observe import access
from doorward.observe.counters import FAILURES, RETRIES, Counters, Values
from doorward.observe.metrics import CONNECTIONS, SESSIONS, TUNNELS
from doorward.observe.observer import Observer
from doorward.relay.forwarder import Forwarder
from doorward.relay.tunnels import Tunnels
from doorward.settings import LogSettings, Route
from doorward.upstream.pool import Pools

RESET = f"{paths.RESET}?".encode()  # the token after it allows setting a password


def name_routes(routes: Sequence[Route]) -> tuple[str, ...]:
    """The names of routes, by number: their host and path."""
    return tuple(route.name for route in routes)


def build_observer(
    log: LogSettings, counters: Counters, names: Sequence[str], tokens: AccessCarrier | None
) -> Observer:
    """The observer that counts exchanges and, if the settings say so, writes an access log.
    `tokens` finds tokens in targets."""
    if not log.access:
        return counters

    def without_tokens(target: bytes) -> bytes:
        before, reset, _ = target.partition(RESET)
        if reset:
            return before + reset
        return target if tokens is None else tokens.take(target)[0]

    return access.AccessLog(
        counters, names, without_tokens, access.write_lines_to(format=log.format)
    )


def count(
    counters: Counters,
    forwarders: Sequence[Forwarder],
    pools: Pools,
    tunnels: Tunnels,
    live: Live,
) -> None:
    """Let the counters read the numbers of these parts."""
    counters.sources += [_retries(forwarders), _failures(forwarders)]
    counters.gauges += [
        _connections(pools),
        lambda: {(TUNNELS,): tunnels.open},
        lambda: {(SESSIONS,): live.count},
    ]


def _retries(forwarders: Sequence[Forwarder]) -> Callable[[], Values]:
    return lambda: {(RETRIES, route): one.retried for route, one in enumerate(forwarders)}


def _failures(forwarders: Sequence[Forwarder]) -> Callable[[], Values]:
    return lambda: {
        (FAILURES, route, word): number
        for route, one in enumerate(forwarders)
        for word, number in one.failures.items()
    }


def _connections(pools: Pools) -> Callable[[], Values]:
    def read() -> Values:
        found: Values = {}
        for upstream, *numbers in pools.connections():
            for state, number in zip(("idle", "busy"), numbers, strict=True):
                key = (CONNECTIONS, upstream, state)
                found[key] = found.get(key, 0) + number
        return found

    return read
