"""No request blocks the event loop for long, not even the first of its kind.

The CPU time of the loop's thread counts, because other programs on the machine do not affect it.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.devices import parse_device
from doorward.pages import Pages
from doorward.storage.database import DATABASE_FILE
from doorward.wiring.endpoints import build_pages

from tests.support.house import BROWSER, ORIGIN, PASSWORD, House, house

Longest = Callable[[], Awaitable[float]]

LIMIT_S = 0.02
# The CPU time of `effort` on the machine for which the limit was set. A slower machine gets more.
EFFORT_S = 0.011
SESSIONS = 100  # the maximum per user, each from another browser


def effort() -> float:
    """CPU seconds of a fixed amount of work, the minimum of several runs."""
    least = float("inf")
    for _ in range(5):
        began = time.thread_time()
        sum(len(str(number)) for number in range(100_000))
        least = min(least, time.thread_time() - began)
    return least


def build_prepared(*parts: Any) -> Pages:
    """Pages with prepared templates, as in a running server."""
    pages = build_pages(*parts)
    pages.prepare()
    return pages


@pytest.fixture
def longest_s(monkeypatch: pytest.MonkeyPatch) -> Iterator[Longest]:
    """A function that returns the longest time a callback has taken since its last call."""
    monkeypatch.setattr("tests.support.house.build_pages", build_prepared)
    longest = 0.0
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest
        began = time.thread_time()
        run(handle)
        longest = max(longest, time.thread_time() - began)

    async def ask() -> float:
        nonlocal longest
        await asyncio.sleep(0)  # the callback that is running counts, too
        found, longest = longest, 0.0
        return found

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    gc.disable()  # tuned in a server, but not in the process of the tests
    yield ask
    gc.enable()


def list_slow(took: dict[str, float]) -> dict[str, str]:
    """The times that are too long for this machine."""
    slow = LIMIT_S * max(1.0, effort() / EFFORT_S)
    return {name: f"{took_s:.3f} s" for name, took_s in took.items() if took_s > slow}


async def sessions_from_many_browsers(home: House, name: str) -> None:
    for number in range(SESSIONS - 1):
        agent = f"Mozilla/5.0 (X11; Linux x86_64; rv:{number}) Gecko/20100101 Firefox/{number}.0"
        async with home.program(user_agent=agent) as program:
            body = {"username": name, "password": PASSWORD}
            assert (await program.post("/xhr/login", json=body)).status_code == 200
        home.clock.now += 1


async def test_no_page_blocks_the_event_loop(tmp_path: Path, longest_s: Longest) -> None:
    took: dict[str, float] = {}
    async with house(tmp_path, regulation={"enabled": False}) as home:
        await home.add("alice", super_admin=True)
        await sessions_from_many_browsers(home, "alice")
        await longest_s()
        async with home.browser() as browser:

            async def measured(name: str, path: str, **form: str) -> None:
                asked = browser.post(path, data=form) if form else browser.get(path)
                status = (await asked).status_code
                took[f"{name} ({status})"] = await longest_s()

            await measured("login page", "/.doorward/login")
            credentials = {"username": "alice", "password": PASSWORD}
            await measured("login", "/.doorward/login", **credentials)
            for page in ("account", "account/authenticator", "account/password", "admin", "logout"):
                await measured(page, f"/.doorward/{page}")
    assert list_slow(took) == {}


# More than any list shows, for a user who had `max_per_user: none`
MANY = 10_000
BROWSERS = 3000
COPIES = f"""
    INSERT INTO sessions (id, user_number, iat, token_digest, created_at, last_used_at, expires_at,
      remember, address, user_agent, information, kind, level, method)
    WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {MANY})
    SELECT substr(id, 1, 11) || printf('%06d', n), user_number, iat + n, randomblob(32),
      created_at + n, last_used_at, expires_at + n, remember, address,
      'Mozilla/5.0 (X11) Gecko/1 Firefox/' || (n % {BROWSERS}) || '.0',
      information, kind, level, method
    FROM sessions, counted"""  # noqa: S608 - constants
UNBOUNDED = (
    "/api/sessions",
    "/api/v1/sessions/list",
    "/api/v1/sessions/list?filter=firefox&count=100",
    "/api/v1/sessions/list?sort=%7B%22device.name%22:1%7D",
)
BOUNDED = "/.doorward/account", "/api/v1/user/myself/session", "/.doorward/admin/users/{id}"


async def test_no_list_of_many_sessions_blocks_the_event_loop(
    tmp_path: Path, longest_s: Longest, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: dict[str, float] = {}
    dialects: dict[str, dict[str, str]] = {"alekeagle": {}, "datepoll": {}, "rocketchat": {}}
    async with house(tmp_path, dialects=dialects, sessions={"max_per_user": "none"}) as home:
        await home.add("alice", super_admin=True)
        alice = await home.accounts.users.get("alice")
        await home.accounts.second_factors.adopt_totp(alice, "A" * 32, home.clock())
        opened = await home.opened("alice", second_factor_at=home.clock())
        with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database, database:
            database.execute(COPIES)
        transport = httpx.ASGITransport(home.app)
        headers = BROWSER | {"cookie": home.cookie(opened)}
        async with httpx.AsyncClient(transport=transport, headers=headers) as browser:

            async def measure(path: str) -> None:
                await longest_s()
                answer = await browser.get(ORIGIN + path.format(id=alice.id))
                took[path] = await longest_s()
                assert answer.status_code == 200, (path, answer.text)

            for path in BOUNDED:
                await measure(path)
            # Now there are more browsers than are remembered.
            monkeypatch.setattr("doorward.accounts.sessions.sessions.recognise", forget)
            for path in UNBOUNDED:
                await measure(path)
    assert list_slow(took) == {}


async def forget(user_agents: Iterable[str]) -> None:
    parse_device.cache_clear()
