"""Routes with several upstreams, limits of concurrent requests, and health checks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.settings import Concurrency, Failover, HealthCheck, Settings, settings_from
from doorward.upstream.balance import Group, build_upstreams
from doorward.upstream.connection import Connection
from doorward.upstream.failures import ConnectFailed, ConnectionLost, NoneUsable, UpstreamOverloaded
from doorward.upstream.health import watch
from doorward.upstream.pool import BoundedPool, Pool, Pools

from tests.support.exchanges import address_of, begin, exchanged
from tests.support.live import free_port
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import PATIENCE_S, settled
from tests.support.wire import Wire

FAILOVER = Failover.model_validate({"failures": 2, "within": "1h", "pause": "2h"})
NOWHERE = ("127.0.0.1", 1)


@asynccontextmanager
async def group_of(*places: Any, failover: Failover = FAILOVER) -> AsyncIterator[Group]:
    pools = tuple(Pool(address_of(place), PATIENCE_S) for place in places)
    try:
        yield Group(pools, failover)
    finally:
        for pool in pools:
            pool.close()
        await asyncio.sleep(0)


async def connection_of(group: Any) -> Connection:
    found: Connection = group.take() or await group.connect()
    return found


def origins(stack: ExitStack, count: int, *scripts: Any) -> list[Origin]:
    return [stack.enter_context(Origin(scripts or (answering(OK),))) for _ in range(count)]


# Choosing the next upstream


async def test_equally_busy_upstreams_take_turns() -> None:
    with ExitStack() as stack:
        three = origins(stack, 3)
        async with group_of(*(origin.place for origin in three)) as group:
            for _ in range(12):
                assert (await exchanged(group)).body == b"ok"  # type: ignore[arg-type]
        assert [len(origin.heads) for origin in three] == [4, 4, 4]
        assert [len(origin.wires) for origin in three] == [1, 1, 1]


async def test_the_least_busy_gets_the_next_one() -> None:
    with ExitStack() as stack:
        busy, free = origins(stack, 2, lambda wire: wire.rest() and None)
        async with group_of(busy.place, free.place) as group:
            slow = [await group.members[0].pool.connect() for _ in range(3)]
            for connection in slow:
                begin(connection)
            for _ in range(3):
                begin(await connection_of(group))
            assert group.members[1].pool.busy == 3
            both = {(await connection_of(group)).owner for _ in range(2)}
            assert len(both) == 2, "equal again"


# Failing upstreams


async def test_if_no_server_listens_another_upstream_is_tried_at_once() -> None:
    with Origin((answering(OK),)) as origin:
        async with group_of(("127.0.0.1", free_port()), origin.place) as group:
            for _ in range(4):
                assert (await exchanged(group)).body == b"ok"  # type: ignore[arg-type]


async def test_an_upstream_that_failed_often_is_not_used_for_a_while() -> None:
    with Origin((answering(OK),)) as origin:
        async with group_of(NOWHERE, origin.place) as group:
            dead = group.members[0]
            now = asyncio.get_running_loop().time
            began = now()
            while dead.is_usable:
                await exchanged(group)  # type: ignore[arg-type]
            assert group._usable == (group.members[1],)
            group.sweep(began + 7199)
            assert not dead.is_usable
            group.sweep(now() + 7201)
            assert dead.is_usable and len(group._usable) == 2
            dead.failed()
            assert not dead.is_usable, "one more right after is enough"


async def test_failures_long_ago_do_not_count() -> None:
    within = "20ms"  # a longer time in between is right as well
    hasty = Failover.model_validate({"failures": 2, "within": within, "pause": "1h"})
    async with group_of(NOWHERE, ("127.0.0.1", 2), failover=hasty) as group:
        group.members[0].failed()
        await asyncio.sleep(0.03)  # the test is about the time in between
        group.members[0].failed()
        assert group.members[0].is_usable


async def test_if_all_upstreams_have_failed_all_are_tried() -> None:
    async with group_of(NOWHERE, ("127.0.0.1", 2)) as group:
        for _ in range(3):
            with pytest.raises(ConnectFailed) as caught:
                await group.connect()
            assert caught.value.status == 502
        assert not any(member.is_usable for member in group.members)
        assert len(group._usable) == 2


async def test_a_single_upstream_is_never_removed() -> None:
    async with group_of(NOWHERE) as group:
        for _ in range(5):
            with pytest.raises(ConnectFailed):
                await group.connect()
        assert group.members[0].is_usable


def closing(wire: Wire) -> None:
    """Reads a request and closes without an answer."""
    wire.head()


async def failures_after(script: Any, body: bool = False) -> int:
    """The number of failures after an exchange that followed a successful one."""
    noted: list[None] = []
    with Origin((script,)) as origin:
        pool = Pool(address_of(origin.place), PATIENCE_S)
        pool.when_failed.append(lambda: noted.append(None))
        reader = begin(await pool.connect(), body=body)
        await reader.until("over")
        if reader.failure is None:
            await (begin(pool.take() or await pool.connect())).until("over")
        pool.close()
        await asyncio.sleep(0)
    return len(noted)


@pytest.mark.parametrize("said", [b"", b"HELLO\r\n\r\n", b"HTTP/1.1 2"])
async def test_an_upstream_that_gives_no_answer_has_failed(said: bytes) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(said)

    assert await failures_after(script) == 1


async def test_a_kept_connection_that_lost_a_race_is_no_failure() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        wire.head()

    assert await failures_after(script) == 0


async def test_a_cut_in_mid_answer_is_no_failure() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")

    assert await failures_after(script) == 0


async def test_a_failed_exchange_tries_every_other_upstream() -> None:
    with ExitStack() as stack:
        two = origins(stack, 2, closing)
        async with group_of(*(origin.place for origin in two)) as group:
            upstreams: Any = group
            kept = []
            while upstreams is not None:
                connection = await connection_of(upstreams)
                reader = begin(connection)
                await reader.until("over")
                assert isinstance(reader.failure, ConnectionLost)
                kept.append(connection.owner)
                upstreams = upstreams.without(connection)
            assert len(kept) == len(set(kept)) == 2


# Limits of concurrent requests


@asynccontextmanager
async def bounded(
    place: Any, requests: int, queue: int = 5, wait: str = "1h"
) -> AsyncIterator[BoundedPool]:
    bounds = Concurrency.model_validate({"requests": requests, "queue": queue, "wait": wait})
    pool = BoundedPool(address_of(place), PATIENCE_S, bounds)
    try:
        yield pool
    finally:
        pool.close()
        await asyncio.sleep(0)


async def test_requests_over_the_limit_wait_in_order() -> None:
    with Origin((answering(OK),)) as origin:
        async with bounded(origin.place, 1) as pool:
            first = await pool.connect()
            order: list[int] = []

            async def ask(number: int) -> None:
                assert pool.take() is None
                connection = await pool.connect()
                order.append(number)
                assert pool.busy <= 1 + 4 - len(order)
                await begin(connection).until("over")

            asks = [asyncio.ensure_future(ask(number)) for number in range(4)]
            await asyncio.sleep(0)
            await begin(first).until("over")
            await asyncio.gather(*asks)
            assert order == [0, 1, 2, 3]
            assert len(origin.wires) == 1 and pool.busy == 0


async def test_a_fresh_connection_is_never_a_kept_one() -> None:
    """If a kept connection was closed, another kept one probably is, too."""
    with Origin((answering(OK),)) as origin:
        async with bounded(origin.place, 2) as pool:
            first = await pool.connect()
            await begin(first).until("over")
            fresh = await pool.connect(fresh=True)
            assert fresh is not first and not fresh.reused
            assert await pool.connect() is first


async def test_a_full_line_and_a_long_wait_are_503() -> None:
    with Origin((answering(OK),)) as origin:
        wait = "50ms"  # for a place that is never free
        async with bounded(origin.place, 1, queue=1, wait=wait) as pool:
            await pool.connect()
            waiting = asyncio.ensure_future(pool.connect())
            await asyncio.sleep(0)
            with pytest.raises(UpstreamOverloaded) as caught:
                await pool.connect()
            assert caught.value.status == 503 and caught.value.retry_after_s
            with pytest.raises(UpstreamOverloaded):
                await waiting
            assert pool.busy == 1, "who left holds no place"


async def test_a_request_that_is_admitted_at_the_last_moment_is_not_refused() -> None:
    with Origin((answering(OK),)) as origin:
        wait = "1ms"  # the loop is held up for longer, and the place is free when it goes on
        async with bounded(origin.place, 1, wait=wait) as pool:
            first = await pool.connect()
            waiting = asyncio.ensure_future(pool.connect())
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(first.abandon)
            time.sleep(0.01)  # holds up the loop
            (await waiting).abandon()
            await settled(lambda: pool.busy == 0)


@pytest.mark.parametrize("turns", range(6))
async def test_a_request_that_stops_waiting_frees_its_place_for_the_next(turns: int) -> None:
    """At any moment: queued, just admitted, connecting, or connected."""
    with Origin((answering(OK),)) as origin:
        async with bounded(origin.place, 1) as pool:
            first = await pool.connect()
            waiting = [asyncio.ensure_future(pool.connect()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            first.abandon()
            for _ in range(turns):
                await asyncio.sleep(0)
            if not waiting[1].cancel():
                waiting[1].result().abandon()
            assert await waiting[2]
            assert pool.busy == 1
            await asyncio.sleep(0.01)  # an abandoned connection closes a moment later


async def test_if_connecting_fails_the_next_waiting_request_tries() -> None:
    async with bounded(("127.0.0.1", free_port()), 1) as pool:
        results = await asyncio.gather(*(pool.connect() for _ in range(4)), return_exceptions=True)
        assert [type(result) for result in results] == [ConnectFailed] * 4
        assert pool.busy == 0


# Health


def checking(**more: Any) -> HealthCheck:
    return HealthCheck.model_validate({"interval": "10ms", "timeout": "1h"} | more)


class HealthListener:
    def __init__(self) -> None:
        self.said: list[bool] = []

    def judge(self, is_unhealthy: bool) -> None:
        self.said.append(is_unhealthy)


@asynccontextmanager
async def watched(origin: Origin, check: HealthCheck) -> AsyncIterator[HealthListener]:
    listener = HealthListener()
    task = asyncio.ensure_future(watch(listener, address_of(origin.place), check, "wiki.test"))
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def status(code: int) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code


async def test_an_upstream_is_unhealthy_after_consecutive_bad_answers() -> None:
    said = iter([200, 500, 204, 404, 503, 500, 302])

    def script(wire: Wire) -> None:
        if wire.head():
            wire.send(status(next(said, 200)))

    with Origin((script,)) as origin:
        async with watched(origin, checking(path="/up?x=1")) as listener:
            await settled(lambda: len(listener.said) >= 5)
        assert listener.said[:5] == [False, False, True, True, False]
        assert origin.heads[0].startswith(b"GET /up?x=1 HTTP/1.1\r\n")
        assert b"host: wiki.test\r\n" in origin.heads[0].lower()


async def test_silence_is_a_bad_answer() -> None:
    with Origin((lambda wire: wire.head() and wire.rest() and None,)) as origin:
        check = checking(timeout="50ms", failures=1)  # no answer ever comes
        async with watched(origin, check) as listener:
            await settled(lambda: listener.said)
    assert listener.said[0]


async def test_a_check_that_fails_for_any_reason_is_a_bad_answer_and_not_the_last(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([RuntimeError("a bug"), None])

    def stream(client: httpx.AsyncClient, method: str, url: str, **options: Any) -> Any:
        if (fault := next(asked, None)) is not None:
            raise fault
        return well(client, method, url, **options)

    well = httpx.AsyncClient.stream
    monkeypatch.setattr(httpx.AsyncClient, "stream", stream)
    async with watched(origin, checking(failures=1)) as listener:
        await settled(lambda: len(listener.said) > 1)
    assert listener.said[:2] == [True, False]


async def test_a_unix_socket_is_asked_too(tmp_path: Path) -> None:
    with Origin((answering(status(200)),), path=tmp_path / "app.sock") as origin:
        async with watched(origin, checking()) as listener:
            await settled(lambda: listener.said)
        assert listener.said[0] is False


async def test_an_unhealthy_upstream_gets_no_requests_and_without_a_healthy_one_it_is_503() -> None:
    with Origin((answering(OK),)) as origin:
        async with group_of(origin.place, NOWHERE) as group:
            group.members[1].judge(is_unhealthy=True)
            for _ in range(3):
                await exchanged(group)  # type: ignore[arg-type]
            group.members[0].judge(is_unhealthy=True)
            assert group.take() is None
            with pytest.raises(NoneUsable) as caught:
                await group.connect()
            assert caught.value.status == 503 and caught.value.retry_after_s
            group.members[0].judge(is_unhealthy=False)
            assert (await exchanged(group)).body == b"ok"  # type: ignore[arg-type]


# Settings


def settings(tmp_path: Path, **route: Any) -> Settings:
    return settings_from({"routes": [route], "data_dir": str(tmp_path)}, tmp_path)


def test_a_route_with_one_upstream_has_a_plain_pool(tmp_path: Path) -> None:
    pools = Pools()
    (route,) = settings(tmp_path, upstream="http://a").routes
    assert type(build_upstreams(route, pools)) is Pool
    assert not pools.checks


def test_a_list_or_a_health_check_makes_a_group(tmp_path: Path) -> None:
    pools = Pools()
    for upstream, members in (("http://a", 1), (["http://a", "unix:/b"], 2)):
        (route,) = settings(tmp_path, upstream=upstream, health={}).routes
        group = build_upstreams(route, pools)
        assert isinstance(group, Group) and len(group.members) == members
    assert len(pools.checks) == 3


def test_routes_share_the_pool_of_an_upstream_with_the_same_bounds(tmp_path: Path) -> None:
    pools = Pools()
    routes = [{"host": f"{n}.test", "upstream": "http://a"} for n in range(3)]
    routes[2]["concurrency"] = {"requests": 3}  # type: ignore[assignment]
    made = settings_from({"routes": routes, "data_dir": str(tmp_path)}, tmp_path).routes
    one, two, three = (build_upstreams(route, pools) for route in made)
    assert one is two and isinstance(three, BoundedPool)
