"""Several upstreams of one route: the least busy one gets the next exchange, a failing one gets
none.

Must not know requests, or how health checks work; `health.py` does.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from doorward.settings import Failover, Route
from doorward.upstream.address import Address
from doorward.upstream.connection import Connection
from doorward.upstream.failures import ConnectFailed, NoneUsable
from doorward.upstream.health import watch
from doorward.upstream.pool import Pool, Pools, Upstreams

_log = structlog.get_logger("doorward.upstream")


class Member:
    """One of several upstreams. Failures eject it for a while, a health check for as long as it is
    unhealthy."""

    def __init__(self, pool: Pool, failover: Failover, when_changed: Callable[[], None]) -> None:
        self.pool = pool
        self.is_unhealthy = False
        self.ejected_until = 0.0
        self._failover = failover
        self._failures: list[float] = []
        self._when_changed = when_changed

    @property
    def is_usable(self) -> bool:
        return not self.is_unhealthy and not self.ejected_until

    def failed(self) -> None:
        """Record a failure."""
        now = asyncio.get_running_loop().time()
        since = now - self._failover.within.total_seconds()
        self._failures = [*(at for at in self._failures if at > since), now]
        if len(self._failures) >= self._failover.failures and not self.ejected_until:
            self.ejected_until = now + self._failover.pause.total_seconds()
            _log.warning("upstream_out", upstream=str(self.pool.address))
            self._when_changed()

    def sweep(self, now: float) -> None:
        """Use it again after its pause; one more failure soon after ejects it again."""
        if self.ejected_until and now >= self.ejected_until:
            self.ejected_until = 0.0
            self._failures = [now] * (self._failover.failures - 1)
            _log.info("upstream_back", upstream=str(self.pool.address))
            self._when_changed()

    def judge(self, is_unhealthy: bool) -> None:
        """The result of a health check."""
        if is_unhealthy != self.is_unhealthy:
            self.is_unhealthy = is_unhealthy
            event = "upstream_ill" if is_unhealthy else "upstream_well"
            log = _log.warning if is_unhealthy else _log.info
            log(event, upstream=str(self.pool.address))
            self._when_changed()


class Group:
    """The upstreams of a route. Failures never eject an only one, only its health check does."""

    def __init__(self, pools: tuple[Pool, ...], failover: Failover) -> None:
        self.members = tuple(Member(pool, failover, self._update_usable) for pool in pools)
        if len(pools) > 1:
            for member in self.members:
                member.pool.when_failed.append(member.failed)
        self._usable = self.members
        self.retries = 0
        self._served = 0  # position in `_usable` of the last exchange: equally busy ones take turns

    def _update_usable(self) -> None:
        """If failures have ejected all, all are usable: a try is better than a certain refusal."""
        well = tuple(member for member in self.members if not member.is_unhealthy)
        self._usable = tuple(member for member in well if member.is_usable) or well

    def sweep(self, now: float) -> None:
        for member in self.members:
            member.sweep(now)

    def _least_busy(self, tried: frozenset[Member]) -> int:
        """The position in `_usable` for the next exchange, -1 if there is none."""
        usable, best, least = self._usable, -1, 0
        for step in range(1, len(usable) + 1):
            at = (self._served + step) % len(usable)
            busy = usable[at].pool.busy
            if (best < 0 or busy < least) and usable[at] not in tried:
                best, least = at, busy
        return best

    def take(self, tried: frozenset[Member] = frozenset()) -> Connection | None:
        at = self._least_busy(tried)
        connection = None if at < 0 else self._usable[at].pool.take()
        if connection is not None:
            self._served = at
        return connection

    async def connect(
        self, tried: frozenset[Member] = frozenset(), *, fresh: bool = False
    ) -> Connection:
        """A connection to the least busy upstream; if that fails, to the next. Raises
        UpstreamFailure."""
        failure: ConnectFailed | None = None
        while (at := self._least_busy(tried)) >= 0:
            self.retries += failure is not None
            member, self._served = self._usable[at], at
            try:
                kept = member.pool.take() if tried and not fresh else None
                return kept or await member.pool.connect(fresh=fresh)
            except ConnectFailed as fault:
                failure = fault
                tried |= {member}
        raise failure or NoneUsable("no upstream of this route is well")

    def without(
        self, connection: Connection, tried: frozenset[Member] = frozenset()
    ) -> Upstreams | None:
        """The upstreams that this exchange has not tried yet."""
        tried |= {member for member in self.members if member.pool is connection.home}
        return Remaining(self, tried) if self._least_busy(tried) >= 0 else None


class Remaining:
    """The upstreams of a group at which an exchange has not failed yet."""

    retries = 0  # the group counts

    def __init__(self, group: Group, tried: frozenset[Member]) -> None:
        self._group = group
        self._tried = tried

    def take(self) -> Connection | None:
        return self._group.take(self._tried)

    async def connect(self, *, fresh: bool = False) -> Connection:
        return await self._group.connect(self._tried, fresh=fresh)

    def without(self, connection: Connection) -> Upstreams | None:
        return self._group.without(connection, self._tried)


def build_upstreams(route: Route, pools: Pools) -> Pool | Group:
    """The upstreams of a route. Raises InvalidSettings for TLS files that cannot be used."""
    connect_s = route.timeouts.connect.total_seconds()
    found = tuple(
        pools.of(
            Address.of(upstream, route.tls),
            connect_s,
            route.concurrency,
            route.pool.idle.total_seconds(),
            route.lenient,
        )
        for upstream in route.upstream
    )
    if len(found) == 1 and route.health is None:
        return found[0]
    group = Group(found, route.failover)
    pools.swept.append(group.sweep)
    if route.health is not None:
        host = None if route.host is None or route.host.startswith("*") else route.host
        for member in group.members:
            check = partial(watch, member, member.pool.address, route.health, host)
            pools.checks.append(check)
    return group
