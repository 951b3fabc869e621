"""Authelia's file of users (YAML), read for an import. It knows that file's keys and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from doorward.accounts.directory import Entry
from doorward.accounts.names import shown
from doorward.accounts.refusals import Refusal
from doorward.accounts.user import Email
from doorward.directories.formats import FormatFault, imported_entry


def read_authelia(text: str) -> list[Entry]:
    """The users of the file. An address counts as verified, as it does there.

    Raises FormatFault."""
    import yaml

    try:
        root = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # dates that are none; [[[[…
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "cannot be read"
        raise FormatFault(mark and mark.line + 1, f"This is not YAML: {problem}.") from error
    users = root.get("users") if isinstance(root, dict) else None
    if not isinstance(users, dict):
        raise FormatFault(None, "This is not a users file of Authelia: it has no users.")
    return [_named(str(name), described) for name, described in users.items()]


def _named(name: str, described: object) -> Entry:
    if not isinstance(described, dict):
        raise FormatFault(None, f"user {shown(name)}: is not described.")
    try:
        return _entry(name, described)
    except Refusal as refusal:
        raise FormatFault(None, f"user {shown(name)}: {refusal}") from refusal


def _entry(name: str, described: Mapping[str, Any]) -> Entry:
    email = described.get("email")
    groups = described.get("groups") or ()
    if not isinstance(groups, list | tuple):
        raise FormatFault(None, f"user {shown(name)}: groups is not a list.")
    display_name = described.get("displayname")
    return replace(
        imported_entry(name, str(described.get("password") or "")),
        name=str(display_name) if display_name else None,
        emails=(Email(str(email), verified=True),) if email else (),
        groups=tuple(str(group) for group in groups),
        active=not described.get("disabled"),
    )
