"""Pages and dialects in process: the real core on an SQLite file, a clock to move, a browser.

Clients are described as by the gate; nothing here opens a socket.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from doorward.accounts.sessions.sessions import ClientInfo, Found, Opened, Session
from doorward.dialects import openapi
from doorward.gate.accept import Client
from doorward.gate.access_tokens import AccessCarrier
from doorward.gate.cookies import Cookies, build_cookies
from doorward.gate.identify import Identify
from doorward.settings import Settings, settings_from
from doorward.storage.rates import Rates
from doorward.web.explanation import Explanation, Question
from doorward.wiring.accounts import Accounts, build_accounts
from doorward.wiring.deciding import build_deciding
from doorward.wiring.endpoints import build_dialects, build_pages, build_session_service
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.clock import FixedClock
from tests.support.description import Description
from tests.support.savings import migrated
from tests.support.sessions import LIFETIMES, open_session

HOST = "wiki.test"
ORIGIN = f"http://{HOST}"
PASSWORD = "correct horse"
# The headers that a browser sends; an old one only sends Accept.
OLD_BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
BROWSER = OLD_BROWSER | {"sec-fetch-mode": "navigate", "sec-fetch-site": "same-origin"}


@dataclass
class House:
    """The services behind the pages, and an application with the pages and the `xhr` dialect."""

    settings: Settings
    accounts: Accounts
    cookies: Cookies
    clock: FixedClock
    app: ASGIApp
    description: Description  # which every answer has to match
    routes: tuple[Route, ...]
    paths: tuple[str, ...]  # of all pages

    def browser(self, **headers: str) -> httpx.AsyncClient:
        return self.program(**(BROWSER | headers))

    def old_browser(self) -> httpx.AsyncClient:
        """A browser without Fetch Metadata, which only sends Accept."""
        return self.program(**OLD_BROWSER)

    def program(self, **headers: str) -> httpx.AsyncClient:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        transport = httpx.ASGITransport(self.app)
        hooks = {"response": [self.description.check]}
        return httpx.AsyncClient(
            transport=transport, base_url=ORIGIN, headers=named, event_hooks=hooks
        )

    async def add(self, name: str = "alice", **more: Any) -> None:
        await self.accounts.users.add(name, PASSWORD, now=self.clock(), **more)

    async def opened(self, name: str = "alice", **more: Any) -> Opened:
        """A session that was opened elsewhere."""
        user = await self.accounts.users.get(name)
        client = ClientInfo("192.0.2.7", "elsewhere")
        chosen: dict[str, Any] = {
            "kind": "page",
            "lifetimes": LIFETIMES,
            "remember": False,
            "now": self.clock(),
            "proved_at": self.clock(),
        }
        return await open_session(self.accounts.sessions, user, client=client, **(chosen | more))

    def cookie(self, opened: Opened) -> str:
        return f"{self.cookies.name.decode()}={self.accounts.tokens.sign(opened.token)}"

    async def found(self, opened: Opened) -> Session | None:
        """The current state of a session in storage."""
        found: Found = await self.accounts.sessions.by_token(opened.token, self.clock())
        return found.session

    async def sessions(self, name: str = "alice") -> tuple[Session, ...]:
        user = await self.accounts.users.get(name)
        return await self.accounts.sessions.list(user, self.clock())

    def break_storage(self) -> None:
        """Make every query fail from now on."""
        with closing(sqlite3.connect(self.settings.data_dir / "doorward.db")) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (name,) in tables.fetchall():
                if not name.startswith("sqlite_"):
                    connection.execute(f'ALTER TABLE "{name}" RENAME TO "gone_{name}"')


@asynccontextmanager
async def house(directory: Path, **values: Any) -> AsyncIterator[House]:
    """Settings are values as in YAML."""
    chosen = {
        "public_url": ORIGIN,
        "data_dir": str(migrated(directory)),
        "routes": [{"upstream": "http://127.0.0.1:9"}],
        "dialects": {"xhr": {}},
    }
    settings = settings_from(chosen | values, directory)
    clock = FixedClock()
    async with build_accounts(settings, clock) as accounts:
        cookies = build_cookies(settings)
        dialects = settings.dialects
        carrier = AccessCarrier(accounts.live, accounts.access)
        identify = Identify(
            accounts.live,
            accounts.tokens,
            cookies,
            bare_tokens=dialects.alekeagle is not None,
            access=None if dialects.datepoll is None else carrier,
        )
        service = build_session_service(settings, accounts, identify, cookies, clock)

        async def explain(question: Question) -> Explanation:
            deciding = build_deciding(settings, accounts, rates, clock)
            return await deciding.explainer.explain(question, clock())

        pages = build_pages(settings, accounts, service, explain)
        with closing(Rates(directory, accounts.keys)) as rates:
            tables = build_dialects(settings, accounts, service, rates)
            routes = [route for found in tables.values() for route in found]
            shown = pages.routes()
            every = (*routes, *shown)
            router = Router(every, redirect_slashes=False)
            description = _describe(settings, tables)
            paths = tuple(route.path for route in shown if not route.param_convertors)
            app = accepted(router)
            yield House(settings, accounts, cookies, clock, app, description, every, paths)


_DESCRIPTIONS: dict[str, Description] = {}


def _describe(settings: Settings, tables: Mapping[str, Sequence[Route]]) -> Description:
    """The description of these dialects, built once, because that takes longer than most tests."""
    key = repr((settings.dialects, settings.api, settings.sessions.cookie, settings.public_url))
    if key not in _DESCRIPTIONS:
        _DESCRIPTIONS[key] = Description(openapi.describe(settings, tables))
    return _DESCRIPTIONS[key]


def accepted(app: ASGIApp) -> ASGIApp:
    """The application behind a substitute for the gate's `accept`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode()
        agent = headers.get(b"user-agent", b"").decode("latin-1")
        client = Client("192.0.2.1", scope["scheme"], host, "request-1", agent)
        await app({**scope, "state": {"client": client}}, receive, send)

    return answer


def set_cookies(response: httpx.Response) -> list[str]:
    """The Set-Cookie values, without the cookie of known browsers."""
    lines = response.headers.get_list("set-cookie")
    return [line for line in lines if "-known=" not in line.partition(";")[0]]


def set_notes(response: httpx.Response) -> list[str]:
    """The Set-Cookie values of the cookie of known browsers."""
    lines = response.headers.get_list("set-cookie")
    return [line for line in lines if "-known=" in line.partition(";")[0]]


def text_of(page: httpx.Response) -> str:
    """The text of a page, without tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))
