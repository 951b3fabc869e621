"""Users and sessions to store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from doorward.accounts import randomness
from doorward.accounts.administration import UserFilter
from doorward.accounts.names import normalise, normalise_address
from doorward.accounts.session import FULL
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import DATABASE, Email, NewUser, User
from doorward.storage import Database

NOW = 1_700_000_000.0


def new_user(username: str = "Alice", *addresses: str, **more: Any) -> NewUser:
    """A user of the database; the addresses are verified."""
    key = normalise(username)
    new = NewUser(
        id=randomness.public_id(),
        source=DATABASE,
        username=username,
        key=key,
        handles=(key, *map(normalise_address, addresses)),
        password_hash="stored hash",
        scheme="a scheme",
        emails=tuple(Email(address, True) for address in addresses),
    )
    return replace(new, **more)


async def add(store: Database, username: str = "Alice", *addresses: str, **more: Any) -> User:
    return await store.users.insert(new_user(username, *addresses, **more), NOW)


async def all_users(store: Database) -> list[User]:
    """All users, by name."""
    return [user for _, user in await store.listings.users(UserFilter(), None, 10_000)]


def draft(user: User, now: float = NOW, **more: Any) -> Session:
    session = Session(
        number=0,
        id=randomness.public_id(),
        user=user,
        iat=int(now),
        created_at=now,
        last_used_at=now,
        idle_timeout_s=7200.0,
        expires_at=now + 86_400,
        remember=False,
        address="192.0.2.1",
        user_agent="a browser",
        information="at home",
        kind="page",
        level=FULL,
    )
    return replace(session, **more)


def digest() -> bytes:
    """The digest of an unknown token."""
    return randomness.marker_bytes() * 2


async def open_session(store: Database, user: User, now: float = NOW, **more: Any) -> Session:
    session = await store.sessions.insert(draft(user, now, **more), digest())
    assert session is not None
    return session


def proven(user: User, now: float) -> Session:
    """A session with password and code, not in storage."""
    return Session(
        number=0,
        id=randomness.public_id(),
        user=user,
        iat=int(now),
        created_at=now,
        last_used_at=now,
        idle_timeout_s=None,
        expires_at=now + 3600,
        remember=False,
        address="192.0.2.1",
        user_agent="a browser",
        information="",
        kind="page",
        level=FULL,
        second_factor_at=now,
        proved_at=now,
    )
