"""The ways in which servers may read one path, and paths that are always refused.

Knows only the bytes of a target; must not know rules, routes or users. The settings find paths here
that are of no use, by the function with which the gate reads those of requests.
"""

import re
from urllib.parse import unquote_to_bytes


class BadPath(Exception):
    """A target that is malformed or that servers read differently: 400."""


# Nothing to decode, no dot segment, parameter, backslash or empty segment: one reading.
_PLAIN = re.compile(
    rb"/(?:(?!\.{1,2}(?:/|\Z))[A-Za-z0-9\-._~!$&'()*+,=:@|^`\"<>{}\[\]]+(?:/|\Z))*", re.ASCII
)
# RFC 3986 allows no raw control byte, space, `#` or non-ASCII byte in a request target.
_RAW_BAD = re.compile(rb"[\x00-\x20\x7f-\xff#]")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Bytes that no reading may contain, and overlong UTF-8 of `.`, `/` and `\\`.
_NEVER = re.compile(
    rb"[\x00\r\n]|[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}"
)
_PARAMETERS = re.compile(rb";[^/]*")
_SLASHES = re.compile(rb"/{2,}")
_DOTS = (b".", b"..")

# What no request can contain raw; `_RAW_BAD` without `#`, which `_next_readings` cuts at.
_UNSENDABLE = re.compile(rb"[\x00-\x20\x7f-\xff]|%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")

# Decoded twice, each with five further readings. A path that has more is an attack.
_READINGS_LIMIT = 64
_DECODINGS = 2


def has_escapes(place: bytes) -> bool:
    """Whether requests are compared with the path or expression of a route, rule or token as
    `spell` writes them. Without escapes, they are compared as they are."""
    return _ESCAPE.search(place) is not None


def spell(path: bytes) -> bytes:
    """A path, or a reading of one, as browsers send it: with escapes in upper case (RFC 3986
    6.2.2.1), and bytes escaped that no request can contain raw."""
    return uppercase_escapes(_UNSENDABLE.sub(lambda found: b"%%%02X" % found[0][0], path))


def uppercase_escapes(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: found[0].upper(), text)


def check_target(target: bytes) -> None:
    """Raise BadPath for raw bytes that no request target may contain."""
    if _RAW_BAD.search(target):
        raise BadPath("the request target contains a raw byte that must be encoded")


def list_readings(path: bytes) -> frozenset[bytes]:
    """Every other reading of a raw path; empty if there is only one.

    Raises BadPath for a path that is refused whatever the rules say: an incomplete escape, NUL, CR
    or LF in any decoding, a dot segment in any spelling.
    """
    if _PLAIN.fullmatch(path):
        return frozenset()
    if not path.startswith(b"/"):
        raise BadPath("the path does not begin with a slash")
    if _BROKEN_ESCAPE.search(path):
        raise BadPath("the path contains a % without two hexadecimal digits")
    seen = _all_readings(path)
    for reading in seen:
        _refuse_hidden(reading)
    return frozenset(seen - {path})


def find_other_reading(path: bytes) -> bytes | None:
    """Another path, as some servers read this one; None if there is none. A route or rule for a
    path that has one is never used: it lacks the other reading, so its requests are refused.

    Raises BadPath, as `list_readings` does.
    """
    others = {spell(reading) for reading in list_readings(path)} - {spell(path)}
    # The shortest is decoded most often; `\\` as `/` does not shorten it.
    return min(others, key=lambda other: (len(other), other.count(b"\\"), other), default=None)


def _all_readings(path: bytes) -> set[bytes]:
    """All results of decoding (at most twice), `\\` as `/`, removing parameters, merging slashes,
    and cutting at a decoded `?` or `#`, in any order."""
    todo = [(path, 0)]
    seen = set(todo)
    while todo:
        reading, decodings = todo.pop()
        for following in _next_readings(reading, decodings):
            if following not in seen:
                seen.add(following)
                todo.append(following)
        if len(seen) > _READINGS_LIMIT:
            raise BadPath("the path can be read in too many ways")
    return {reading for reading, _ in seen}


def _next_readings(reading: bytes, decodings: int) -> list[tuple[bytes, int]]:
    following = [
        (reading.replace(b"\\", b"/"), decodings),
        (_PARAMETERS.sub(b"", reading), decodings),
        (_SLASHES.sub(b"/", reading), decodings),
        (reading.partition(b"?")[0], decodings),
        (reading.partition(b"#")[0], decodings),
    ]
    if decodings < _DECODINGS and b"%" in reading:
        following.append((unquote_to_bytes(reading), decodings + 1))
    return following


def _refuse_hidden(reading: bytes) -> None:
    if _NEVER.search(reading):
        raise BadPath("the path contains an encoded control byte or an overlong encoding")
    if any(segment in _DOTS for segment in reading.split(b"/")):
        raise BadPath("the path contains a dot segment")
