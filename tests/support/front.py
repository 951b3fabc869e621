"""The whole application on raw ASGI scopes, in front of a recording upstream."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doorward.accounts.application_credentials import ApplicationLogin
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import UserNotFound
from doorward.accounts.sessions.sessions import ClientInfo, Opened
from doorward.app import Application
from doorward.gate.accept import Accept, Accepted
from doorward.http1.arrival import Arrival
from doorward.settings import settings_from
from doorward.wiring.accounts import Accounts, build_accounts

from tests.support.asgi import ask, scope
from tests.support.clock import FixedClock
from tests.support.origin import Origin
from tests.support.savings import migrated
from tests.support.sessions import open_session
from tests.support.wire import Answer, Header

HOST: list[Header] = [(b"host", b"app.test")]

TRUSTED = ("10.0.0.0/8", "::1/128")


def arrival(
    target: bytes = b"/",
    headers: list[Header] | None = None,
    *,
    method: bytes = b"GET",
    peer: str = "192.0.2.1",
) -> Arrival:
    return Arrival(method, target, HOST if headers is None else headers, peer, "http")


def accepted(target: bytes = b"/", headers: list[Header] | None = None, **more: Any) -> Accepted:
    """A request as returned by `accept` if every host is served and no proxy is trusted."""
    return Accept((), lambda host: True)(arrival(target, headers, **more))


@dataclass
class Front:
    """Doorward in front of `origin`; `accounts` is the core opened like in another process."""

    app: Application
    accounts: Accounts
    origin: Origin
    clock: FixedClock

    async def get(self, target: bytes | str = "/", *headers: Header, **more: Any) -> Answer:
        """The answer to a GET with these headers in addition to Host."""
        return await ask(self.app, scope(target, [*HOST, *headers], **more))

    async def opened(self, username: str = "alice", **more: Any) -> Opened:
        """A new session of a user, who is created if necessary."""
        users = self.accounts.users
        try:
            user = await users.get(username)
        except UserNotFound:
            user = await users.add(username, "correct horse", now=self.clock(), **more)
        client = ClientInfo("192.0.2.7", "elsewhere")
        return await open_session(
            self.accounts.sessions, user, client=client, now=self.clock(), proved_at=self.clock()
        )

    async def give_account(
        self, account: str, password: str, name: str = "alice", route: str = "/"
    ) -> None:
        """Give a user an account at the application of a route, as a command would."""
        user = await self.accounts.users.get(name)
        login = ApplicationLogin(route, account, password)
        await self.accounts.credentials.set(user, login, actor=OWNER, now=self.clock())

    def signed(self, opened: Opened) -> bytes:
        return self.accounts.tokens.sign(opened.token).encode()

    def cookie(self, opened: Opened) -> Header:
        return b"cookie", b"doorward=" + self.signed(opened)


Build = Callable[..., Awaitable[Front]]

ACCESS = {
    "rules": [
        {"path": "/public/*", "require": "public"},
        {"path": "/admin/*", "groups": ["admins"]},
    ]
}


@asynccontextmanager
async def front_of(folder: Path, origin: Origin, **values: Any) -> AsyncIterator[Front]:
    """An application with these settings. Its clock only moves when a test moves it."""
    clock = FixedClock(time.time())
    chosen = {
        "data_dir": str(migrated(folder)),
        "routes": [{"upstream": origin.url}],
        "dialects": {"xhr": {}},
    }
    settings = settings_from(chosen | values, folder)
    async with Application(settings, clock) as app, build_accounts(settings, clock) as accounts:
        yield Front(app, accounts, origin, clock)
