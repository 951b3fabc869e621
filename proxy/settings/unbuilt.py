"""Knows which settings are accepted although nothing obeys them yet.
It must not judge them; each feature that is built takes its line out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from proxy.settings.models import Settings


def unbuilt_keys(settings: Settings) -> tuple[str, ...]:
    """Returns the keys that were given and have no effect yet, in the file's order."""
    return tuple(key for find in _UNBUILT for key in find(settings))


def _simple(key: str, given: Callable[[Settings], bool]) -> Callable[[Settings], Iterator[str]]:
    def find(settings: Settings) -> Iterator[str]:
        if given(settings):
            yield key

    return find


def _routes(settings: Settings) -> Iterator[str]:
    for number, route in enumerate(settings.routes):
        if len(route.upstream) > 1:
            yield f"routes[{number}].upstream (more than one)"


_UNBUILT: tuple[Callable[[Settings], Iterator[str]], ...] = (
    _routes,
    _simple("limits.body_bytes", lambda s: s.limits.body_bytes is not None),
)
