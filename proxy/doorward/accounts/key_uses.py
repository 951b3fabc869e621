"""What still needs a key that is to be retired: secrets under it, and sessions and tokens from its
time.

Knows who has them; must not know where keys are stored, or which of them signs.
"""

from __future__ import annotations

from dataclasses import dataclass

from doorward.accounts.application_credentials import ApplicationCredentials
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.keys import Keys
from doorward.accounts.sessions.sessions import Sessions
from doorward.accounts.tokens.api_tokens import ApiTokens


@dataclass(frozen=True, slots=True)
class KeyNeeds:
    """`users`: those whose secrets no other key decrypts. `sessions`: how many have a cookie under
    the key; the last of them ends at `until` (Unix seconds). `tokens`: how many are hashed with
    it."""

    users: tuple[str, ...] = ()
    sessions: int = 0
    until: float = 0.0
    tokens: int = 0

    @property
    def is_any(self) -> bool:
        return bool(self.users or self.sessions or self.tokens)


class KeyUses:
    """Times are Unix seconds. Every method raises StorageUnavailable."""

    __slots__ = ("_credentials", "_factors", "_sessions", "_tokens")

    def __init__(
        self,
        sessions: Sessions,
        factors: SecondFactors,
        tokens: ApiTokens,
        credentials: ApplicationCredentials,
    ) -> None:
        self._credentials = credentials
        self._sessions = sessions
        self._factors = factors
        self._tokens = tokens

    async def find(self, rest: Keys, before: float, now: float) -> KeyNeeds:
        """What would be lost if only the `rest` of the keys existed. The key in question has signed
        nothing since `before`."""
        users = await self._factors.list_unreadable(rest)
        users += await self._credentials.list_unreadable(rest)
        opened = await self._sessions.count_opened(before, now)
        unused = await self._tokens.count_unused(before, now)
        return KeyNeeds(tuple(dict.fromkeys(users)), opened.count, opened.last_end, unused)

    async def end(self, before: float, now: float) -> None:
        """End the sessions and tokens that `find` counts."""
        await self._sessions.end_opened(before, now)
        await self._tokens.end_unused(before, now)
