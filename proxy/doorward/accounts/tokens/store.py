"""What the core asks of storage about API tokens. It must not know how that is kept.

Every method raises StorageUnavailable. Where one takes an event, it is written down in the
transaction of the act itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.token import ApiToken, TokenDraft, TokenUse


class TokenStore(Protocol):
    async def insert_token(self, draft: TokenDraft, most: int, event: Event) -> ApiToken | None:
        """Keeps the draft, with its number. None, and nothing changed, when the user is gone, not
        usable or changed (`user.version`), or has `most` tokens that are not over.
        """

    async def by_id(self, public_id: str) -> ApiToken | None:
        """The token with this public id, ended ones included; one query."""

    async def renew_hash(self, number: int, old: bytes, new: bytes) -> None:
        """Replaces the hash of a token, unless it is another one by now."""

    async def end(self, number: int, now: float, by: str, event: Event) -> bool:
        """Whether it had not ended before; only then the event is written down."""

    async def end_all(self, user: int, now: float, by: str, event: Event) -> int:
        """How many of the user's tokens ended; the event is written down with their count."""

    async def list(
        self, user: int | None, now: float, before: int | None, limit: int
    ) -> Sequence[ApiToken]:
        """Tokens that are not over, of this user or of everybody, the newest first: numbers below
        `before`, at most so many."""

    async def count_unused(self, since: float, now: float) -> int:
        """Those that are not over, and were neither made nor used since then."""

    async def end_unused(self, since: float, now: float, by: str, event: Event) -> int:
        """How many of those ended, all at once; the event is written down with their count."""

    async def touch(self, used: Sequence[TokenUse]) -> None:
        """Notes where and when tokens were last used; never lowers a time."""

    async def purge(self, before: float, limit: int) -> int:
        """Forgets at most so many that were over by then; returns how many."""
