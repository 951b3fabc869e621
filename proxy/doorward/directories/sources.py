"""All directories of users that the settings name, opened as one. It must not know any particular
format."""

from __future__ import annotations

from collections.abc import Iterator

from doorward.accounts.users.directory import Directories, Directory
from doorward.directories.config import ConfigDirectory
from doorward.settings import Settings


def open_directories(settings: Settings) -> Directories:
    """Raises DirectoryFault, and NameTaken if two directories share a user."""
    return Directories(_each(settings))


def _each(settings: Settings) -> Iterator[Directory]:
    yield ConfigDirectory(settings.users)
    if settings.htpasswd is not None:
        from doorward.directories.htpasswd import HtpasswdDirectory

        yield HtpasswdDirectory(settings.htpasswd)
