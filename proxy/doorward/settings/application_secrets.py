"""Knows the files with secrets for applications: reads them, and again when they change.
It must not know how a secret is sent."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doorward.settings.faults import Fault, InvalidSettings
from doorward.settings.file_state import get_file_state
from doorward.settings.models import Settings
from doorward.settings.private_files import UnusableFile, read_private
from doorward.text import has_hidden

# Common servers refuse longer header values.
SECRET_BYTES = 4096
_MAKE_IT = "write the secret into it, on one line, and set its mode to 600"
# RFC 6750 2.1.
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """A file with a secret: which setting names it, and whether the secret is a token."""

    key: str
    path: Path
    is_token: bool = False


def list_secrets(settings: Settings) -> Iterator[SecretPlace]:
    """The files with secrets for applications, in the order of the routes."""
    for number, route in enumerate(settings.routes):
        chosen, place = route.credentials, f"routes[{number}].credentials"
        if chosen is None:
            continue
        if chosen.basic is not None:
            yield SecretPlace(f"{place}.basic.password_file", chosen.basic.password_file)
        if chosen.bearer_file is not None:
            yield SecretPlace(f"{place}.bearer_file", chosen.bearer_file, is_token=True)
        if chosen.form is not None and chosen.form.password_file is not None:
            yield SecretPlace(f"{place}.form.password_file", chosen.form.password_file)


def read_secret(place: SecretPlace) -> str:
    """Returns the one line of the file, without its line break. Raises UnusableFile, whose message
    never contains the secret."""
    data = read_private(place.path, SECRET_BYTES, _MAKE_IT)
    if len(data) > SECRET_BYTES:
        raise UnusableFile(f"contains more than {SECRET_BYTES} bytes", _MAKE_IT)
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UnusableFile("is not UTF-8 text", _MAKE_IT) from None
    if not text:
        raise UnusableFile("is empty", _MAKE_IT)
    if has_hidden(text):
        raise UnusableFile("contains more than one line, or control characters", _MAKE_IT)
    if place.is_token and not _BEARER.fullmatch(text):
        raise UnusableFile(
            "is not a Bearer token", "a Bearer token consists of letters, digits and -._~+/"
        )
    return text


class WatchedSecret:
    """A secret that is read again when its file changes. `text` is the current one."""

    def __init__(self, place: SecretPlace) -> None:
        """Raises UnusableFile."""
        self._place = place
        self._signature = get_file_state(place.path)
        self.text = read_secret(place)

    def refresh(self) -> str | None:
        """Read the file again if it has changed. If it cannot be used, keep the secret and return
        the reason, once."""
        signature = get_file_state(self._place.path)
        if signature == self._signature:
            return None
        self._signature = signature
        try:
            self.text = read_secret(self._place)
        except UnusableFile as error:
            return f"{self._place.key}: {self._place.path} {error.message}"
        return None


class ApplicationSecrets:
    """The secrets of all routes, by their files."""

    def __init__(self, settings: Settings) -> None:
        """Raises InvalidSettings with every file that cannot be used."""
        self._secrets: dict[Path, WatchedSecret] = {}
        faults: list[Fault] = []
        for place in list_secrets(settings):
            try:
                self._secrets[place.path] = WatchedSecret(place)
            except UnusableFile as error:
                faults.append(Fault(place.key, None, f"{place.path} {error.message}", error.hint))
        if faults:
            raise InvalidSettings(faults)

    def get(self, path: Path) -> WatchedSecret:
        return self._secrets[path]

    def refresh(self) -> tuple[str, ...]:
        """Read every changed file; call it regularly. Returns a sentence for each file that cannot
        be used."""
        said = [secret.refresh() for secret in self._secrets.values()]
        return tuple(sentence for sentence in said if sentence is not None)
