"""Knows which settings are accepted although nothing obeys them yet.
It must not judge them; each feature that is built takes its line out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from doorward.settings.models import Settings


def list_unbuilt_keys(settings: Settings) -> tuple[str, ...]:
    """Returns the keys that were given and have no effect yet, in the file's order."""
    return tuple(key for find in _UNBUILT for key in find(settings))


_UNBUILT: tuple[Callable[[Settings], Iterator[str]], ...] = ()
