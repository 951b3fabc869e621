"""Sessions: opened, found by their token, listed and ended. It decides when one is over.

It knows no cookie and no cache (`live.py` does); storage keeps the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import Event, Kind, build_event
from doorward.accounts.devices import recognise
from doorward.accounts.names import clip
from doorward.accounts.permissions import (
    END_SESSIONS,
    END_USERS_SESSIONS,
    OWNER,
    Actor,
    list_permissions,
    require,
    require_over,
)
from doorward.accounts.refusals import InvalidCredentials, SessionNotFound
from doorward.accounts.session import (
    CLOCKS_DIFFER_S,
    FULL,
    PENDING,
    PENDING_S,
    Authentication,
    ClientInfo,
    Found,
    Level,
    Lifetimes,
    NewSession,
    Opened,
    Renewal,
    Session,
)
from doorward.accounts.sessions.store import SessionStore
from doorward.accounts.sessions.tokens import Tokens
from doorward.accounts.user import User
from doorward.accounts.users.directory import Directories

__all__ = [
    "FULL",
    "PENDING",
    "PENDING_S",
    "Authentication",
    "ClientInfo",
    "Found",
    "Level",
    "Lifetimes",
    "NewSession",
    "Opened",
    "Renewal",
    "Session",
    "Sessions",
]

USER_AGENT_CHARACTERS = 512  # what is kept of it; browsers send about 120
KEPT_S = 30 * 86_400.0  # how long a session that is over can still be looked up
# How many of a user's sessions a page or an answer has at most, the newest. There are more only if
# `max_per_user` allows more.
LISTED = 500
PURGED_AT_ONCE = 500  # rows in one transaction: some ten milliseconds of SQLite's only writer


@dataclass(frozen=True, slots=True)
class Ended:
    """The number of ended sessions; `opened` is the one that continues, if it got a new token."""

    count: int
    opened: Opened | None


class Sessions:
    """All sessions. Every method raises StorageUnavailable when storage does not answer."""

    __slots__ = ("_directories", "_most", "_store", "_tokens")

    def __init__(
        self,
        store: SessionStore,
        directories: Directories,
        tokens: Tokens,
        most: int | None = None,
    ) -> None:
        """`most` is the maximum per user; one more ends the oldest."""
        self._store = store
        self._directories = directories
        self._tokens = tokens
        self._most = most

    async def open(
        self,
        user: User,
        new: NewSession,
        authentication: Authentication,
        *,
        client: ClientInfo,
        now: float,
        replaces: Session | None = None,
    ) -> Opened:
        """A new session with a new token; `replaces` ends in the same transaction.

        Raises InvalidCredentials if the user was banned, disabled, deleted or given another
        password since it was read.
        """
        token = randomness.session_token()
        draft = Session(
            number=0,
            id=randomness.public_id(),
            user=user,
            iat=int(now),
            created_at=now,
            last_used_at=now,
            idle_timeout_s=new.lifetimes.idle_s(new.remember),
            expires_at=now + new.lifetimes.whole_s(new.remember),
            remember=new.remember,
            address=client.address,
            user_agent=clip(client.user_agent, USER_AGENT_CHARACTERS),
            information=clip(new.information),
            kind=new.kind,
            level=authentication.level,
            method=authentication.method,
            second_factor_at=authentication.second_factor_at,
            proved_at=authentication.proved_at,
        )
        step = Kind.LOGIN if draft.level is FULL else Kind.LOGIN_PENDING
        session = await self._store.insert(
            draft,
            self._tokens.digest(token),
            replaces=None if replaces is None else replaces.number,
            most=self._most,
            event=build_event(step, now, session=draft, actor=user, client=client, detail=new.kind),
            ending=None if replaces is None else _build_ending(replaces, now, "replaced"),
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
        if session.last_used_at > now + CLOCKS_DIFFER_S and session.is_live(now):
            await self.correct(now)
            session.last_used_at = now
        if session.is_live(now):
            return Found(session, known=True)
        return Found(None, known=True, banned=session.is_suspended(now))

    async def rise(self, session: Session, method: str, client: ClientInfo, now: float) -> Opened:
        """The session, complete and with a second factor as of now, under a new token. The old
        token stops working at once, with every access token and refresh secret. Raises
        SessionNotFound if it ended or changed its level or token meanwhile, or its user changed."""
        token = randomness.session_token()
        login = None
        if session.level is not FULL:  # only now it is one
            login = build_event(
                Kind.LOGIN, now, session=session, client=client, detail=session.kind
            )
        digest = self._tokens.digest(token)
        risen = await self._store.rise(session, digest, method, now, login, self._most)
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
        renew: bool = False,
    ) -> Opened | None:
        """Records when a second factor was given, and how long and for which browser it counts; it
        also proves that the user is present. With `renew`, only the returned new token is trusted.

        Raises SessionNotFound if the session ended or was renewed meanwhile.
        """
        renewal = self.renewal(session) if renew else None
        number = session.number
        if not await self._store.trust(number, factor_at, until, fingerprint, now, renewal):
            raise SessionNotFound
        values = {
            "second_factor_at": factor_at,
            "proved_at": now,
            "trusted_until": until,
            "trusted_fingerprint": fingerprint,
        }
        return _apply(session, renewal, values)

    async def prove(self, session: Session, now: float, *, renew: bool = False) -> Opened | None:
        """Records that its user is present now. With `renew`, only the returned new token is
        trusted. Raises SessionNotFound if the session ended or was renewed meanwhile."""
        renewal = self.renewal(session) if renew else None
        if not await self._store.prove(session.number, now, renewal):
            raise SessionNotFound
        return _apply(session, renewal, {"proved_at": now})

    def renewal(self, session: Session) -> Renewal:
        """A new token for this session, to be written together with the change that requires it."""
        token = randomness.session_token()
        return Renewal(session, token, self._tokens.digest(token))

    async def end(
        self, session: Session, now: float, by: str = "logout", actor: User | None = None
    ) -> bool:
        """Ends it; once this returns, no worker of this host accepts it. Returns whether this call
        ended it: of several at the same time, one does. `actor` is who did it, if not its user."""
        return await self._store.end(
            session.number, now, by, _build_ending(session, now, by, actor)
        )

    async def end_all(
        self,
        user: User,
        now: float,
        but: Session | None = None,
        by: str = "logout",
        actor: User | None = None,
    ) -> int:
        """Ends every session of the user (except `but`); returns how many."""
        kept = None if but is None else but.number
        ending = build_event(
            Kind.SESSIONS_ENDED, now, subject=user, actor=actor, session=but, detail=by
        )
        return await self._store.end_all(user.number, now, by, kept, ending)

    async def end_others(self, session: Session, now: float, *, renew: bool) -> Ended:
        """Ends every other session of its user, and with `renew` every copy of this one's token.

        Raises SessionNotFound if this session ended or was renewed meanwhile.
        """
        user, renewal = session.user, self.renewal(session) if renew else None
        ending = build_event(
            Kind.SESSIONS_ENDED, now, subject=user, actor=user, session=session, detail="revoked"
        )
        count = await self._store.end_all(
            user.number, now, "revoked", session.number, ending, renewal
        )
        return Ended(count, None if renewal is None else renewal.opened())

    async def get(self, id: str) -> Session:
        """The session with this public id, over or not. Raises SessionNotFound."""
        session = await self._store.by_id(id) if randomness.is_public_id(id) else None
        if session is None:
            raise SessionNotFound
        session.user = self._directories.complete(session.user)
        return session

    async def revoke(self, id: str, *, actor: Actor, now: float) -> Session:
        """Ends the session with this public id for `actor`: an own one, or with the permission one
        of a user of lower rank. Ignores a session that has ended. Raises NotPermitted, and
        SessionNotFound, also for sessions that the actor must not learn of."""
        session = await self.get(id)
        if actor is OWNER:
            await self.end(session, now, actor.value)
        elif session.user.number == actor.number:
            await self.end(session, now, "revoked", actor)
        else:
            if END_SESSIONS not in list_permissions(actor):
                raise SessionNotFound
            require_over(actor, session.user)
            await self.end(session, now, actor.id, actor)
        return session

    async def revoke_all(self, user: User, *, actor: Actor, now: float) -> int:
        """Ends every session of the user for `actor`; returns how many. Raises NotPermitted."""
        if actor is OWNER:
            return await self.end_all(user, now, by=actor.value)
        if user.number == actor.number:
            return await self.end_all(user, now, None, "revoked", actor)
        require(actor, END_USERS_SESSIONS)
        require_over(actor, user)
        return await self.end_all(user, now, None, actor.id, actor)

    async def end_own(self, user: User, sessions: Sequence[Session], now: float) -> int:
        """Ends these of the user's own sessions in one step; returns how many it ended. Those of
        other users are ignored."""
        going = [s for s in sessions if s.ended_at is None and s.user.number == user.number]
        events = [_build_ending(session, now, "revoked") for session in going]
        return await self._store.end_many([s.number for s in going], now, "revoked", events)

    async def end_opened(self, before: float, now: float) -> int:
        """End the valid sessions of all users that were opened before that time, for the operator
        of the machine; returns how many."""
        by = OWNER.value
        ended = build_event(Kind.SESSIONS_ENDED, now, detail="key retired")
        return await self._store.end_opened(before, now, by, ended)

    async def correct(self, now: float) -> None:
        """Changes every last use in the future to now: a clock was ahead and has been corrected.
        Called at the start and regularly; otherwise a session would be idle for as long as the
        clock was ahead."""
        await self._store.correct(now + CLOCKS_DIFFER_S, now)

    async def purge(self, now: float) -> int:
        """Deletes sessions that have been over for KEPT_S; call again while it returns
        PURGED_AT_ONCE."""
        return await self._store.purge(now - KEPT_S, PURGED_AT_ONCE)

    async def list(self, user: User, now: float, most: int | None = None) -> tuple[Session, ...]:
        """The user's valid sessions, or the newest `most` of them, newest first."""
        sessions = await self._store.list(user.number, now, most)
        await recognise(session.user_agent for session in sessions)
        for session in sessions:
            session.user = user
        return tuple(sessions)

    async def touch(self, used: Sequence[tuple[int, float]]) -> None:
        """Records when sessions (by number) were last used."""
        await self._store.touch(used)


def _apply(
    session: Session, renewal: Renewal | None, values: Mapping[str, object]
) -> Opened | None:
    """The session as it is now. A renewed one is left alone: a client with the old token may be
    reading it."""
    if renewal is not None:
        return renewal.opened(**values)
    for name, value in values.items():
        setattr(session, name, value)
    return None


def _build_ending(session: Session, now: float, by: str, actor: User | None = None) -> Event:
    return build_event(Kind.SESSION_ENDED, now, session=session, actor=actor, detail=by)
