"""Authelia's file of users (YAML), read for an import. It knows only that file's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from doorward.accounts.refusals import Refusal
from doorward.accounts.user import Email
from doorward.accounts.users.directory import DirectoryEntry
from doorward.directories.formats import FormatFault, Row, imported_entry


def read_authelia(text: str) -> list[Row]:
    """The users of the file. Addresses count as verified, as in Authelia.

    Raises FormatFault.
    """
    import yaml

    try:
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader))
        root = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # invalid dates; [[[[…
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "cannot be read"
        raise FormatFault(mark and mark.line + 1, f"This is not YAML: {problem}.") from error
    users = root.get("users") if isinstance(root, dict) else None
    if not isinstance(users, dict):
        raise FormatFault(None, "This is not a users file of Authelia: it has no users.")
    return [_row(lines.get(str(name), 1), str(name), found) for name, found in users.items()]


def _lines(root: Any) -> dict[str, int]:
    """The line number of each user's name."""
    return {
        name.value: name.start_mark.line + 1
        for key, users in _pairs(root)
        if key.value == "users"
        for name, _ in _pairs(users)
    }


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if getattr(node, "id", "") == "mapping" else []


def _row(line: int, name: str, described: object) -> Row:
    if not isinstance(described, dict):
        raise FormatFault(line, "there is no mapping after this name.", name)
    groups = described.get("groups") or ()
    if not isinstance(groups, list | tuple):
        raise FormatFault(line, "groups is not a list.", name)
    try:
        return Row(line, _entry(name, described, groups))
    except Refusal as refusal:
        raise FormatFault(line, str(refusal), name) from refusal


def _entry(name: str, described: Mapping[str, Any], groups: Iterable[object]) -> DirectoryEntry:
    email = described.get("email")
    display_name = described.get("displayname")
    return replace(
        imported_entry(name, str(described.get("password") or "")),
        name=str(display_name) if display_name else None,
        emails=(Email(str(email), verified=True),) if email else (),
        groups=tuple(str(group) for group in groups),
        active=not described.get("disabled"),
    )
