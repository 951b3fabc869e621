"""Converts rows to users and sessions of the core, and back. It must not know any query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from sys import intern
from typing import Any, TypeVar

from sqlalchemy import Row

from doorward.accounts.sessions.sessions import Level, Session
from doorward.accounts.user import Credential, Email, User, share
from doorward.storage.tables import sessions, users

CHUNK = 500  # values in one IN (…); SQLite takes 32766 parameters, planners like fewer

Value = TypeVar("Value")

USER_COLUMNS = [
    column.label(f"user_{column.name}")
    for column in users.c
    if column.name not in ("username_key", "password_hash", "password_scheme", "entry_digest")
]
SESSION_FIELDS = (
    "id", "iat", "created_at", "last_used_at", "idle_timeout_s", "expires_at", "remember",
    "address", "user_agent", "information", "kind", "level", "method", "second_factor_at",
    "trusted_until", "trusted_fingerprint", "proved_at", "renewals", "ended_at", "ended_by",
)  # fmt: skip
# What many sessions have in common is kept in memory once.
ALIKE = ("address", "user_agent", "information", "kind", "method")
_share_number = lru_cache(maxsize=64)(lambda number: number)
SESSION_COLUMNS = [sessions.c.number, *(sessions.c[name] for name in SESSION_FIELDS)]


def user(row: Row[Any]) -> User:
    """From a row that has USER_COLUMNS."""
    return User(
        number=row.user_number,
        id=row.user_id,
        source=row.user_source,
        username=row.user_username,
        name=row.user_name,
        emails=tuple(Email(address, verified) for address, verified in row.user_emails),
        groups=tuple(row.user_groups),
        roles=tuple(row.user_roles),
        super_admin=row.user_super_admin,
        active=row.user_active,
        banned=row.user_banned,
        must_change_password=row.user_must_change_password,
        created_at=row.user_created_at,
        version=row.user_version,
    )


def credential(row: Row[Any]) -> Credential:
    """From a row that has USER_COLUMNS, password_hash and password_scheme."""
    return Credential(user(row), row.password_hash, row.password_scheme)


def emails(addresses: Sequence[Email]) -> list[list[object]]:
    return [[email.address, email.verified] for email in addresses]


def session(row: Row[Any]) -> Session:
    """From a row that has SESSION_COLUMNS and USER_COLUMNS."""
    fields = row._mapping
    found = {name: fields[name] for name in SESSION_FIELDS}
    for name in ALIKE:
        found[name] = intern(found[name])
    found["idle_timeout_s"] = _share_number(found["idle_timeout_s"])
    if found["proved_at"] == found["created_at"]:
        found["proved_at"] = found["created_at"]
    found["level"] = Level(found["level"])
    return Session(number=row.number, user=share(user(row)), **found)


def session_values(draft: Session) -> dict[str, object]:
    return {name: getattr(draft, name) for name in SESSION_FIELDS}


def chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """The values in chunks that fit one statement."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
