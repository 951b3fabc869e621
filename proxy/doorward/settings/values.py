"""Knows how single values are written: durations, sizes, numbers, switches, words, text. It must
not know to which setting a value belongs; it returns the value or raises Wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from datetime import timedelta

from doorward.settings.faults import Wrong, make_printable
from doorward.text import has_hidden

OFF_WORDS = frozenset({"off", "none", "false", "no"})
_ON_WORDS = frozenset({"on", "true", "yes"})

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(
    r"(?:([0-9]{1,14})d)?(?:([0-9]{1,14})h)?(?:([0-9]{1,14})m)?"
    r"(?:([0-9]{1,14})s)?(?:([0-9]{1,14})ms)?"
)
# A thousand years. A longer duration is a typing error; dates overflow much later.
_LONGEST = timedelta(days=366_000)

_SIZES = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_SIZE = re.compile(r"([0-9]{1,18}) ?([A-Za-z]*)")


def quote(value: object) -> str:
    """Returns a value as messages show it. Never for secrets."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return make_printable(f"'{value}'" if isinstance(value, str) else str(value), limit=80)


def text(value: object) -> str:
    """Text; a plain number stands for its digits."""
    if isinstance(value, bool):
        raise Wrong("must be text", f'put {quote(value)} in quotes: "{quote(value)}"')
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise Wrong("must be text, not a list or a mapping")
    return value


def label(value: object) -> str:
    """Text for people: not empty, without control characters, without white space at the ends."""
    found = text(value)
    if not found or found != found.strip():
        raise Wrong("must be text that does not begin or end with white space")
    if has_hidden(found):
        raise Wrong("must not contain control characters")
    return found


def is_off(value: object) -> bool:
    return value is False or (isinstance(value, str) and value.lower() in OFF_WORDS)


def is_on(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() in _ON_WORDS)


def boolean(value: object) -> bool:
    """Returns true or false from `true on yes`, `false off no`."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word in _ON_WORDS or word in OFF_WORDS - {"none"}:
        return word in _ON_WORDS
    raise Wrong(f"{quote(value)} is neither true nor false")


def whole(minimum: int, maximum: int) -> Callable[[object], int]:
    """Returns a parser of whole numbers in these bounds."""

    def number(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,14}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(f"must be a whole number, not {quote(value)}")
        if not minimum <= value <= maximum:
            raise Wrong(f"{value} is out of bounds: {minimum} to {maximum}")
        return value

    return number


def choice(*words: str) -> Callable[[object], str]:
    """Returns a parser that takes one of these words."""

    def word(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        near = difflib.get_close_matches(str(value).lower(), words, n=1)
        hint = f"did you mean {near[0]}?" if near else None
        raise Wrong(f"{quote(value)} is not one of {', '.join(words)}", hint)

    return word


def duration(value: object) -> timedelta:
    """The length of `500ms`, `30s`, `5m`, `12h`, `30d` or `1h30m`; must be greater than zero."""
    found = duration_or_zero(value)
    if not found:
        raise Wrong("must be longer than zero")
    return found


def duration_or_zero(value: object) -> timedelta:
    if isinstance(value, int) and not isinstance(value, bool):
        raise Wrong(f"{value} lacks a unit", f"write {value}s, {value}m, {value}h or {value}d")
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise Wrong(f"{quote(value)} is not a duration", "write it as 30s, 5m, 12h, 30d or 1h30m")
    parts = zip(match.groups(), _UNITS_MS.values(), strict=True)
    total_ms = sum(int(count) * unit for count, unit in parts if count)
    if total_ms > _LONGEST / timedelta(milliseconds=1):
        raise Wrong(f"{quote(value)} is longer than a thousand years")
    return timedelta(milliseconds=total_ms)


def size(value: object) -> int:
    """Returns the bytes of `64KiB`, `1MiB` or a plain number; at least one."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(f"{quote(value)} is not a size", "write it as 64KiB, 1MiB or a number of bytes")
    count, unit = int(match[1]), match[2]
    if unit not in _SIZES:
        near = f"write {count}{unit[0].upper()}iB" if unit[0].upper() in "KMGT" else "write 64KiB"
        raise Wrong(f"{quote(unit)} is not a unit of size", near)
    if not count:
        raise Wrong("must be at least one byte")
    return count * _SIZES[unit]


def format_duration(value: timedelta) -> str:
    """The shortest spelling of a duration that parses to the same value."""
    rest = round(value / timedelta(milliseconds=1))
    if not rest:
        return "0s"
    unit = next(unit for unit, ms in _UNITS_MS.items() if not rest % ms)
    return f"{rest // _UNITS_MS[unit]}{unit}"


def format_size(value: int) -> str:
    """The shortest spelling of a size that parses to the same value."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if not value % _SIZES[unit]:
            return f"{value // _SIZES[unit]}{unit}"
    return str(value)
