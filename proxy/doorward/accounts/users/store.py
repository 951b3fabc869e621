"""The core's interface to stored users. Must not know how they are stored.

Every method raises StorageUnavailable. If a method takes an event, it is written in the same
transaction as the change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.session import Renewal
from doorward.accounts.user import Credential, NewPassword, NewUser, Seen, User


class UserStore(Protocol):
    """Methods that take a user raise UserNotFound if it no longer exists.

    A method that removes a right also ends or suspends sessions and writes to the feed, in one
    transaction with the event.
    """

    async def insert(self, new: NewUser, now: float, event: Event | None = None) -> User:
        """Raises NameTaken if a handle belongs to another user."""

    async def insert_all(
        self, new: Sequence[NewUser], now: float, events: Sequence[Event] = ()
    ) -> Sequence[User]:
        """Insert all of them or, with NameTaken, none."""

    async def edit(
        self,
        user: User,
        change: Callable[[User], tuple[User, Sequence[str]]],
        now: float,
        event: Event | None = None,
    ) -> User:
        """Apply `change` to the current user and store the result with its handles, in one
        transaction. If it raises NameTaken or an exception of `change`, nothing has changed."""

    async def by_handle(self, key: str) -> Credential | None:
        """The database user with this normalised name or verified address."""

    async def by_name(self, source: str, key: str) -> User | None:
        """The row of the user of this source with this normalised name."""

    async def taken(self, handles: Iterable[str]) -> Sequence[str]:
        """The handles that already belong to a user of the database."""

    async def imported(self, ours: str) -> Sequence[tuple[str, str]]:
        """Each scheme in use other than `ours`, with one hash of it."""

    async def claim(
        self,
        source: str,
        seen: Mapping[str, Seen],
        gone: Collection[str],
        now: float,
        event: Event | None = None,
        reloaded: Event | None = None,
    ) -> None:
        """Create the missing rows of a directory, by normalised name. Ends the sessions of users
        whose password changed in its file, with the event for each, and announces those removed
        from it. The first process that read this version of the file writes `reloaded`."""

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
        """End the user's sessions except the renewed one. Raises UserNotFound also if the user's
        version has changed, and SessionNotFound if the renewed session has ended or was renewed in
        the meantime; then nothing has changed."""

    async def rehash(self, user: User, old: str, new: str, scheme: str) -> None:
        """Replace the hash of the same password, unless it was changed; ends no session."""

    async def set_banned(
        self, user: User, banned: bool, now: float, event: Event | None = None
    ) -> None:
        """Suspend the user's sessions, or restore them."""

    async def set_active(
        self, user: User, active: bool, now: float, event: Event | None = None
    ) -> None:
        """End the user's sessions if the user is no longer active."""

    async def delete(self, user: User, now: float, event: Event | None = None) -> None:
        """Delete the user with all sessions."""
