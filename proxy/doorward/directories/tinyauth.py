"""Tinyauth's users, `name:hash` or `name:hash:secret`, read for an import. It must not know other
formats.

They are one per line in a file, or separated by commas in a variable's value.
"""

from __future__ import annotations

from dataclasses import replace

from doorward.accounts.refusals import InvalidHash, Refusal
from doorward.accounts.users.directory import DirectoryEntry
from doorward.directories.formats import FormatFault, Row, imported_entry, name_before_colon


def read_tinyauth(text: str) -> list[Row]:
    """The users of the file. Raises FormatFault."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        for part in filter(None, (one.strip() for one in line.split(","))):
            try:
                rows.append(Row(number, _entry(part)))
            except Refusal as refusal:
                raise FormatFault(number, str(refusal), name_before_colon(part)) from refusal
    return rows


def _entry(text: str) -> DirectoryEntry:
    # Compose files double each $, and tinyauth reads both spellings.
    name, *rest = text.replace("$$", "$").split(":")
    if not 1 <= len(rest) <= 2:
        raise InvalidHash("This is not name:hash or name:hash:secret.")
    secret = rest[1].strip() if len(rest) == 2 else ""
    return replace(imported_entry(name, rest[0]), totp_secret=secret or None)
