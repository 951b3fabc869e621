"""No request blocks the event loop for long, not even the first of its kind.

The CPU time of the loop's thread counts, because other programs on the machine do not affect it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doorward.pages import Pages
from doorward.wiring.endpoints import build_pages

from tests.support.house import PASSWORD, House, house

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


@pytest.fixture
def longest_s(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], float]]:
    """A function that returns the longest time a callback has taken since its last call."""
    longest = 0.0
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest
        began = time.thread_time()
        run(handle)
        longest = max(longest, time.thread_time() - began)

    def ask() -> float:
        nonlocal longest
        found, longest = longest, 0.0
        return found

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    gc.disable()  # tuned in a server, but not in the process of the tests
    yield ask
    gc.enable()


async def sessions_from_many_browsers(home: House, name: str) -> None:
    for number in range(SESSIONS - 1):
        agent = f"Mozilla/5.0 (X11; Linux x86_64; rv:{number}) Gecko/20100101 Firefox/{number}.0"
        async with home.program(user_agent=agent) as program:
            body = {"username": name, "password": PASSWORD}
            assert (await program.post("/xhr/login", json=body)).status_code == 200
        home.clock.now += 1


def build_prepared(*parts: Any) -> Pages:
    """Pages with prepared templates, as in a running server."""
    pages = build_pages(*parts)
    pages.prepare()
    return pages


async def test_no_page_keeps_the_loop_from_other_requests(
    tmp_path: Path, longest_s: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.house.build_pages", build_prepared)
    slow = LIMIT_S * max(1.0, effort() / EFFORT_S)
    took: dict[str, float] = {}
    async with house(tmp_path, regulation={"enabled": False}) as home:
        await home.add("alice", super_admin=True)
        await sessions_from_many_browsers(home, "alice")
        longest_s()
        async with home.browser() as browser:

            async def measured(name: str, path: str, **form: str) -> None:
                asked = browser.post(path, data=form) if form else browser.get(path)
                status = (await asked).status_code
                took[f"{name} ({status})"] = longest_s()

            await measured("login page", "/.doorward/login")
            credentials = {"username": "alice", "password": PASSWORD}
            await measured("login", "/.doorward/login", **credentials)
            for page in ("account", "account/authenticator", "account/password", "admin", "logout"):
                await measured(page, f"/.doorward/{page}")
    assert {name: f"{took_s:.3f} s" for name, took_s in took.items() if took_s > slow} == {}
