"""The active keys: those in the configuration and those that `doorward keys rotate` created next to
the first one, without retired ones. Must not know what keys are used for.

Next to the first key file `doorward.key`, `doorward.key.1795893000` is a key that signs from that
time on (Unix seconds), and `doorward.key.retired` is the ledger of retired keys. A name that ends
in `.now` is that of an urgent key, which replaces a leaked one. Each change creates, replaces or
removes one file, so every state in between is consistent.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from doorward.settings.faults import Fault, InvalidSettings
from doorward.settings.file_lock import lock_file
from doorward.settings.file_state import FileState, get_file_state
from doorward.settings.keys import (
    KEY_FILE,
    data_dir_fault,
    ensure_data_dir,
    make_key,
    read_key,
)
from doorward.settings.models import Settings
from doorward.settings.private_files import UnusableFile, replace_file, sync_directory

LEDGER = "retired"
ID_DIGITS = 12
# A Unix time has ten digits from 2001 to 2286; nobody numbers a backup copy like that.
_TIME = re.compile(r"([0-9]{10})(\.now)?")
URGENT = ".now"
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_LATEST = 253_402_300_800.0  # the year 10000, which `datetime` does not support
_LARGEST_LEDGER = 1024 * 1024
LOCK_WAIT_S = 10.0  # another retirement takes milliseconds
_READS = 5  # attempts while files change; a rotation changes them twice

RingState = tuple[tuple[str, FileState], ...]


@dataclass(frozen=True, slots=True)
class KeyFile:
    """`since`: the time from which it signs, 0 for a key in the configuration. `made_at`: the time
    at which the file was written. Both in Unix seconds. From `since` on, an urgent key signs
    everything."""

    path: Path
    secret: bytes = field(repr=False)
    since: float
    made_at: float
    is_urgent: bool = False

    @property
    def id(self) -> str:
        """The name shown to people: 48 bits of a hash, which reveal nothing about 256 random
        bits."""
        text = b"doorward key id " + self.secret
        return hashlib.sha256(text).hexdigest()[:ID_DIGITS]


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """A line of the ledger. Times are Unix seconds."""

    id: str
    made_at: float
    retired_at: float


@dataclass(frozen=True, slots=True)
class KeyRing:
    """`keys`: the active keys, the newest first. `left`: remaining files of retired keys."""

    keys: tuple[KeyFile, ...]
    retired: tuple[RetiredKey, ...]
    left: tuple[KeyFile, ...]


class KeysAreGiven(Exception):
    """Keys cannot be changed from here, for the reason in the message."""


def read_ring(settings: Settings) -> KeyRing:
    """Every active key. Without secret_files, the first is the one in data_dir. Raises
    InvalidSettings with every invalid file."""
    for _ in range(_READS):
        before = read_state(settings)
        with _again_if_changed(settings, before):
            ring = _read(settings)
            if read_state(settings) == before:
                return ring
    return _read(settings)


@contextlib.contextmanager
def _again_if_changed(settings: Settings, before: RingState) -> Iterator[None]:
    """Ignore errors if a file changed in the meantime."""
    try:
        yield
    except InvalidSettings:
        if read_state(settings) == before:
            raise


def check_ring(settings: Settings) -> None:
    """Check that `read_ring` would succeed once the first key exists. Raises InvalidSettings with
    every error."""
    if not lacks_first(settings):
        read_ring(settings)


def lacks_first(settings: Settings) -> bool:
    """Whether the key file in data_dir is missing, and has to be created or restored."""
    return not (settings.secret_files or os.path.lexists(find_first(settings)))


def make_first(settings: Settings) -> None:
    """Create the key file in data_dir unless it exists. The caller has to make sure that no such
    file was lost: a new key logs everybody out, and cannot decrypt stored secrets. Raises
    InvalidSettings."""
    ensure_data_dir(settings)
    path = find_first(settings)
    try:
        make_key(path)
    except OSError as error:
        message = f"cannot be created: {error.strerror}"
        hint = "create a key file yourself and name it in secret_files"
        raise data_dir_fault(path, UnusableFile(message, hint)) from None


def find_first(settings: Settings) -> Path:
    """The key file next to which new ones are created."""
    return settings.secret_files[0] if settings.secret_files else settings.data_dir / KEY_FILE


def read_state(settings: Settings) -> RingState:
    """A value that changes with any key file. Empty before the first key is created."""
    first = find_first(settings)
    paths = [*(settings.secret_files or [first]), *_list_beside(first), _ledger(first)]
    return tuple((str(path), state) for path in paths if (state := get_file_state(path)))


def add_key(settings: Settings, since: float, *, is_urgent: bool = False) -> KeyFile:
    """Create a key that signs from `since` on. Raises KeysAreGiven, InvalidSettings."""
    first, second = find_first(settings), int(since)
    with _report_given(first):
        while not make_key(path := _beside(first, second, is_urgent), first.stat()):
            second += 1  # a key for this second exists already
    return _open_later(path)


def retire_key(settings: Settings, key: KeyFile, now: float) -> None:
    """Retire this key, then remove its file if the key ring owns it: the first file gets the oldest
    key created after it, and other files in the configuration stay.

    The ledger is written first: whatever fails after that, the key is retired, and the command can
    be repeated for the remaining file. Raises KeysAreGiven, InvalidSettings."""
    first = find_first(settings)
    with _report_given(first), _locked(first.parent):
        ring = read_ring(settings)
        if key.id not in {each.id for each in ring.retired}:
            lines = (*ring.retired, RetiredKey(key.id, key.made_at, now))
            replace_file(_ledger(first), _write_ledger(lines), first.stat())
        _remove(first, key, ring)
        sync_directory(first.parent)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Allow one retirement at a time: if two wrote the ledger at once, one of the keys would become
    active again."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            lock_file(descriptor, LOCK_WAIT_S)
        except OSError as error:
            # Some network file systems cannot lock directories.
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        yield
    finally:
        os.close(descriptor)


def _remove(first: Path, key: KeyFile, ring: KeyRing) -> None:
    if key.path != first:
        if key.path.name.startswith(f"{first.name}.") and key.path.parent == first.parent:
            key.path.unlink(missing_ok=True)
    elif not first.is_symlink():  # the target of a link is managed elsewhere
        made = [each for each in ring.keys if each.since and each.id != key.id]
        if made:
            made[-1].path.replace(first)


@contextlib.contextmanager
def _report_given(first: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or first.parent
        raise KeysAreGiven(f"{where} cannot be written: {error.strerror}") from error


def _beside(first: Path, second: int, is_urgent: bool) -> Path:
    return first.with_name(f"{first.name}.{second:010d}{URGENT if is_urgent else ''}")


def _ledger(first: Path) -> Path:
    return first.with_name(f"{first.name}.{LEDGER}")


def _list_beside(first: Path) -> list[Path]:
    """The files of keys created later, the newest first."""
    prefix = f"{first.name}."
    try:
        names = os.listdir(first.parent)
    except OSError:  # there is no first key either, or the directory is not readable
        return []
    times = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return [
        first.with_name(prefix + time)
        for time in sorted((each for each in times if _TIME.fullmatch(each)), reverse=True)
    ]


def _read(settings: Settings) -> KeyRing:
    first = find_first(settings)
    named = _read_named(settings)
    faults: list[Fault] = []
    found: list[KeyFile] = []
    for path in _list_beside(first):
        with _note_fault(faults, _setting(settings), path):
            found.append(_open_later(path))
    retired: tuple[RetiredKey, ...] = ()
    with _note_fault(faults, _setting(settings), _ledger(first)):
        retired = _read_ledger(_ledger(first))
    if faults:
        raise InvalidSettings(faults)
    gone = {each.id for each in retired}
    # A key that was copied over a file in the configuration by hand counts as that file's.
    known = {each.id for each in named}
    every = (*(each for each in found if each.id not in known), *named)
    ring = KeyRing(
        tuple(each for each in every if each.id not in gone),
        retired,
        tuple(each for each in every if each.id in gone),
    )
    if not ring.keys:
        message = f"every key is retired in {_ledger(first)}"
        raise InvalidSettings([Fault(_setting(settings), None, message, "create a new key file")])
    return ring


def _setting(settings: Settings) -> str:
    return "secret_files" if settings.secret_files else "data_dir"


def _read_named(settings: Settings) -> list[KeyFile]:
    if not settings.secret_files:
        return [_read_own(settings.data_dir / KEY_FILE)]
    keys: list[KeyFile] = []
    faults: list[Fault] = []
    for number, path in enumerate(settings.secret_files):
        with _note_fault(faults, f"secret_files[{number}]", path):
            keys.append(_distinct(_open(path, 0.0), keys))
    if faults:
        raise InvalidSettings(faults)
    return keys


@contextlib.contextmanager
def _note_fault(faults: list[Fault], setting: str, path: Path) -> Iterator[None]:
    try:
        yield
    except UnusableFile as error:
        faults.append(Fault(setting, None, f"{path} {error.message}", error.hint))


def _open(path: Path, since: float) -> KeyFile:
    secret = read_key(path)
    try:
        made_at = path.stat().st_mtime
    except OSError as error:  # it was just removed
        raise UnusableFile(f"cannot be read: {error.strerror}") from None
    return KeyFile(path, secret, since, made_at)


def _open_later(path: Path) -> KeyFile:
    """The key of a file next to the first. Raises UnusableFile."""
    key, name = _open(path, 0.0), path.name.removesuffix(URGENT)
    return replace(key, since=float(name[-10:]), is_urgent=name != path.name)


def _distinct(key: KeyFile, others: list[KeyFile]) -> KeyFile:
    if key.secret in [other.secret for other in others]:
        raise UnusableFile("contains the same key as an earlier file", "remove it from the list")
    return key


def _read_own(path: Path) -> KeyFile:
    try:
        if not os.path.lexists(path):
            hint = "put it back; a running Doorward keeps its key until it is restarted"
            raise UnusableFile("is missing", hint)
        return _open(path, 0.0)
    except UnusableFile as error:
        raise data_dir_fault(path, error) from None


def _write_ledger(lines: tuple[RetiredKey, ...]) -> bytes:
    rows = ({"id": one.id, "made": one.made_at, "retired": one.retired_at} for one in lines)
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _read_ledger(path: Path) -> tuple[RetiredKey, ...]:
    """Read the retired keys. A ledger that cannot be read is an error, because its keys must not
    become active again. Raises UnusableFile."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_LEDGER + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UnusableFile(f"cannot be read: {error.strerror}") from None
    hint = "restore it, or remove the lines that are not JSON"
    if len(content) > _LARGEST_LEDGER:
        raise UnusableFile(f"is longer than {_LARGEST_LEDGER} bytes", hint)
    try:
        return tuple(_read_line(line) for line in content.splitlines() if line.strip())
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnusableFile("is not a ledger of retired keys", hint) from None


def _read_line(line: bytes) -> RetiredKey:
    """Raises ValueError, KeyError, TypeError or RecursionError for anything that `_write_ledger`
    does not write: a damaged line must not make its key active again."""
    found = json.loads(line)
    id, times = found["id"], (found["made"], found["retired"])
    if not isinstance(id, str) or _ID.fullmatch(id) is None:
        raise ValueError(id)
    if not all(type(time) in (int, float) and 0 <= time < _LATEST for time in times):
        raise ValueError(times)
    return RetiredKey(id, *map(float, times))
