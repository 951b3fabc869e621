"""The effect of a crowd on one worker: time and memory of ordinary requests, before and during it.

Usage: crowd.py [--seconds N] [--sessions N]. It only measures Doorward; `run.py` measures others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvloop
from contestants import OURS, STORMER, Contestant, application
from lag import Lag
from people import PASSWORD
from processes import usage
from sessions import many_sessions

PROBES_PER_S = 200
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Figures:
    p50_ms: float
    p99_ms: float
    rss_mib: float
    count: int
    lag_ms: float | None = None


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


class Crowd:
    def __init__(self, contestant: Contestant, seconds: float) -> None:
        self.port = contestant.port
        self.pids = contestant.pids
        self.cookie = contestant.sessions[0][1]
        self.seconds = seconds

    def get(self, path: str, cookie: str | None = None) -> bytes:
        value = self.cookie if cookie is None else cookie
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {value}\r\n\r\n".encode()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def probe(self) -> Figures:
        """Send ordinary requests at a steady pace, however long the answers take."""
        connections = [await self.open() for _ in range(16)]
        free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        for connection in connections:
            free.put_nowait(connection)
        times: list[float] = []

        async def one() -> None:
            started = time.perf_counter()
            reader, writer = await free.get()
            writer.write(self.get("/"))
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head[:13]:
                raise ConnectionError(head)
            await reader.readexactly(1024)
            times.append(time.perf_counter() - started)
            free.put_nowait((reader, writer))

        tasks, rss = [], 0.0
        started = time.perf_counter()
        for number in range(int(self.seconds * PROBES_PER_S)):
            await asyncio.sleep(max(0, started + number / PROBES_PER_S - time.perf_counter()))
            tasks.append(asyncio.create_task(one()))
            if number % PROBES_PER_S == 0:
                rss = max(rss, usage(self.pids).rss_bytes / 2**20)
        await asyncio.gather(*tasks)
        for _, writer in connections:
            writer.close()
        return Figures(percentile(times, 0.5), percentile(times, 0.99), rss, len(times))

    # The crowd

    async def downloads(self) -> None:
        reader, writer = await self.open()
        writer.write(self.get("/huge"))
        await reader.readuntil(b"\r\n\r\n")
        left = GIB
        while left > 0:
            left -= len(await reader.read(1 << 20))
        writer.close()

    async def uploads(self) -> None:
        reader, writer = await self.open()
        head = self.get("/upload").replace(b"GET", b"POST", 1)
        writer.write(head[:-2] + b"Content-Length: %d\r\n\r\n" % GIB)
        piece = b"x" * (1 << 20)
        for _ in range(GIB // len(piece)):
            writer.write(piece)
            await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def idlers(self) -> None:
        held = [await self.open() for _ in range(500)]
        await asyncio.sleep(self.seconds + 1)
        for _, writer in held:
            writer.close()

    async def dribblers(self) -> None:
        """Slow clients: half send a head byte by byte, half read a MiB in pieces of a KiB."""

        async def slow(number: int) -> None:
            reader, writer = await self.open()
            end = time.perf_counter() + self.seconds
            if number % 2:
                for byte in self.get("/"):
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.2)
                    if time.perf_counter() > end or writer.is_closing():
                        break
            else:
                writer.write(self.get("/large"))
                while time.perf_counter() < end and await reader.read(1024):
                    await asyncio.sleep(0.2)
            writer.close()

        await asyncio.gather(*(slow(number) for number in range(200)), return_exceptions=True)

    async def logins(self) -> None:
        """Twenty logins a second, each over its own connection."""
        body = json.dumps({"username": STORMER, "password": PASSWORD}).encode()
        request = (
            b"POST /xhr/login HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

        async def one() -> None:
            reader, writer = await self.open()
            writer.write(request)
            if b" 200 " not in (await reader.read())[:13]:
                raise ConnectionError("a login failed")
            writer.close()

        tasks = []
        for _ in range(int(self.seconds * 20)):
            tasks.append(asyncio.create_task(one()))
            await asyncio.sleep(0.05)
        await asyncio.gather(*tasks)

    async def beside(self, *others: Callable[[], Awaitable[None]]) -> Figures:
        tasks = [asyncio.ensure_future(other()) for other in others]
        await asyncio.sleep(0.5)
        figures = await self.probe()
        await asyncio.gather(*tasks)
        return figures

    async def misses(self, cookies: list[str]) -> Figures:
        """Requests of sessions that are not in the process's memory yet."""
        times: list[float] = []

        async def one(mine: list[str]) -> None:
            reader, writer = await self.open()
            for cookie in mine:
                started = time.perf_counter()
                writer.write(self.get("/", cookie))
                head = await reader.readuntil(b"\r\n\r\n")
                if b" 200 " not in head[:13]:
                    raise ConnectionError(head)
                await reader.readexactly(1024)
                times.append(time.perf_counter() - started)
            writer.close()

        await asyncio.gather(*(one(cookies[number::4]) for number in range(4)))
        rss = usage(self.pids).rss_bytes / 2**20
        return Figures(percentile(times, 0.5), percentile(times, 0.99), rss, len(times))


def show(what: str, figures: Figures) -> None:
    print(
        f"{what:44}{figures.count:8}{figures.p50_ms:9.2f}{figures.p99_ms:9.2f}"
        f"{figures.rss_mib:9.1f}{figures.lag_ms or 0:9.1f}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doorward-bench-")))
        upstream = stack.enter_context(application(folder))
        contestant = stack.enter_context(OURS["doorward"](folder, upstream))
        crowd = Crowd(contestant, arguments.seconds)
        print(
            f"{'ordinary requests, beside them':44}{'count':>8}{'p50 ms':>9}{'p99 ms':>9}{'MiB':>9}"
            f"{'lag ms':>9}"
        )

        def run(job: Coroutine[Any, Any, Figures]) -> Figures:
            lag = Lag(contestant.metrics)
            return replace(uvloop.run(job), lag_ms=lag.longest_ms())

        show("nothing", run(crowd.probe()))
        show("500 idle connections", run(crowd.beside(crowd.idlers)))
        show("200 slow clients", run(crowd.beside(crowd.dribblers)))
        show("1 GiB down", run(crowd.beside(crowd.downloads)))
        show("1 GiB up", run(crowd.beside(crowd.uploads)))
        everything = (crowd.idlers, crowd.dribblers, crowd.downloads, crowd.uploads)
        show("all of that at once", run(crowd.beside(*everything)))
        show("20 logins a second", run(crowd.beside(crowd.logins)))
        show("nothing, once more", run(crowd.probe()))
        cookies = many_sessions(folder / "doorward.yaml", arguments.sessions, 5000)
        show(f"the first of each of {len(cookies)} sessions", run(crowd.misses(cookies)))
        print(f"(of {arguments.sessions} in the database)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
