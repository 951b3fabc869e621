"""Parses the scope of a token as people type it: routes, methods, networks.

Knows the notation of each, which is that of the configuration. Must not match them against
requests; the gate does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from doorward.accounts.names import display
from doorward.accounts.refusals import InvalidToken
from doorward.accounts.session import TokenScope
from doorward.path_readings import find_other_reading
from doorward.settings import addresses, patterns
from doorward.settings.faults import Wrong
from doorward.settings.values import quote
from doorward.text import is_clean

MOST_ENTRIES = 32  # entries of each kind


def check_name(name: str) -> str:
    """The unchanged name. Raises InvalidToken."""
    if not is_clean(name):
        raise InvalidToken(
            "The name of a token has 1 to 190 characters, no control characters and no space at"
            " its edges.",
            "name",
        )
    return name


def check_scope(scope: TokenScope) -> TokenScope:
    """The scope with each entry in the form in which it is compared. Raises InvalidToken."""
    if scope.admin is not None and scope.routes:
        raise InvalidToken("An admin scope opens no routes: leave them out.", "route")
    return TokenScope(
        _each("route", scope.routes, parse_route),
        _each("method", scope.methods, patterns.method),
        _each("network", scope.networks, lambda text: str(addresses.network(text))),
        scope.admin,
    )


def parse_route(text: str) -> str:
    """A path, or host and path: `/wiki` or `wiki.example.com/public`. Raises Wrong."""
    host, slash, path = text.partition("/")
    if not slash:
        raise Wrong(f"{quote(text)} has no path", "write it as /wiki or wiki.example.com/public")
    found = patterns.route_path(slash + path)
    if other := find_other_reading(found.encode()):
        message = f"{quote(found)} can also be read as {quote(other.decode())}"
        raise Wrong(message, f"write it as {other.decode()}")
    return (addresses.host_pattern(host) if host else "") + found


def _each(kind: str, entries: Sequence[str], read: Callable[[str], str]) -> tuple[str, ...]:
    if len(entries) > MOST_ENTRIES:
        raise InvalidToken(f"A token has at most {MOST_ENTRIES} entries of the kind {kind}.", kind)
    return tuple(dict.fromkeys(_read(kind, entry, read) for entry in entries))


def _read(kind: str, entry: str, read: Callable[[str], str]) -> str:
    try:
        return read(entry)
    except Wrong as wrong:
        hint = "" if wrong.hint is None else f" ({wrong.hint})"
        raise InvalidToken(f"{kind} {display(entry)}: {wrong.message}{hint}.", kind) from None
