"""What an answer that is for one session says to caches.

The applications behind us do not know that they are protected: what they call public is not
(RFC 9111 3.5). Knows caching headers; must not know sessions or rules.
"""

import re
from functools import lru_cache

from doorward.http1.headers import OWS

# Longer values are read each time, so that what is remembered stays small.
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
    """Whether a header of this lower-case name speaks to shared caches alone."""
    return name in _TARGETED or name.endswith(_TARGETED_END)


def private_control(control: bytes) -> tuple[bytes, bool]:
    """An answer's Cache-Control, less what lets shared caches keep it, and whether its Expires
    goes; one that says so itself stands as it is. `no-store`, `no-cache` and lives in the client's
    own cache stand.

    Expires goes where max-age says the same (RFC 9111 5.3): caches that know Expires alone do not
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


# Applications say one of a few things; reading one costs 4 microseconds.
_remembered = lru_cache(maxsize=1024)(_made)


def _is_private(directives: list[tuple[bytes, bytes]]) -> bool:
    names = {name for name, _ in directives}
    whole = any(each.lower() in (b"private", b"no-store") for _, each in directives)
    return whole and not names & _SHARED


def _read(value: bytes) -> list[tuple[bytes, bytes]] | None:
    """Names in lower case, with the directives as they came; None when they cannot be read."""
    found = []
    for part in _QUOTED.sub(b"", value).split(b","):
        directive = part.strip(OWS)
        match = _DIRECTIVE.fullmatch(directive)
        if match is not None:
            found.append((match[1].lower(), directive))
        elif directive:
            return None
    return found
