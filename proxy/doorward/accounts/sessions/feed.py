"""The interface to the revocation feed: which sessions and users changed since a number.

It knows neither the file nor the table behind it; `doorward.storage.feed` implements it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class News:
    """What changed up to `number`. With `everything`, older entries are gone: the whole cache must
    be dropped. With `more`, newer entries are left for the next call."""

    number: int
    sessions: frozenset[int] = frozenset()
    users: frozenset[int] = frozenset()
    everything: bool = False
    more: bool = False


class Feed(Protocol):
    def marker(self) -> bytes:
        """Bytes that differ after every change on this host; empty if unknown."""

    def check_file(self) -> None:
        """Called once a second: notices that the marker file is missing or was replaced."""

    async def heard(self) -> None:
        """Returns when another host may have changed something; never, if there are no
        notifications.

        Raises StorageUnavailable.
        """

    async def head(self) -> int:
        """The number of the newest entry. Raises StorageUnavailable."""

    async def news(self, after: int) -> News:
        """The next entries with a number above `after`, at most so many that applying them holds up
        no request for long. Raises StorageUnavailable."""

    def write_fault(self) -> str | None:
        """Why the last write failed, if none has succeeded since."""

    async def try_writing(self) -> None:
        """Write something that changes nothing, to check whether it succeeds.

        Raises StorageUnavailable.
        """
