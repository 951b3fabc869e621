"""How commands print users: as JSON, lines or a table.

It must not know how a user is changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from doorward.cli.tables import print_list

if TYPE_CHECKING:
    from doorward.accounts.user import User
    from doorward.wiring.accounts import Accounts


def describe_user(user: User) -> dict[str, object]:
    """The printed form of a user; its keys are part of the command's interface."""
    created = datetime.fromtimestamp(user.created_at, UTC)
    return {
        "username": user.username,
        "id": user.id,
        "name": user.name,
        "emails": [{"address": e.address, "verified": e.verified} for e in user.emails],
        "groups": list(user.groups),
        "roles": list(user.roles),
        "super_admin": user.super_admin,
        "source": user.source,
        "active": user.active,
        "banned": user.banned,
        "must_change_password": user.must_change_password,
        "created_at": created.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


async def describe_with_factors(accounts: Accounts, user: User) -> dict[str, object]:
    """The same, with details that are only printed for a single user."""
    factors = accounts.second_factors
    return describe_user(user) | {
        "second_factors": list(await factors.list_enabled(user)),
        "recovery_codes": await factors.remaining_recovery(user),
    }


def format_value(value: object) -> str:
    """A value as text for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(format_value(one) for one in value) or "-"
    if isinstance(value, dict):
        return f"{value['address']}" + ("" if value["verified"] else " (not verified)")
    return "-" if value is None else str(value)


async def print_users(users: AsyncIterable[User], json: bool) -> None:
    headings = ("user", "name", "e-mail", "groups", "roles", "source", "state")
    await print_list(users, headings, _cells, describe_user, json)


def _cells(user: User) -> tuple[str, ...]:
    roles = ["super admin"] * user.super_admin + list(user.roles)
    return (
        user.username,
        user.name or "",
        ", ".join(email.address for email in user.emails),
        ", ".join(user.groups),
        ", ".join(roles),
        user.source,
        _state(user),
    )


def _state(user: User) -> str:
    states = [
        ("banned", user.banned),
        ("disabled", not user.active),
        ("must change password", user.must_change_password),
    ]
    return ", ".join(state for state, applies in states if applies) or "active"
