"""Users of an htpasswd file: names and hashes, read again when the file changes.

It knows lines of `name:hash` and must not know permissions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from doorward.accounts.passwords import imported
from doorward.accounts.passwords.hashing import FILE
from doorward.accounts.refusals import InvalidHash, Refusal
from doorward.accounts.users.directory import DirectoryEntry, DirectoryFault
from doorward.directories.formats import FormatFault, Row, imported_entry, name_before_colon
from doorward.settings.file_state import FileState, get_file_state, read_file_state

FILE_BYTES = 16 * 1024 * 1024  # some 200,000 users


def read_htpasswd(text: str) -> list[Row]:
    """The users of an htpasswd file. Raises FormatFault."""
    rows: dict[str, Row] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            entry = _entry(line)
        except Refusal as refusal:
            raise FormatFault(number, str(refusal), name_before_colon(line)) from refusal
        if (first := rows.setdefault(entry.key, Row(number, entry))).line != number:
            message = f"this name is taken by line {first.line}."
            raise FormatFault(number, message, entry.username)
    return list(rows.values())


def _entry(line: str) -> DirectoryEntry:
    name, colon, rest = line.partition(":")
    if not colon:
        raise InvalidHash("This is not name:hash.")
    # Some tools write a comment after the hash and another colon.
    return imported_entry(name, rest.partition(":")[0])


def _of_a_file(entry: DirectoryEntry) -> DirectoryEntry:
    """The hash in the form used for files: an argon2id hash may come from `doorward
    hash-password`."""
    is_argon2id = entry.password_hash.startswith("$argon2id$")
    return replace(entry, scheme=FILE) if is_argon2id else entry


class HtpasswdDirectory:
    """Implements `doorward.accounts.users.directory.Directory`."""

    source = "htpasswd"

    def __init__(self, path: Path) -> None:
        """Raises DirectoryFault."""
        self._path = path
        self._read: FileState | None = None  # the file when it was read, or found invalid
        self._seen: FileState | None = None  # its state at the last check, if different
        self._entries: dict[str, DirectoryEntry] = {}
        try:
            text, self._read = _content(path)
            self._entries = {row.entry.key: _of_a_file(row.entry) for row in read_htpasswd(text)}
        except FormatFault as fault:
            raise DirectoryFault(f"htpasswd: {path}: {fault}") from fault
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            raise DirectoryFault(f"htpasswd: {path}: {reason}; name another file") from error

    @property
    def warnings(self) -> Sequence[str]:
        weak = [entry.username for entry in self.entries() if imported.is_weak(entry.scheme)]
        if not weak:
            return ()
        return (
            f"htpasswd: {self._path}: SHA-1 hashes are easy to crack; set new passwords with"
            f" `htpasswd -B` for {', '.join(weak[:10])}{' and others' if weak[10:] else ''}",
        )

    def fresh(self) -> HtpasswdDirectory | None:
        """A change takes effect once two checks find the same file: htpasswd overwrites the file in
        place, and an incomplete file would end the sessions of other users. A change of permissions
        alone has no effect."""
        now = get_file_state(self._path)
        if now == self._read:
            self._seen = None
            return None
        if now != self._seen:
            self._seen = now
            return None
        self._read = now
        fresh = HtpasswdDirectory(self._path)
        return None if fresh._entries == self._entries else fresh

    def by_handle(self, key: str) -> DirectoryEntry | None:
        return self._entries.get(key)

    def by_name(self, key: str) -> DirectoryEntry | None:
        return self._entries.get(key)

    def entries(self) -> Iterable[DirectoryEntry]:
        return self._entries.values()

    def handles(self) -> Iterable[str]:
        return self._entries.keys()


def _content(path: Path) -> tuple[str, FileState]:
    """The text of the file, and its state at that time."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size > FILE_BYTES:
            raise OSError(0, f"is larger than {FILE_BYTES // 2**20} MiB")
        return file.read(FILE_BYTES).decode("utf-8-sig"), read_file_state(status)
