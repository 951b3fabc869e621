"""The simplest storage of API tokens: in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from doorward.accounts.audit.audit_log import Event, add_count
from doorward.accounts.token import ApiToken, TokenDraft, TokenUse

from tests.support.memory import MemorySessions


@dataclass
class MemoryTokens:
    """Implements TokenStore."""

    sessions: MemorySessions
    rows: dict[int, ApiToken] = field(default_factory=dict)

    async def insert_token(self, draft: TokenDraft, most: int, event: Event) -> ApiToken | None:
        user = self.sessions._now(draft.user)
        mine = await self.list(draft.user.number, draft.created_at, None, most)
        if user is None or user.version != draft.user.version or not user.is_usable:
            return None
        if len(mine) >= most:
            return None
        self.sessions.audit_log.keep(event)
        number = len(self.rows) + 1
        token = self.rows[number] = ApiToken(
            number,
            draft.id,
            draft.user,
            draft.name,
            draft.scope,
            draft.digest,
            draft.created_at,
            draft.expires_at,
        )
        return token

    async def by_id(self, public_id: str) -> ApiToken | None:
        row = next((token for token in self.rows.values() if token.id == public_id), None)
        user = None if row is None else self.sessions._now(row.user)
        return None if row is None or user is None else replace(row, user=user)

    async def renew_hash(self, number: int, old: bytes, new: bytes) -> None:
        if self.rows[number].digest == old:
            self.rows[number] = replace(self.rows[number], digest=new)

    def end_where(self, which: Callable[[ApiToken], bool], now: float, by: str) -> int:
        going = [token for token in self.rows.values() if token.ended_at is None and which(token)]
        for token in going:
            self.rows[token.number] = replace(token, ended_at=now, ended_by=by)
        return len(going)

    async def end(self, number: int, now: float, by: str, event: Event) -> bool:
        ended = self.end_where(lambda token: token.number == number, now, by) > 0
        self.sessions.audit_log.keep(event if ended else None)
        return ended

    async def end_all(self, user: int, now: float, by: str, event: Event) -> int:
        ended = self.end_where(lambda token: token.user.number == user, now, by)
        self.sessions.audit_log.keep(add_count(event, ended))
        return ended

    async def list(
        self, user: int | None, now: float, before: int | None, limit: int
    ) -> Sequence[ApiToken]:
        found = [
            token
            for number, token in sorted(self.rows.items(), reverse=True)
            if not token.is_over(now) and user in (None, token.user.number)
            if before is None or number < before
        ]
        return found[:limit]

    def is_unused(self, token: ApiToken, since: float, now: float) -> bool:
        used_at = max(token.created_at, token.last_used_at or 0.0)
        return not token.is_over(now) and used_at < since

    async def end_unused(self, since: float, now: float, by: str, event: Event) -> int:
        ended = self.end_where(lambda token: self.is_unused(token, since, now), now, by)
        self.sessions.audit_log.keep(add_count(event, ended))
        return ended

    async def touch(self, used: Sequence[TokenUse]) -> None:
        for use in used:
            token = self.rows[use.number]
            if use.at >= (token.last_used_at or 0.0):
                self.rows[use.number] = replace(
                    token, last_used_at=use.at, address=use.address, user_agent=use.user_agent
                )

    async def purge(self, before: float, limit: int) -> int:
        over = [n for n, t in self.rows.items() if t.is_over(before)]
        for number in over[:limit]:
            del self.rows[number]
        return len(over[:limit])
