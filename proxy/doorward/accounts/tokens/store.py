"""The core's interface to stored API tokens. Must not know how they are stored.

Every method raises StorageUnavailable. If a method takes an event, it is written in the same
transaction as the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.token import ApiToken, TokenDraft, TokenUse


class TokenStore(Protocol):
    async def insert_token(self, draft: TokenDraft, most: int, event: Event) -> ApiToken | None:
        """Store the draft; returns it with its number. None, and nothing changed, if the user is
        gone, not usable or changed (`user.version`), or has `most` valid tokens.
        """

    async def by_id(self, public_id: str) -> ApiToken | None:
        """The token with this public id, ended ones included; one query."""

    async def renew_hash(self, number: int, old: bytes, new: bytes) -> None:
        """Replace the hash of a token, unless it has changed since."""

    async def end(self, number: int, now: float, by: str, event: Event) -> bool:
        """Whether it had not ended before; only then is the event written."""

    async def end_all(self, user: int, now: float, by: str, event: Event) -> int:
        """End the user's tokens; returns how many. The event is written with their number."""

    async def list(
        self, user: int | None, now: float, before: int | None, limit: int
    ) -> Sequence[ApiToken]:
        """Valid tokens of this user or of all users, the newest first, with numbers below `before`,
        at most so many."""

    async def end_unused(self, since: float, now: float, by: str, event: Event) -> int:
        """End the valid tokens that were neither created nor used since then, in one transaction;
        returns how many. The event is written with their number."""

    async def touch(self, used: Sequence[TokenUse]) -> None:
        """Record where and when tokens were last used; never lowers a time."""

    async def purge(self, before: float, limit: int) -> int:
        """Delete at most so many that had ended by then; returns how many."""
