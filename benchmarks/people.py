"""The two hundred people who use the application, as each proxy's user file names them.

It knows names, one password and hashes, and must not know which proxy reads them.
"""

from __future__ import annotations

from functools import cache

import bcrypt

COUNT = 200
PASSWORD = "a password for measuring"  # noqa: S105  of users that live for one run
COST = 5  # the default of `htpasswd -B`; Apache spends it on every request

NAMES = tuple(f"user{number:03}" for number in range(COUNT))


@cache
def hashes() -> dict[str, str]:
    """A different bcrypt hash for each name, so that no proxy can share a cached result."""
    return {name: hashed() for name in NAMES}


def hashed() -> str:
    return bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()


def htpasswd() -> str:
    return "".join(f"{name}:{value}\n" for name, value in hashes().items())
