"""How many requests a user or an address may send to a route's application.

Knows whose budget a request takes from; must not know how it is kept. Asked once for each request
that the rules let through, and before anything of it reaches an upstream.

The counters are those of the login APIs (`storage/rates.py`): a file of bounded size that all
workers of this host share. The `limits` library on PyPI keeps counters in the memory of one
process, so that each worker would grant a budget of its own, or in Redis, Memcached or MongoDB.
"""

from math import ceil
from typing import NamedTuple, Protocol

from doorward.accounts.passwords.regulation import get_network
from doorward.accounts.refusals import StorageUnavailable
from doorward.gate.accept import Accepted
from doorward.gate.decision import Forward, Refuse, too_many_requests, unavailable
from doorward.settings import Route


class Paces(Protocol):
    """Counters; see `storage.rates.Rates.pace`."""

    def pace(self, key: str, limit: int, window_s: float, now: float) -> float: ...


class _Limit(NamedTuple):
    name: str
    requests: int
    per_s: float
    by_user: bool


class RouteLimits:
    """The limits of all routes, by their numbers."""

    def __init__(self, paces: Paces, routes: tuple[Route, ...]) -> None:
        self._paces = paces
        self._limits = tuple(map(_read_limit, routes))

    @property
    def has_any(self) -> bool:
        return any(limit is not None for limit in self._limits)

    def judge(self, request: Accepted, decision: Forward, now: float) -> Forward | Refuse:
        """The decision, or a refusal when there were too many requests before this one. Without
        counters nothing passes."""
        limit = self._limits[decision.route]
        if limit is None:
            return decision
        session = decision.session
        if limit.by_user and session is not None:
            budget = f"user {session.user.number}"
        else:
            budget = f"network {get_network(request.address_text)}"
        key = f"{limit.name} {budget}"
        try:
            wait_s = self._paces.pace(key, limit.requests, limit.per_s, now)
        except StorageUnavailable:
            return unavailable().on(decision.route)
        return too_many_requests(ceil(wait_s), decision.route) if wait_s else decision


def _read_limit(route: Route) -> _Limit | None:
    limit = route.rate_limit
    if limit is None:
        return None
    name = f"route {route.host or '*'}{route.path}"
    return _Limit(name, limit.requests, limit.per.total_seconds(), limit.by == "user")
