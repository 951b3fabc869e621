"""The interface of the core to the storage of sessions. It must not know how they are stored.

Every method raises StorageUnavailable. An event is written in the transaction of the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.session import Renewal, Session


class SessionStore(Protocol):
    async def insert(
        self,
        draft: Session,
        digest: bytes,
        *,
        replaces: int | None = None,
        most: int | None = None,
        event: Event | None = None,
        ending: Event | None = None,
    ) -> Session | None:
        """Stores the draft with its number and the next free `iat`; ends `replaces` and the user's
        oldest sessions of the draft's level beyond `most`, in one transaction. `event` is written
        for the new one, `ending` for the ended ones.

        None, and nothing changed, if the user is gone, not usable or changed (`user.version`).
        """

    async def by_digest(self, digest: bytes) -> Session | None:
        """The session with this token, including ended ones; one query."""

    async def by_id(self, id: str) -> Session | None:
        """The session with this public id, including ended ones."""

    async def rise(
        self,
        session: Session,
        digest: bytes,
        method: str,
        now: float,
        event: Event | None = None,
        most: int | None = None,
    ) -> Session | None:
        """Completes the session, with this token and a second factor as of now. The old token is
        remembered but invalid, and so are the refresh secret and the access tokens. None, and
        nothing changed, if it ended, has another level, or its user is gone, not usable or
        changed."""

    async def trust(
        self,
        number: int,
        at: float | None,
        until: float | None,
        fingerprint: str | None,
        now: float,
        renewal: Renewal | None = None,
    ) -> bool:
        """Writes second_factor_at, the trust window, the proof of presence and the renewal; False
        if the session has ended. Raises SessionNotFound as renewals do."""

    async def prove(self, number: int, now: float, renewal: Renewal | None = None) -> bool:
        """Writes the proof of presence and the renewal; False if the session has ended. Raises
        SessionNotFound as renewals do."""

    async def end(self, number: int, now: float, by: str, event: Event | None = None) -> bool:
        """Whether it had not ended before; only then the event is written."""

    async def end_many(
        self, numbers: Sequence[int], now: float, by: str, events: Sequence[Event] = ()
    ) -> int:
        """How many had not ended before; all in one transaction, with their events."""

    async def end_all(
        self,
        user: int,
        now: float,
        by: str,
        but: int | None,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> int:
        """How many ended; the event is written with their number. Raises SessionNotFound if the
        renewed session ended or was renewed meanwhile; then nothing has changed."""

    async def list(self, user: int, now: float, most: int | None = None) -> Sequence[Session]:
        """Valid sessions, or the newest `most` of them, newest first."""

    async def end_opened(self, before: float, now: float, by: str, event: Event) -> int:
        """End the valid sessions that were opened before that time, in one transaction; returns
        how many. The event is written with their number."""

    async def purge(self, before: float, limit: int) -> int:
        """Deletes at most so many that were over by then; returns how many."""

    async def correct(self, most: float, now: float) -> None:
        """Sets the last use of every session that lies after `most` to now."""

    async def touch(self, used: Sequence[tuple[int, float]]) -> None:
        """When sessions (by number) were last used; lowers a stored time only if it is more than
        CLOCKS_DIFFER_S ahead."""
