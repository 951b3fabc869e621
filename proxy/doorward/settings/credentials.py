"""Knows the credentials that a route sends to its application: where they come from, and how they
are written. It must not send them; rewriting does."""

from __future__ import annotations

from typing import Annotated, Literal

from doorward.settings import values
from doorward.settings.faults import Wrong
from doorward.settings.fields import (
    Parsed,
    Place,
    Section,
    Switch,
    Unless,
    key,
    required,
    word_from,
)


def account_name(value: object) -> str:
    """A user name in the form that Basic allows: RFC 7617 2 has no colon in it."""
    found = values.label(value)
    if ":" in found:
        raise Wrong("must not contain a colon, which Basic puts behind the name")
    return found


AccountName = Annotated[str, Parsed(account_name, {"type": ["string", "integer"]})]


class BasicAccount(Section):
    username: AccountName = required("User name at the application.")
    password_file: Place = required("File with the password.")


PerUser = Annotated[Literal["basic"], word_from("basic")]


class CredentialSettings(Section):
    basic: Annotated[BasicAccount | None, Unless()] = key(
        None,
        "One account at the application for everybody, by HTTP Basic authentication.",
        validate_default=False,
    )
    bearer_file: Annotated[Place | None, Unless()] = key(
        None,
        "File with a token to send as Authorization: Bearer.",
        validate_default=False,
    )
    per_user: Annotated[PerUser | None, Unless()] = key(
        None,
        "Every user's own account at the application, by this method: basic.",
        validate_default=False,
    )
    on_public: Switch = key(False, "Whether to send them on public paths too, for everybody.")


# A request can have only one Authorization header.
WAYS = ("basic", "bearer_file", "per_user")


def list_ways(chosen: CredentialSettings) -> list[str]:
    """The ways to get credentials that were given; there must be exactly one."""
    return [name for name in WAYS if getattr(chosen, name) is not None]


def needs_users_own(chosen: CredentialSettings | None) -> bool:
    """Whether users have credentials of their own there."""
    return chosen is not None and chosen.per_user is not None
