"""Caching headers of answers for one session.

Applications do not know that they are protected, so an answer that they mark as public may not be
public (RFC 9111 3.5). Knows caching headers; must not know sessions or rules.
"""

import re
from functools import lru_cache

from doorward.http1.headers import OWS

# Longer values are read each time, to keep the cache small.
REMEMBERED_BYTES = 128

# Permissions to shared caches (RFC 9111 5.2.2). Qualified forms (`private="x"`) cover some headers
# only, so quoted arguments are removed, which leaves the stricter, unqualified directive.
_SHARED = frozenset((b"public", b"s-maxage", b"proxy-revalidate"))
_QUOTED = re.compile(rb'="[^"]*"')
_DIRECTIVE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:=[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?")

# Read by shared caches before Cache-Control (RFC 9213, whose names all end alike; Edge
# Architecture 1.0; nginx; Akamai).
_TARGETED = frozenset((b"surrogate-control", b"x-accel-expires", b"edge-control"))
_TARGETED_END = b"-cache-control"


def is_targeted(name: bytes) -> bool:
    """Whether only shared caches obey a header of this lower-case name."""
    return name in _TARGETED or name.endswith(_TARGETED_END)


def private_control(control: bytes) -> tuple[bytes, bool]:
    """An answer's Cache-Control without permissions for shared caches, and whether its Expires is
    removed. A line that is already private is unchanged. `no-store`, `no-cache` and lifetimes in
    the client's own cache are kept.

    Expires is removed if there is a max-age (RFC 9111 5.3): caches that know only Expires do not
    know `private` either.
    """
    return _remembered(control) if len(control) <= REMEMBERED_BYTES else _made(control)


def _made(control: bytes) -> tuple[bytes, bool]:
    directives = _read(control)
    if directives is not None and b'"' not in control and _is_private(directives):
        return control, False
    kept = [each for name, each in directives or () if name not in _SHARED and name != b"private"]
    has_age = any(name == b"max-age" for name, _ in directives or ())
    return b", ".join([b"private", *kept]), has_age


# Applications send one of a few values; parsing one costs 4 microseconds.
_remembered = lru_cache(maxsize=1024)(_made)


def _is_private(directives: list[tuple[bytes, bytes]]) -> bool:
    names = {name for name, _ in directives}
    whole = any(each.lower() in (b"private", b"no-store") for _, each in directives)
    return whole and not names & _SHARED


def _read(value: bytes) -> list[tuple[bytes, bytes]] | None:
    """Names in lower case, with the original directives; None if they cannot be parsed."""
    found = []
    for part in _QUOTED.sub(b"", value).split(b","):
        directive = part.strip(OWS)
        match = _DIRECTIVE.fullmatch(directive)
        if match is not None:
            found.append((match[1].lower(), directive))
        elif directive:
            return None
    return found
