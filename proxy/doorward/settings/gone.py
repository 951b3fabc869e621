"""Knows which settings are accepted but have no effect yet. It must not check them. When a feature
is implemented, remove its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from doorward.settings.models import Settings


def list_unbuilt_keys(settings: Settings) -> tuple[str, ...]:
    """The given keys that have no effect yet, in the order of the file."""
    return tuple(key for find in _UNBUILT for key in find(settings))


_UNBUILT: tuple[Callable[[Settings], Iterator[str]], ...] = ()
