"""Knows the key files: what one holds, who may read it, how the first one is made.
It must not know what keys are used for."""

from __future__ import annotations

import base64
import binascii
import codecs
import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from doorward.settings.faults import Fault, InvalidSettings
from doorward.settings.models import Settings
from doorward.settings.private_files import UnusableFile, read_private

KEY_FILE = "doorward.key"
# As many as SHA-256 has (RFC 2104 3: shorter keys are strongly discouraged).
_LEAST_BYTES = 32
_LARGEST_FILE = 4096
_MAKE_IT = "create it for the user that Doorward runs as, or name another"
_MAKE_ONE = "make one: `openssl rand 32 | basenc --base64url > FILE`, then `chmod 600 FILE`"


def read_keys(settings: Settings) -> tuple[bytes, ...]:
    """Returns the keys, the one that signs first. Without secret_files it is the one of data_dir,
    which is made when it is not there. Raises InvalidSettings with every file that is wrong."""
    if not settings.secret_files:
        return (_own_key(ensure_data_dir(settings)),)
    keys: list[bytes] = []
    faults: list[Fault] = []
    for number, path in enumerate(settings.secret_files):
        try:
            keys.append(_distinct(_read_key(path), keys))
        except UnusableFile as error:
            faults.append(_fault(f"secret_files[{number}]", path, error))
    if faults:
        raise InvalidSettings(faults)
    return tuple(keys)


def check_keys(settings: Settings) -> None:
    """Whether `read_keys` would do, without making anything. Raises InvalidSettings with every
    fault."""
    if settings.secret_files:
        read_keys(settings)
    elif os.path.lexists(settings.data_dir / KEY_FILE):
        _own_key(settings.data_dir)


def check_data_dir(settings: Settings) -> None:
    """Whether `ensure_data_dir` would do, without making anything. Raises InvalidSettings."""
    path = next(p for p in (settings.data_dir, *settings.data_dir.parents) if os.path.lexists(p))
    if path == settings.data_dir:
        ensure_data_dir(settings)
    elif not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise _data_dir_fault(
            settings.data_dir, UnusableFile(f"cannot be created in {path}", _MAKE_IT)
        )


def ensure_data_dir(settings: Settings) -> Path:
    """Returns data_dir, made with mode 0700 if it was not there. Raises InvalidSettings when it
    cannot be written to."""
    path = settings.data_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise _data_dir_fault(path, UnusableFile("is not a directory", _MAKE_IT)) from None
    except OSError as error:
        message = f"cannot be created: {error.strerror}"
        raise _data_dir_fault(path, UnusableFile(message, _MAKE_IT)) from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise _data_dir_fault(path, UnusableFile("cannot be written to", _MAKE_IT))
    return path


def _fault(key: str, path: Path, error: UnusableFile) -> Fault:
    return Fault(key, None, f"{path} {error.message}", error.hint)


def _data_dir_fault(path: Path, error: UnusableFile) -> InvalidSettings:
    return InvalidSettings([_fault("data_dir", path, error)])


def _distinct(key: bytes, others: list[bytes]) -> bytes:
    if key in others:
        raise UnusableFile("holds the key of a file before it", "remove it from the list")
    return key


def _own_key(directory: Path) -> bytes:
    path = directory / KEY_FILE
    try:
        if not os.path.lexists(path):
            _make_key(path)
        return _read_key(path)
    except UnusableFile as error:
        raise _data_dir_fault(path, error) from None
    except OSError as error:
        message = f"cannot be made: {error.strerror}"
        hint = "make a key file yourself and name it in secret_files"
        raise _data_dir_fault(path, UnusableFile(message, hint)) from None


def _make_key(path: Path) -> None:
    """Puts a fresh key at the path unless one is there. It appears whole or not at all: a link
    to a finished file is made, which fails when another process was first; both then use its."""
    with _temporary_file(path) as (temporary, descriptor):
        key = base64.urlsafe_b64encode(os.urandom(_LEAST_BYTES))
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(key + b"\n")
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    _sync_directory(path.parent)


@contextlib.contextmanager
def _temporary_file(path: Path) -> Iterator[tuple[Path, int]]:
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield temporary, descriptor
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_key(path: Path) -> bytes:
    """Returns the key of a file."""
    return _decoded(read_private(path, _LARGEST_FILE, _MAKE_ONE))


def _decoded(data: bytes) -> bytes:
    line = data.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
    if len(data) > _LARGEST_FILE or b"\n" in line or b"\r" in line:
        raise UnusableFile("holds more than one line", "a key file is one line of base64url")
    if not re.fullmatch(rb"[A-Za-z0-9_-]+={0,2}", line):
        raise UnusableFile("is not a line of base64url", _MAKE_ONE)
    try:
        key = base64.urlsafe_b64decode(line.rstrip(b"=") + b"=" * (-len(line.rstrip(b"=")) % 4))
    except binascii.Error:
        raise UnusableFile("is not a line of base64url", _MAKE_ONE) from None
    if len(key) < _LEAST_BYTES:
        raise UnusableFile(f"holds {len(key)} bytes, fewer than {_LEAST_BYTES}", _MAKE_ONE)
    return key
