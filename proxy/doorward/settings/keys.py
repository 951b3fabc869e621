"""Knows one key file: its content, who may read it, and how it is created; and `data_dir`, where
the first key is created. `key_ring.py` decides which keys are active. It must not know what keys
are used for."""

from __future__ import annotations

import base64
import binascii
import codecs
import os
import re
from pathlib import Path

from doorward.settings.faults import Fault, InvalidSettings
from doorward.settings.models import Settings
from doorward.settings.private_files import UnusableFile, read_private, sync_directory, written
from doorward.text import format_count

KEY_FILE = "doorward.key"
# The length of a SHA-256 hash (RFC 2104 3 strongly discourages shorter keys).
_LEAST_BYTES = 32
_LARGEST_FILE = 4096
_MAKE_IT = "create it for the user that Doorward runs as, or name another directory"
_MAKE_ONE = "create one: `openssl rand 32 | basenc --base64url > FILE`, then `chmod 600 FILE`"


def check_data_dir(settings: Settings) -> None:
    """Check that `ensure_data_dir` would succeed, without creating anything. Raises
    InvalidSettings."""
    path = next(p for p in (settings.data_dir, *settings.data_dir.parents) if os.path.lexists(p))
    if path == settings.data_dir:
        ensure_data_dir(settings)
    elif not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise data_dir_fault(
            settings.data_dir, UnusableFile(f"cannot be created in {path}", _MAKE_IT)
        )


def ensure_data_dir(settings: Settings) -> Path:
    """Returns data_dir, created with mode 0700 if it is missing. Raises InvalidSettings if it
    cannot be written to."""
    path = settings.data_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise data_dir_fault(path, UnusableFile("is not a directory", _MAKE_IT)) from None
    except OSError as error:
        message = f"cannot be created: {error.strerror}"
        raise data_dir_fault(path, UnusableFile(message, _MAKE_IT)) from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise data_dir_fault(path, UnusableFile("cannot be written to", _MAKE_IT))
    return path


def data_dir_fault(path: Path, error: UnusableFile) -> InvalidSettings:
    return InvalidSettings([Fault("data_dir", None, f"{path} {error.message}", error.hint)])


def make_key(path: Path, like: os.stat_result | None = None) -> bool:
    """Create a key file unless the path exists. Returns whether it did. The file is created
    completely or not at all: as a hard link to a finished file, which fails if another process was
    first. If root creates it, it belongs to the owner and group of `like`, so that the server can
    read it. Raises OSError."""
    key = base64.urlsafe_b64encode(os.urandom(_LEAST_BYTES)) + b"\n"
    with written(path, key, like) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    sync_directory(path.parent)
    return True


def read_key(path: Path) -> bytes:
    """Returns the key of a file. Raises UnusableFile."""
    return _decoded(read_private(path, _LARGEST_FILE, _MAKE_ONE))


def _decoded(data: bytes) -> bytes:
    line = data.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
    if len(data) > _LARGEST_FILE or b"\n" in line or b"\r" in line:
        raise UnusableFile("contains more than one line", "a key file is one line of base64url")
    if not re.fullmatch(rb"[A-Za-z0-9_-]+={0,2}", line):
        raise UnusableFile("is not a line of base64url", _MAKE_ONE)
    try:
        key = base64.urlsafe_b64decode(line.rstrip(b"=") + b"=" * (-len(line.rstrip(b"=")) % 4))
    except binascii.Error:
        raise UnusableFile("is not a line of base64url", _MAKE_ONE) from None
    if len(key) < _LEAST_BYTES:
        raise UnusableFile(
            f"contains {format_count(len(key), 'byte')}, fewer than {_LEAST_BYTES}", _MAKE_ONE
        )
    return key
