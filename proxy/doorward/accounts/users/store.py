"""What the core asks of storage about users. It must not know how that is kept.

Every method raises StorageUnavailable. Where one takes an event, it is written down in the
transaction of the act itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.session import Renewal
from doorward.accounts.user import Credential, NewPassword, NewUser, Seen, User


class UserStore(Protocol):
    """Methods that take a user raise UserNotFound when it is gone.

    A method that removes a right also ends or suspends sessions and writes to the feed, in one
    transaction with the event.
    """

    async def insert(self, new: NewUser, now: float, event: Event | None = None) -> User:
        """Raises NameTaken when a handle leads to another user."""

    async def insert_all(
        self, new: Sequence[NewUser], now: float, events: Sequence[Event] = ()
    ) -> Sequence[User]:
        """All of them or, with NameTaken, none."""

    async def edit(
        self,
        user: User,
        change: Callable[[User], tuple[User, Sequence[str]]],
        now: float,
        event: Event | None = None,
    ) -> User:
        """Keeps what `change` makes of the user as it is, and the handles that lead to it then, in
        one step. Raises NameTaken, and whatever `change` raises; then nothing has changed."""

    async def by_handle(self, key: str) -> Credential | None:
        """The database user with this normalised name or verified address."""

    async def by_name(self, source: str, key: str) -> User | None:
        """The row of the user of this source with this normalised name."""

    async def taken(self, handles: Iterable[str]) -> Sequence[str]:
        """Those of the handles that lead to a user of the database."""

    async def imported(self, ours: str) -> Sequence[tuple[str, str]]:
        """Each scheme in use but ours, with one hash of it."""

    async def claim(
        self,
        source: str,
        seen: Mapping[str, Seen],
        gone: Collection[str],
        now: float,
        event: Event | None = None,
        reloaded: Event | None = None,
    ) -> None:
        """Makes the missing rows of a directory, by normalised name. Ends the sessions of those
        whose password changed in its file, the event written down for each, and tells of those
        gone from it. `reloaded` is written down by the first process that read the file so."""

    async def set_password(
        self,
        user: User,
        new: NewPassword,
        *,
        must_change: bool,
        renewal: Renewal | None = None,
        now: float,
        event: Event | None = None,
        version: int | None = None,
    ) -> None:
        """Ends the user's sessions but the renewed one. Raises UserNotFound also for a user that is
        not of this version any more, SessionNotFound when the renewed session ended or was renewed
        meanwhile; then nothing has changed."""

    async def rehash(self, user: User, old: str, new: str, scheme: str) -> None:
        """The same password under another hash, unless it changed since; ends nothing."""

    async def set_banned(
        self, user: User, banned: bool, now: float, event: Event | None = None
    ) -> None:
        """Suspends or gives back the user's sessions."""

    async def set_active(
        self, user: User, active: bool, now: float, event: Event | None = None
    ) -> None:
        """Ends the user's sessions when no longer active."""

    async def delete(self, user: User, now: float, event: Event | None = None) -> None:
        """Takes the sessions along."""
