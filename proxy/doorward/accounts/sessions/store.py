"""What the core asks of storage about sessions. It must not know how that is kept.

Every method raises StorageUnavailable. Where one takes an event, it is written down in the
transaction of the act itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.session import Renewal, Session


@dataclass(frozen=True, slots=True)
class OpenedBefore:
    """How many sessions, and when the last is over even if it is used until then; 0 for none."""

    count: int
    last_end: float


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
        """Keeps the draft, with its number and the next free `iat`, ends `replaces` and the user's
        oldest of the draft's level beyond `most`, at once. `event` is written down with the one,
        `ending` with the other.

        None, and nothing changed, when the user is gone, not usable or changed (`user.version`)."""

    async def by_digest(self, digest: bytes) -> Session | None:
        """The session with this token, ended ones included; one query."""

    async def by_id(self, id: str) -> Session | None:
        """The session with this public id, ended ones included."""

    async def rise(
        self,
        session: Session,
        digest: bytes,
        method: str,
        now: float,
        event: Event | None = None,
        most: int | None = None,
    ) -> Session | None:
        """The session full, with this token and a second factor as of now; the old token is known
        and dead, the refresh secret and the access tokens are void. None, and nothing changed, when
        it ended, is of another level than given, or its user is gone, not usable or changed."""

    async def trust(
        self,
        number: int,
        at: float | None,
        until: float | None,
        fingerprint: str | None,
        now: float,
        renewal: Renewal | None = None,
    ) -> bool:
        """Writes second_factor_at and the trust window, that the user proved to be there now, and
        the renewal; False when the session has ended. Raises SessionNotFound as renewals do."""

    async def prove(self, number: int, now: float, renewal: Renewal | None = None) -> bool:
        """The user proved to be there now, in the renewed session; False when the session has
        ended. Raises SessionNotFound as renewals do."""

    async def end(self, number: int, now: float, by: str, event: Event | None = None) -> bool:
        """Whether it had not ended before; only then the event is written down."""

    async def end_many(
        self, numbers: Sequence[int], now: float, by: str, events: Sequence[Event] = ()
    ) -> int:
        """How many had not ended before; all at once, the events written down as they are."""

    async def end_all(
        self,
        user: int,
        now: float,
        by: str,
        but: int | None,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> int:
        """How many ended; the event is written down with their count. Raises SessionNotFound when
        the renewed session ended or was renewed meanwhile; then nothing has changed."""

    async def list(self, user: int, now: float) -> Sequence[Session]:
        """Those neither ended nor past their end, newest first."""

    async def count_opened(self, before: float, now: float) -> OpenedBefore:
        """Those opened before then that are neither ended nor past their end."""

    async def end_opened(self, before: float, now: float, by: str, event: Event) -> int:
        """How many of those ended, all at once; the event is written down with their count."""

    async def purge(self, before: float, limit: int) -> int:
        """Forgets at most so many that were over by then; returns how many."""

    async def correct(self, most: float, now: float) -> None:
        """Every session that was last used after `most` was last used now."""

    async def touch(self, used: Sequence[tuple[int, float]]) -> None:
        """Session numbers and when they were last used; lowers a stored time only where it is more
        than CLOCKS_DIFFER_S ahead."""
