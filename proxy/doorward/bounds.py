"""Bounded dicts: the oldest entries are dropped for new ones.

Must not know what a dict contains.
"""

from typing import Any


def make_room(kept: dict[Any, Any], limit: int) -> None:
    """Remove the oldest entries, so that with one more there are at most `limit`."""
    while len(kept) >= limit:
        remove_oldest(kept)


def remove_oldest(kept: dict[Any, Any]) -> None:
    del kept[next(iter(kept))]
