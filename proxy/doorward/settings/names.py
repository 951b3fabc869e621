"""Knows the valid forms of user names, e-mail addresses, groups, password hashes and server URLs.
It must not know whether a name is in use."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from doorward.settings.addresses import add_brackets, url_host
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
            " at either end"
        ) from None
    return found


def email(value: object) -> str:
    """Returns an address with exactly one @ and text on both sides."""
    found = text(value)
    try:
        fold_address(found)
    except UnfitText:
        hint = f"write it as name@example.com, in at most {CHARACTERS} characters"
        raise Wrong(f"{quote(found)} is not an e-mail address", hint) from None
    return found


def group(value: object) -> str:
    """The name of a group or a role; headers contain them in a list separated by commas."""
    found = text(value)
    if not is_clean(found) or "," in found:
        raise Wrong(
            f"{quote(found)} is not the name of a group or role",
            "it has no comma, no control character and no white space at either end",
        )
    return found


def password_hash(value: object) -> str:
    """An argon2id hash. Errors do not contain the value."""
    found = value if isinstance(value, str) else ""
    if not found.startswith("$argon2id$"):
        raise Wrong(
            "is not an argon2id hash",
            "`doorward hash-password` prints one; put it in quotes, as it contains $",
        )
    if not _ARGON2ID.fullmatch(found):
        raise Wrong(
            "is not a complete argon2id hash",
            "copy the whole line of `doorward hash-password`; compose files need $$ for each $",
        )
    return found


def storage(value: object) -> str:
    """`sqlite`, or the URL of a PostgreSQL database. Errors do not contain the value."""
    found = text(value)
    if found == "sqlite":
        return found
    hint = "write sqlite, or postgresql://user@host/database"
    try:
        parts = urlsplit(found)
        for host in parts.netloc.rpartition("@")[2].split(","):
            _parts(f"//{host}")
    except ValueError:
        raise Wrong("is not the URL of a database", hint) from None
    if parts.scheme != "postgresql" or not found.startswith("postgresql://"):
        raise Wrong("is neither sqlite nor a postgresql:// URL", hint)
    if not parts.path.strip("/") or parts.fragment or has_hidden(found):
        raise Wrong("does not name a database", hint)
    return found


def smtp(value: object) -> str:
    """The URL of a mail server. Errors do not contain the value."""
    found = text(value)
    hint = "write smtp://host:25, smtp://user:password@host:587 or smtps://host:465"
    try:
        parts = _parts(found)
    except ValueError:
        raise Wrong("is not the URL of a mail server", hint) from None
    if parts.scheme not in {"smtp", "smtps", "smtp+plain"} or has_hidden(found):
        raise Wrong("is not the URL of a mail server", hint)
    try:
        url_host(add_brackets(parts.hostname or ""))
    except Wrong:  # which would quote it: it may be half of a password
        raise Wrong("is not the URL of a mail server", hint) from None
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise Wrong("contains more than user, password, host and port", hint)
    return found


def _parts(url: str) -> SplitResult:
    """The parts of a URL; raises ValueError also if the port is invalid."""
    parts = urlsplit(url)
    if parts.port == 0:
        raise ValueError
    return parts


def mask_password(url: str) -> str:
    """The URL with its passwords masked."""
    covered = re.sub(r"(://[^:/?#@]*:)[^\n]*@", r"\1********@", url)
    return re.sub(r"(?i)([?&][^=&]*password=)[^&#]*", r"\1********", covered)
