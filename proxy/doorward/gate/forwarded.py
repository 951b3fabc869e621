"""The hops of a request that trusted proxies list in `Forwarded` (RFC 7239).

Knows its syntax and how to walk the chain; must not know which peers are trusted, or what the
result is used for.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# RFC 7239 4. Bare addresses with a port or brackets are common, although they should be quoted.
_PAIR = re.compile(
    rb"""([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:([!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]]+)"""
    rb"""|"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)")"""
)
_SPACE = re.compile(rb"[ \t]*")
# For all lines together. Four proxies in a row are already many.
HOPS = 64
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class BadForwarded(Exception):
    """The header is malformed. None of it can be trusted: a fault on the left could swallow what a
    trusted proxy wrote on the right."""


@dataclass(frozen=True, slots=True)
class ForwardedElement:
    """One proxy's description of the request that it received."""

    source: bytes | None = None  # `for`
    proto: bytes | None = None
    host: bytes | None = None


def read_forwarded(lines: Sequence[bytes]) -> list[ForwardedElement]:
    """The hops, the client's first. Raises BadForwarded, also for more than HOPS."""
    hops: list[ForwardedElement] = []
    for line in lines:
        _read_line(line, hops)
    return hops


def _read_line(line: bytes, hops: list[ForwardedElement]) -> None:
    """Reads every byte once: each match starts where the previous one ended."""
    pairs: dict[bytes, bytes] = {}
    at = 0
    while at < len(line):
        at = _past_space(line, at)
        if (match := _PAIR.match(line, at)) is not None:
            name = match[1].lower()
            if name in pairs:
                raise BadForwarded(f"{name.decode()} twice")
            pairs[name] = match[2] if match[3] is None else _ESCAPED.sub(rb"\1", match[3])
            at = _past_space(line, match.end())
        end = line[at : at + 1]
        if end not in (b"", b",", b";"):
            raise BadForwarded("neither a pair nor a separator")
        if end != b";" and pairs:
            _add(pairs, hops)
            pairs = {}
        at += 1
    if pairs:
        _add(pairs, hops)


def _past_space(line: bytes, at: int) -> int:
    space = _SPACE.match(line, at)
    assert space is not None  # elements can be empty
    return space.end()


def _add(pairs: dict[bytes, bytes], hops: list[ForwardedElement]) -> None:
    if len(hops) >= HOPS:
        raise BadForwarded(f"more than {HOPS} hops")
    hops.append(ForwardedElement(pairs.get(b"for"), pairs.get(b"proto"), pairs.get(b"host")))


def select_trusted(
    hops: list[ForwardedElement], is_trusted: Callable[[bytes], bool]
) -> list[ForwardedElement]:
    """The hops that trusted proxies wrote: read from the right, up to the first that a proxy
    received from an untrusted peer (RFC 7239 5.2)."""
    for at in reversed(range(len(hops))):
        source = hops[at].source
        if source is None or not is_trusted(source):
            return hops[at:]
    return hops


def find_first(values: list[bytes | None]) -> bytes | None:
    """The value from the outermost hop; inner hops only describe requests from another proxy."""
    return next((value for value in values if value is not None), None)
