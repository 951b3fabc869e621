"""Knows how to remove invalid values from plain data and still report the original places of the
others. It must not know what is invalid, or why."""

from __future__ import annotations

from typing import Any

from doorward.settings.faults import KeyPath


class _Items(list[Any]):
    """A list that remembers the original position of each item after others are removed."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(items)
        self.origins = list(range(len(items)))


class Sieve:
    """Holds `data` without the removed values."""

    def __init__(self, data: Any) -> None:
        self.data = _remembering(data)

    def original(self, path: KeyPath) -> KeyPath:
        """The original place of a place in the current data."""
        at: Any = self.data
        found: list[str | int] = []
        for part in path:
            at_first = part
            if isinstance(at, _Items) and isinstance(part, int) and part < len(at):
                at_first = at.origins[part]
            found.append(at_first)
            at = _inner(at, part)
        return tuple(found)

    def take_out(self, places: list[tuple[KeyPath, bool]]) -> bool:
        """Remove the values at these places, each with whether the error is a missing key: then the
        section without it is removed. Returns whether anything was removed."""
        holders = [path[:-1] if missing else path for path, missing in places]
        # Backwards, so that the positions of the remaining places do not change.
        ordered = sorted({self._existing(path) for path in holders}, key=_depth_first, reverse=True)
        return any([self._take(path) for path in ordered if path])

    def _existing(self, path: KeyPath) -> KeyPath:
        at: Any = self.data
        for steps, part in enumerate(path):
            at = _inner(at, part)
            if at is _NOTHING:
                return path[:steps]
        return path

    def _take(self, path: KeyPath) -> bool:
        holder: Any = self.data
        for part in path[:-1]:
            holder = _inner(holder, part)
        if _inner(holder, path[-1]) is _NOTHING:
            return False
        if isinstance(holder, _Items):
            del holder.origins[int(path[-1])]
        del holder[path[-1]]
        return True


_NOTHING = object()


def _inner(at: Any, part: str | int) -> Any:
    if isinstance(at, dict):
        return at.get(part, _NOTHING)
    if isinstance(at, list) and isinstance(part, int) and part < len(at):
        return at[part]
    return _NOTHING


def _remembering(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _remembering(inner) for key, inner in value.items()}
    return _Items([_remembering(inner) for inner in value]) if isinstance(value, list) else value


def _depth_first(path: KeyPath) -> tuple[tuple[int, str], ...]:
    return tuple((part, "") if isinstance(part, int) else (-1, part) for part in path)
