"""Sessions: opened, found by their token, listed and ended. It decides when one is over.

It knows no cookie and no cache (`live.py` has that); storage keeps what this file hands it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from proxy.accounts import chance
from proxy.accounts.audit import Event, Kind, event
from proxy.accounts.directory import Directories
from proxy.accounts.refusals import InvalidCredentials, SessionNotFound
from proxy.accounts.tokens import Tokens
from proxy.accounts.user import User

FULL = "full"
PENDING = "pending"  # the second factor is due: it opens its own endpoint and logout
PENDING_S = 300.0  # from the password to the code

USER_AGENT_CHARACTERS = 512  # what is kept of it; browsers send about 120


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Who asked, as the gate saw it."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a session lives, in seconds; None is without end. Remembered ones may idle."""

    idle_timeout_s: float | None
    lifetime_s: float
    remember_lifetime_s: float
    max_lifetime_s: float | None

    def idle_s(self, remember: bool) -> float | None:
        return None if remember else self.idle_timeout_s

    def whole_s(self, remember: bool) -> float:
        life = self.remember_lifetime_s if remember else self.lifetime_s
        return life if self.max_lifetime_s is None else min(life, self.max_lifetime_s)


@dataclass(slots=True, eq=False)
class Session:
    """One login. Times are Unix seconds; `last_used_at` moves, hence not frozen.

    `derived` holds what a carrier computes once per session; storage never sees it.
    """

    number: int
    id: str
    user: User
    iat: int
    created_at: float
    last_used_at: float
    idle_timeout_s: float | None
    expires_at: float
    remember: bool
    address: str
    user_agent: str
    information: str
    kind: str
    level: str  # FULL or PENDING
    second_factor_at: float | None = None
    method: str = "password"
    trusted_until: float | None = None
    trusted_fingerprint: str | None = None
    ended_at: float | None = None
    derived: dict[object, object] = field(default_factory=dict)

    def ends_at(self) -> float:
        """When it is over unless it is used before. A pending one has the full one's end stored,
        which counts from the moment it is full."""
        if self.level != FULL:
            return min(self.expires_at, self.created_at + PENDING_S)
        if self.idle_timeout_s is None:
            return self.expires_at
        return min(self.expires_at, self.last_used_at + self.idle_timeout_s)

    def is_live(self, now: float) -> bool:
        """Neither ended nor past its end, its user usable. Asked at every use (CVE-2025-64708)."""
        return self.ended_at is None and now < self.ends_at() and self.user.is_usable


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session, and its token: the only time it is seen."""

    session: Session
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """`known`: storage has this token, though the session may be ended, expired or suspended."""

    session: Session | None
    known: bool


class Sessions:
    """All sessions. Every method raises StorageUnavailable when storage does not answer."""

    __slots__ = ("_directories", "_store", "_tokens")

    def __init__(self, store: SessionStore, directories: Directories, tokens: Tokens) -> None:
        self._store = store
        self._directories = directories
        self._tokens = tokens

    async def open(
        self,
        user: User,
        *,
        client: ClientInfo,
        kind: str,
        lifetimes: Lifetimes,
        remember: bool,
        now: float,
        level: str = FULL,
        method: str = "password",
        second_factor_at: float | None = None,
        information: str = "",
        replaces: Session | None = None,
    ) -> Opened:
        """A new session with a new token; `replaces` ends in the same transaction.

        Raises InvalidCredentials when the user was banned, disabled, deleted or given another
        password since it was read."""
        token = chance.session_token()
        draft = Session(
            number=0,
            id=chance.public_id(),
            user=user,
            iat=int(now),
            created_at=now,
            last_used_at=now,
            idle_timeout_s=lifetimes.idle_s(remember),
            expires_at=now + lifetimes.whole_s(remember),
            remember=remember,
            address=client.address,
            user_agent=client.user_agent[:USER_AGENT_CHARACTERS],
            information=information,
            kind=kind,
            level=level,
            method=method,
            second_factor_at=second_factor_at,
        )
        step = Kind.LOGIN if level == FULL else Kind.LOGIN_PENDING
        session = await self._store.insert(
            draft,
            self._tokens.digest(token),
            replaces=None if replaces is None else replaces.number,
            event=event(step, now, session=draft, actor=user, client=client, detail=kind),
            ending=None if replaces is None else _ending(replaces, now, "replaced"),
        )
        if session is None:
            raise InvalidCredentials("changed")
        return Opened(session, token)

    async def by_token(self, token: str, now: float) -> Found:
        """The live session with this bare token, of any level."""
        session = await self._store.by_digest(self._tokens.digest(token))
        if session is None:
            return Found(None, known=False)
        session.user = self._directories.complete(session.user)
        return Found(session if session.is_live(now) else None, known=True)

    async def rise(self, session: Session, method: str, client: ClientInfo, now: float) -> Opened:
        """The session, full and with a second factor as of now, under a new token; the old one is
        dead once this returns. Raises SessionNotFound when it ended, changed its level or token
        meanwhile, or its user changed."""
        token = chance.session_token()
        login = None
        if session.level != FULL:  # only now it is one
            login = event(Kind.LOGIN, now, session=session, client=client, detail=session.kind)
        risen = await self._store.rise(session, self._tokens.digest(token), method, now, login)
        if risen is None:
            raise SessionNotFound
        return Opened(risen, token)

    async def trust(
        self,
        session: Session,
        *,
        factor_at: float | None,
        until: float | None,
        fingerprint: str | None,
        now: float,
    ) -> None:
        """Notes when a second factor was given, and until when that counts for whom.

        Raises SessionNotFound when the session ended meanwhile."""
        if not await self._store.trust(session.number, factor_at, until, fingerprint, now):
            raise SessionNotFound
        session.second_factor_at = factor_at
        session.trusted_until, session.trusted_fingerprint = until, fingerprint

    async def end(
        self, session: Session, now: float, by: str = "logout", actor: User | None = None
    ) -> None:
        """Ends it; once this returns no worker of this host lets it through. Ended ones stay so.
        `actor` is who did it, when not its user."""
        await self._store.end(session.number, now, by, _ending(session, now, by, actor))

    async def end_all(
        self,
        user: User,
        now: float,
        but: Session | None = None,
        by: str = "logout",
        actor: User | None = None,
    ) -> int:
        """Ends every session of the user (`but` that one); returns how many."""
        kept = None if but is None else but.number
        ending = event(Kind.SESSIONS_ENDED, now, subject=user, actor=actor, session=but, detail=by)
        return await self._store.end_all(user.number, now, by, kept, ending)

    async def list(self, user: User, now: float) -> tuple[Session, ...]:
        """The user's sessions that are not over, newest first."""
        sessions = await self._store.list(user.number, now)
        for session in sessions:
            session.user = user
        return tuple(sessions)

    async def touch(self, used: Sequence[tuple[int, float]]) -> None:
        """Notes when sessions (by number) were last used."""
        await self._store.touch(used)


def _ending(session: Session, now: float, by: str, actor: User | None = None) -> Event:
    return event(Kind.SESSION_ENDED, now, session=session, actor=actor, detail=by)
