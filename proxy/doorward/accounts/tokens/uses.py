"""Where and when tokens were last used, kept in memory until the next write.

Knows numbers of tokens; must not know whether a use was allowed.
"""

from __future__ import annotations

from typing import Protocol

from doorward.accounts.names import clip
from doorward.accounts.session import Session
from doorward.accounts.sessions.sessions import USER_AGENT_CHARACTERS
from doorward.accounts.token import TokenUse
from doorward.accounts.tokens.api_tokens import KIND, ApiTokens


class UsingClient(Protocol):
    @property
    def user_agent(self) -> str: ...


class UsingRequest(Protocol):
    """The parts of a request that are read when its use is written."""

    @property
    def address_text(self) -> str: ...

    @property
    def client(self) -> UsingClient: ...


class TokenUses:
    """The last use of each token since the last write."""

    __slots__ = ("_tokens", "_used")

    def __init__(self, tokens: ApiTokens) -> None:
        self._tokens = tokens
        self._used: dict[int, tuple[float, UsingRequest]] = {}

    def note(self, session: Session, request: UsingRequest, now: float) -> None:
        """Record a use of the token that this session represents, if any. Called for every
        request."""
        if session.kind == KIND:
            self._used[session.number] = (now, request)

    async def flush(self) -> None:
        """Write them in one batch. Raises StorageUnavailable; then they are written with the next
        batch."""
        used, self._used = self._used, {}
        try:
            await self._tokens.touch([_read(number, *use) for number, use in used.items()])
        except BaseException:
            self._used = used | self._used
            raise


def _read(number: int, at: float, request: UsingRequest) -> TokenUse:
    user_agent = clip(request.client.user_agent, USER_AGENT_CHARACTERS)
    return TokenUse(-number, at, request.address_text, user_agent)
