"""Knows the credentials that a route sends to its application: where they come from, and how they
are written. It must not send them; rewriting does."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from doorward.settings import values
from doorward.settings.faults import Wrong
from doorward.settings.fields import (
    Listed,
    Parsed,
    Place,
    Section,
    Switch,
    Text,
    Unless,
    key,
    required,
    whole,
    word_from,
)
from doorward.text import has_hidden


def account_name(value: object) -> str:
    """A user name for Basic, which must not contain a colon (RFC 7617 2)."""
    found = values.label(value)
    if ":" in found:
        raise Wrong("must not contain a colon, which separates name and password in Basic")
    return found


AccountName = Annotated[str, Parsed(account_name, {"type": ["string", "integer"]})]


class BasicAccount(Section):
    username: AccountName = required("User name at the application.")
    password_file: Place = required("File with the password.")


PerUser = Annotated[Literal["basic"], word_from("basic")]


PLACEHOLDERS = ("{username}", "{password}")
_BRACES = re.compile(r"\{[^{}]*\}")


class FormFields(tuple[tuple[str, str], ...]):
    """The fields of a form, in their order."""

    __slots__ = ()


def form_fields(value: object) -> FormFields:
    """A mapping of names to values. Any other name in braces is an error."""
    if not isinstance(value, dict) or not value:
        example = '{user: "{username}", pass: "{password}"}'
        raise Wrong("must be a mapping of fields to values", f"such as {example}")
    fields = [(values.label(name), values.text(inner)) for name, inner in value.items()]
    for name, inner in fields:
        if has_hidden(inner):
            raise Wrong(f"{values.quote(name)} must not contain control characters")
        for found in _BRACES.findall(inner):
            if found not in PLACEHOLDERS:
                message = f"{values.quote(found)} in {values.quote(name)} is not a placeholder"
                hint = "hidden fields of the form are sent if you set page"
                raise Wrong(message, f"use {' and '.join(PLACEHOLDERS)}; {hint}")
    if not any("{password}" in inner for _, inner in fields):
        raise Wrong("no field contains the password", 'add it to one: pass: "{password}"')
    return FormFields(fields)


def form_url(value: object) -> str:
    """A path at the application, with or without a query."""
    found = values.label(value)
    if not found.startswith("/") or found.startswith("//") or "#" in found:
        raise Wrong(f"{values.quote(found)} is not a path", "write it as /login")
    if not found.isascii() or " " in found or "\\" in found:
        raise Wrong(
            f"{values.quote(found)} is not in the form that clients send", "percent-encode it"
        )
    return found


FormUrl = Annotated[str, Parsed(form_url, {"type": "string", "pattern": "^/"})]
FieldMapping = Annotated[FormFields, Parsed(form_fields, {"type": "object"})]
Status = Annotated[int, whole(200, 399)]


class LoginSuccess(Section):
    status: Annotated[tuple[Status, ...], Listed(least=1)] = key(
        [302], "Status of the answer to a login that succeeded."
    )
    location: Annotated[FormUrl | None, Unless()] = key(
        None, "Path that this answer redirects to.", validate_default=False
    )
    cookie: Annotated[Text | None, Unless()] = key(
        None, "Name of a cookie that this answer sets.", validate_default=False
    )


class FormLogin(Section):
    url: FormUrl = required("Path of the application to which the form is posted.")
    page: Annotated[FormUrl | None, Unless()] = key(
        None,
        "Path of the page with the form, whose hidden fields and cookies are then sent as well.",
        validate_default=False,
    )
    fields: FieldMapping = required("Fields of the form; {username} and {password} are replaced.")
    success: LoginSuccess = key({}, "How to recognize a login that succeeded.")
    username: Annotated[Text | None, Unless()] = key(
        None,
        "User name at the application for everybody. If unset, users have their own accounts.",
        validate_default=False,
    )
    password_file: Annotated[Place | None, Unless()] = key(
        None, "File with the password of that account.", validate_default=False
    )


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
    form: Annotated[FormLogin | None, Unless()] = key(
        None,
        "A login form of the application, which Doorward fills in for each session.",
        validate_default=False,
    )
    on_public: Switch = key(False, "Whether to send them on public paths too, for everybody.")


# A request can have only one Authorization header.
WAYS = ("basic", "bearer_file", "per_user", "form")


def list_ways(chosen: CredentialSettings) -> list[str]:
    """The ways to get credentials that were given; there must be exactly one."""
    return [name for name in WAYS if getattr(chosen, name) is not None]


def needs_users_own(chosen: CredentialSettings | None) -> bool:
    """Whether users have credentials of their own there."""
    if chosen is None:
        return False
    return chosen.per_user is not None or (chosen.form is not None and not chosen.form.username)
