"""Knows what may be a user's name, an e-mail address, a group, a password hash, a server's URL.
It must not know who has them; whether one is taken is asked elsewhere."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from doorward.settings.faults import Wrong
from doorward.settings.values import quote, text
from doorward.text import CHARACTERS, UnfitText, fold_address, fold_name, has_hidden, is_clean

_ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=[0-9]{1,8},t=[0-9]{1,4},p=[0-9]{1,3}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,172}"
)


def username(value: object) -> str:
    """Returns a user's name: 1 to 190 characters, no control characters, no white space around."""
    return _name(text(value), "a user's name")


def display_name(value: object) -> str:
    return _name(text(value), "a name")


def _name(found: str, what: str) -> str:
    try:
        fold_name(found)
    except UnfitText:
        raise Wrong(
            f"{what} has 1 to {CHARACTERS} characters, no control characters and no white space"
            " at its edges"
        ) from None
    return found


def email(value: object) -> str:
    """Returns an address that could be one: something, exactly one @, something."""
    found = text(value)
    try:
        fold_address(found)
    except UnfitText:
        hint = f"write it as name@example.com, in at most {CHARACTERS} characters"
        raise Wrong(f"{quote(found)} is not an e-mail address", hint) from None
    return found


def group(value: object) -> str:
    """Returns the name of a group or a role; headers carry them in a list with commas."""
    found = text(value)
    if not is_clean(found) or "," in found:
        raise Wrong(
            f"{quote(found)} is not the name of a group or role",
            "it has no comma, no control character and no white space at its edges",
        )
    return found


def password_hash(value: object) -> str:
    """Returns an argon2id hash. What was given is never shown."""
    found = value if isinstance(value, str) else ""
    if not found.startswith("$argon2id$"):
        raise Wrong(
            "is not an argon2id hash",
            "`doorward hash-password` prints one; put it in quotes, as it contains $",
        )
    if not _ARGON2ID.fullmatch(found):
        raise Wrong(
            "is not a whole argon2id hash",
            "take the line of `doorward hash-password` as it is; compose files need $$ for each $",
        )
    return found


def storage(value: object) -> str:
    """Returns `sqlite`, or the URL of a PostgreSQL database. What was given is never shown."""
    found = text(value)
    if found == "sqlite":
        return found
    hint = "write sqlite, or postgresql://user@host/database"
    try:
        parts = _parts(found)
    except ValueError:
        raise Wrong("is not the URL of a database", hint) from None
    if parts.scheme != "postgresql" or not found.startswith("postgresql://"):
        raise Wrong("is neither sqlite nor a postgresql:// URL", hint)
    if not parts.path.strip("/") or parts.fragment or has_hidden(found):
        raise Wrong("does not name a database", hint)
    return found


def smtp(value: object) -> str:
    """Returns the URL of a mail server. What was given is never shown."""
    found = text(value)
    hint = "write smtp://host:25, smtp://user:password@host:587 or smtps://host:465"
    try:
        parts = _parts(found)
    except ValueError:
        raise Wrong("is not the URL of a mail server", hint) from None
    if (
        parts.scheme not in {"smtp", "smtps", "smtp+plain"}
        or not parts.hostname
        or has_hidden(found)
    ):
        raise Wrong("is not the URL of a mail server", hint)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise Wrong("has more than user, password, host and port", hint)
    return found


def _parts(url: str) -> SplitResult:
    """Returns the parts of a URL; raises ValueError when the port is none either."""
    parts = urlsplit(url)
    if parts.port == 0:
        raise ValueError
    return parts


def mask_password(url: str) -> str:
    """Returns the URL with its passwords covered."""
    covered = re.sub(r"(://[^:/?#@]*:)[^\n]*@", r"\1********@", url)
    return re.sub(r"(?i)([?&][^=&]*password=)[^&#]*", r"\1********", covered)
