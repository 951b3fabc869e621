"""Knows what may be a user's name, an e-mail address, a group, a password hash, a server's URL.
It must not know who has them; whether one is taken is asked elsewhere."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

from proxy.settings.faults import Wrong
from proxy.settings.values import has_control, quoted, text

_LONGEST_NAME = 190
_ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=[0-9]{1,8},t=[0-9]{1,4},p=[0-9]{1,3}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,172}"
)
_DOMAIN = re.compile(r"(?!-)[^\s@.,;<>()\[\]\"\\]+(?:\.[^\s@.,;<>()\[\]\"\\]+)*")


def normalise(name: str) -> str:
    """Returns the form in which names are compared: NFKC, casefolded, NFKC again (UAX 31)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def username(value: object) -> str:
    """Returns a user's name: 1 to 190 characters, no control characters, no white space around."""
    found = text(value)
    for form in (found, normalise(found)):
        if not 1 <= len(form) <= _LONGEST_NAME:
            raise Wrong(f"a user's name has 1 to {_LONGEST_NAME} characters")
        if has_control(form) or form != form.strip():
            raise Wrong("a user's name has no control characters and no white space at its edges")
    return found


def email(value: object) -> str:
    """Returns an address that could be one: a local part, one @, a domain; 254 characters."""
    found = text(value)
    local, _, domain = found.partition("@")
    plausible = local and len(local) <= 64 and len(found) <= 254 and _DOMAIN.fullmatch(domain)
    if not plausible or has_control(found) or re.search(r"[\s<>,;]", found):
        raise Wrong(f"{quoted(found)} is not an e-mail address", "write it as name@example.com")
    return found


def group(value: object) -> str:
    """Returns the name of a group or a role; headers carry them in a list with commas."""
    found = text(value)
    if not found or found != found.strip() or "," in found or has_control(found):
        raise Wrong(
            f"{quoted(found)} is not the name of a group or role",
            "such names have no comma, no control character and no white space at their edges",
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
        parts = urlsplit(found)
        assert parts.port != 0
    except (ValueError, AssertionError):
        raise Wrong("is not the URL of a database", hint) from None
    if parts.scheme != "postgresql" or not found.startswith("postgresql://"):
        raise Wrong("is neither sqlite nor a postgresql:// URL", hint)
    if not parts.path.strip("/") or parts.fragment or has_control(found):
        raise Wrong("does not name a database", hint)
    return found


def smtp(value: object) -> str:
    """Returns the URL of a mail server. What was given is never shown."""
    found = text(value)
    hint = "write smtp://host:25, smtp://user:password@host:587 or smtps://host:465"
    try:
        parts = urlsplit(found)
        assert parts.port != 0
    except (ValueError, AssertionError):
        raise Wrong("is not the URL of a mail server", hint) from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or has_control(found):
        raise Wrong("is not the URL of a mail server", hint)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise Wrong("has more than user, password, host and port", hint)
    return found


def masked(url: str) -> str:
    """Returns the URL with its passwords covered."""
    covered = re.sub(r"(://[^:/?#@]*:)[^\n]*@", r"\1********@", url)
    return re.sub(r"(?i)([?&][^=&]*password=)[^&#]*", r"\1********", covered)
