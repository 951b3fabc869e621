"""Sessions and logins from keywords, so that a test only states what matters to it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from doorward.accounts.logins import LoginRequest, Logins
from doorward.accounts.passwords.hashing import Password
from doorward.accounts.session import (
    Authentication,
    ClientInfo,
    Lifetimes,
    NewSession,
    Opened,
    Session,
)
from doorward.accounts.sessions.sessions import Sessions
from doorward.accounts.user import User

LIFETIMES = Lifetimes(7200.0, 86_400.0, 30 * 86_400.0, None)
CLIENT = ClientInfo("192.0.2.7", "")
USUAL: dict[str, Any] = {"kind": "page", "lifetimes": LIFETIMES}

SESSION = {field.name for field in fields(NewSession)}


async def open_session(
    sessions: Sessions,
    user: User,
    *,
    now: float,
    client: ClientInfo = CLIENT,
    replaces: Session | None = None,
    **values: Any,
) -> Opened:
    """`values` are those of a NewSession, where they are not as usual, and of an Authentication."""
    chosen = USUAL | {name: value for name, value in values.items() if name in SESSION}
    shown = {name: value for name, value in values.items() if name not in SESSION}
    return await sessions.open(
        user,
        NewSession(**chosen),
        Authentication(**shown),
        client=client,
        now=now,
        replaces=replaces,
    )


async def log_in(
    logins: Logins,
    name: str,
    password: Password,
    *,
    now: float,
    client: ClientInfo = CLIENT,
    replaces: Session | None = None,
    **values: Any,
) -> Opened:
    """`values` are those of a NewSession, where they are not as usual, and of a LoginRequest."""
    chosen = USUAL | {name: value for name, value in values.items() if name in SESSION}
    rest = {name: value for name, value in values.items() if name not in SESSION}
    request = LoginRequest(name, password, NewSession(**chosen), **rest)
    return await logins.login(request, client=client, now=now, replaces=replaces)


def spoil(token: str) -> str:
    """The same text with another last character."""
    return token[:-1] + ("y" if token.endswith("x") else "x")
