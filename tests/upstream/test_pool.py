"""Connections are kept, reused and closed; and failed attempts to connect."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from doorward.settings import settings_from
from doorward.upstream import pool as pools
from doorward.upstream.address import Address
from doorward.upstream.balance import build_upstreams
from doorward.upstream.failures import ConnectFailed, ConnectionLost, ConnectTimeout
from doorward.upstream.pool import IDLE_S, Pool, Pools

from tests.support.exchanges import begin, exchanged, pool_to
from tests.support.live import free_port
from tests.support.origin import OK, Origin, answering, silent
from tests.support.waiting import PATIENCE_S, settled


async def test_a_kept_connection_is_used_again() -> None:
    with Origin((answering(OK),)) as origin:
        async with pool_to(origin.place) as pool:
            for _ in range(5):
                assert (await exchanged(pool)).body == b"ok"
        assert len(origin.wires) == 1


async def test_exchanges_at_the_same_time_have_connections_of_their_own() -> None:
    with Origin((answering(OK),)) as origin:
        async with pool_to(origin.place) as pool:
            connections = [await pool.connect() for _ in range(5)]
            readers = [begin(connection) for connection in connections]
            for reader in readers:
                await reader.until("over")
            taken = [pool.take() for _ in range(6)]
            assert taken[-1] is None and len(set(taken)) == 6


async def test_idle_connections_are_closed_after_a_while() -> None:
    with Origin((answering(OK),)) as origin:
        async with pool_to(origin.place) as pool:
            await exchanged(pool)
            now = asyncio.get_running_loop().time()
            pool.sweep(now + IDLE_S - 1)
            assert pool._idle
            pool.sweep(now + IDLE_S + 1)
            assert not pool._idle
            assert await asyncio.to_thread(origin.wire().rest) == b""


@pytest.mark.parametrize("said", [b"timeout=5", b"max=99, Timeout=5", b"timeout=5, max=1"])
async def test_a_connection_is_closed_a_second_before_the_upstream_would(said: bytes) -> None:
    answer = OK.replace(b"OK\r\n", b"OK\r\nKeep-Alive: " + said + b"\r\n")
    with Origin((answering(answer),)) as origin:
        async with pool_to(origin.place) as pool:
            for _ in range(3):  # the third time, its head is cached
                await exchanged(pool)
            now = asyncio.get_running_loop().time()
            pool.sweep(now + 3.5)
            assert pool.connections == (1, 0)
            pool.sweep(now + 4.5)
            assert pool.connections == (0, 0)
            await exchanged(pool)
            assert len(origin.wires) == 2


@pytest.mark.parametrize("seconds", [0, 1])
async def test_a_connection_that_is_about_to_close_is_not_kept(seconds: int) -> None:
    answer = OK.replace(b"OK\r\n", b"OK\r\nKeep-Alive: timeout=%d\r\n" % seconds)
    with Origin((answering(answer),)) as origin:
        async with pool_to(origin.place) as pool:
            for _ in range(2):
                await exchanged(pool)
                assert pool.connections == (0, 0)
            assert len(origin.wires) == 2


async def test_a_connection_that_is_due_is_not_taken_even_before_the_sweep() -> None:
    answer = OK.replace(b"OK\r\n", b"OK\r\nKeep-Alive: timeout=5\r\n")
    with Origin((answering(answer),)) as origin:
        async with pool_to(origin.place) as pool:
            await exchanged(pool)
            later = Later(asyncio.get_running_loop(), 4.5)
            (connection,) = pool._idle
            connection.loop = later  # type: ignore[assignment]
            assert pool.take() is None
            await settled(lambda: pool.connections == (0, 0))


class Later:
    """An event loop whose clock is ahead."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop, self._seconds = loop, seconds

    def time(self) -> float:
        return self._loop.time() + self._seconds


def test_the_idle_time_of_connections_can_be_set(tmp_path: Path) -> None:
    settings = settings_from(
        {"routes": [{"upstream": "http://a", "pool": {"idle": "3m"}}]}, tmp_path
    )
    pool = build_upstreams(settings.routes[0], Pools())
    assert isinstance(pool, Pool) and pool.idle_s == 180.0


async def test_a_pool_that_closes_closes_its_connections() -> None:
    with Origin((answering(OK),)) as origin:
        async with pool_to(origin.place) as pool:
            await exchanged(pool)
        assert await asyncio.to_thread(origin.wire().rest) == b""


async def test_a_unix_socket_is_an_upstream(tmp_path: Path) -> None:
    with Origin((answering(OK),), path=tmp_path / "app.sock") as origin:
        async with pool_to(origin.place) as pool:
            assert (await exchanged(pool)).body == b"ok"
            assert (await exchanged(pool)).body == b"ok"
        assert len(origin.wires) == 1


async def test_an_address_without_a_server_is_502(tmp_path: Path) -> None:
    for place in (("127.0.0.1", free_port()), tmp_path / "nothing.sock", ("", 1)):
        async with pool_to(place) as pool:
            with pytest.raises(ConnectFailed) as caught:
                await pool.connect()
            assert caught.value.status == 502


async def test_an_upstream_that_does_not_accept_in_time_is_504() -> None:
    """With a full backlog, the kernel lets further connections wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        async with pool_to(listener.getsockname(), connect_timeout_s=0.05) as pool:  # never
            with pytest.raises(ConnectTimeout) as caught:
                await pool.connect()
            assert caught.value.status == 504
        for sock in waiting:
            sock.close()


async def test_one_pool_serves_an_address_and_the_sweep_goes_round() -> None:
    pools = Pools()
    here, there = Address(host="127.0.0.1", port=1), Address(host="127.0.0.1", port=2)
    assert pools.of(here, 1.0) is pools.of(here, 1.0)
    assert len({pools.of(here, 1.0), pools.of(there, 1.0), pools.of(here, 2.0)}) == 3
    pools.start()
    timer = pools._timer
    assert timer is not None
    pools.close()
    assert timer.cancelled()


async def test_an_upload_waits_for_an_origin_that_does_not_read() -> None:
    """Back-pressure from the origin: `writable` is false, and `on_writable` is called when sending
    may continue."""
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def script(wire: object) -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(PATIENCE_S)
        wire.rest()  # type: ignore[attr-defined]

    with Origin((script,)) as origin:
        async with pool_to(origin.place) as pool:
            post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n"
            reader = begin(connection := await pool.connect(), post, body=True)
            sent = 0
            while connection.writable and sent < 1 << 26:
                connection.write(b"x" * 65536)
                sent += 65536
                await asyncio.sleep(0)
            assert sent < 1 << 26, "bounded by the socket buffers and a high-water mark"
            assert not reader.writable
            release.set()
            await reader.until("writable")
            await settled(lambda: connection.writable)
            connection.abandon()


def test_an_address_is_formatted_as_a_url() -> None:
    assert str(Address(host="::1", port=80)) == "http://[::1]:80"
    assert str(Address(host="app", port=80)) == "http://app:80"
    assert str(Address(path="/run/app.sock")) == "unix:/run/app.sock"


async def test_a_connection_that_is_closed_before_it_is_used_fails_its_exchange() -> None:
    with Origin((lambda wire: None,)) as origin:
        async with pool_to(origin.place) as pool:
            try:
                connection = await pool.connect()
            except ConnectFailed:
                return  # noticed within this time
            await settled(lambda: connection.transport is None)
            reader = begin(connection)
            await reader.until("over")
            assert isinstance(reader.failure, ConnectionLost)
            assert pool.busy == 0


async def test_an_exchange_whose_check_fails_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps also end what is open when its session ends: none of them may be the last."""

    def fail(now: float) -> None:
        raise RuntimeError("Cannot call write() after write_eof()")

    swept: list[float] = []
    with Origin((silent,)) as origin:
        async with pool_to(origin.place) as pool:
            connections = [await pool.connect() for _ in range(4)]
            readers = [begin(connection) for connection in connections]
            for number, reader in enumerate(readers):
                monkeypatch.setattr(reader, "on_sweep", swept.append if number % 2 else fail)
            pool.sweep(asyncio.get_running_loop().time())
            assert len(swept) == 2
            for reader in readers[::2]:
                await reader.until("over")
                assert isinstance(reader.failure, ConnectionLost)
            for connection in connections[1::2]:
                assert connection.is_usable()
                connection.abandon()


async def test_a_sweep_that_fails_stops_neither_the_others_nor_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(now: float) -> None:
        raise OSError("a bug")

    monkeypatch.setattr(pools, "SWEEP_S", 0.0)
    swept, all_pools = list[float](), Pools()
    all_pools.swept += [fail, swept.append]
    all_pools.start()
    try:
        await settled(lambda: len(swept) > 2)
    finally:
        all_pools.close()
