"""Makes, finds, lists and ends API tokens.

Decides whose a token is, when it ends, and who may end it. Must not know headers or rules:
`doorward.gate` applies a token's scope.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import REFUSED, AuditLog, Event, Kind, build_event
from doorward.accounts.devices import recognise
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.keys import Keys
from doorward.accounts.names import parse_handle
from doorward.accounts.passwords.regulation import NETWORK, Regulation
from doorward.accounts.permissions import (
    END_SESSIONS,
    END_USERS_SESSIONS,
    OWNER,
    Actor,
    is_admin,
    list_permissions,
    require,
    require_over,
)
from doorward.accounts.refusals import InvalidToken, NotPermitted, TokenNotFound
from doorward.accounts.session import TOKEN, ClientInfo, Found, Session
from doorward.accounts.token import ApiToken, MadeToken, NewToken, TokenDraft, TokenUse
from doorward.accounts.tokens.form import TokenHashes, TokenText, new_text, read_text
from doorward.accounts.tokens.scopes import check_name, check_scope
from doorward.accounts.tokens.store import TokenStore
from doorward.accounts.user import User
from doorward.accounts.users.directory import Directories

MOST_PER_USER = 100
KEPT_S = 30 * 86_400.0  # how long an ended token can still be looked up
PURGED_AT_ONCE = 500
PAGE = 200  # rows per read of a whole list
KIND = "token"  # of the session that represents a token in memory


class ApiTokens:
    """All API tokens. Every method raises StorageUnavailable if storage does not answer."""

    __slots__ = ("_audit_log", "_directories", "_factors", "_hashes", "_regulation", "_store")

    def __init__(
        self,
        store: TokenStore,
        directories: Directories,
        factors: SecondFactors,
        regulation: Regulation,
        audit_log: AuditLog,
        keys: Keys,
    ) -> None:
        self._store = store
        self._directories = directories
        self._factors = factors
        self._regulation = regulation
        self._audit_log = audit_log
        self._hashes = TokenHashes(keys)

    async def add_token(self, user: User, new: NewToken, *, actor: Actor, now: float) -> MadeToken:
        """A new token for this user, made by the operator of the machine; nobody else can act for
        another user. Raises NotPermitted, InvalidToken."""
        if actor is not OWNER:
            raise NotPermitted
        return await self._mint(user, new, now, build_event(Kind.TOKEN_ADDED, now, subject=user))

    async def make_token(self, session: Session, new: NewToken, *, now: float) -> MadeToken:
        """A new token for the session's user, who has just proved to be present, because the token
        needs no second factor. Raises ProofRequired, SessionNotFound, InvalidToken."""
        await self._factors.require_proof(session, now)
        return await self._mint(
            session.user, new, now, build_event(Kind.TOKEN_ADDED, now, session=session)
        )

    async def _mint(self, user: User, new: NewToken, now: float, added: Event) -> MadeToken:
        if new.scope.admin is not None and not is_admin(user):
            raise InvalidToken("Only administrators can have a token with an admin scope.", "admin")
        if new.life_s is not None and not 0 < new.life_s < math.inf:
            raise InvalidToken("A token expires in the future, or never.", "expiry")
        text = new_text()
        draft = TokenDraft(
            text.id,
            user,
            check_name(new.name),
            check_scope(new.scope),
            self._hashes.make(text),
            now,
            None if new.life_s is None else now + new.life_s,
        )
        token = await self._store.insert_token(draft, MOST_PER_USER, _name_token(added, text.id))
        if token is None:
            raise InvalidToken(
                f"No token was made: the user has {MOST_PER_USER} already, or has just changed.",
                "most",
            )
        return MadeToken(token, str(text))

    async def find(self, value: bytes, name: bytes | None, client: ClientInfo, now: float) -> Found:
        """The session that represents this token. `name` is the name sent with it in Basic: a name
        or verified address of the token's user. A wrong token counts as a failure of its network.

        Raises LockedOut for a wrong token if there were too many wrong tokens or passwords from
        there. A right token is never locked out."""
        text = read_text(value)
        token = None if text is None else await self._store.by_id(text.id)
        if text is None or token is None or not self._hashes.matches(text, token.digest):
            await self._count_failure(None, client, now)
            return Found(None, known=False)
        user = self._directories.complete(token.user)
        if name is not None and not _is_name(name, user):
            await self._count_failure(user, client, now)
            return Found(None, known=False)
        await self._renew_hash(token, text)
        session = build_session(token, user)
        if token.ended_at is None and session.is_live(now):
            return Found(session, known=True)
        suspended = token.ended_at is None and session.is_suspended(now)
        return Found(None, known=True, banned=suspended)

    async def _count_failure(self, user: User | None, client: ClientInfo, now: float) -> None:
        locks = await self._regulation.count_network(client.address, now)
        failed = build_event(Kind.TOKEN_FAILED, now, subject=user, client=client, outcome=REFUSED)
        await self._audit_log.record(failed)
        if locks:
            locked = build_event(
                Kind.LOCKED_OUT, now, client=client, outcome=REFUSED, detail=NETWORK
            )
            await self._audit_log.record(locked)

    async def _renew_hash(self, token: ApiToken, text: TokenText) -> None:
        """Hash it again with the first key, so that an older key can be retired once every token
        was used."""
        fresh = self._hashes.make(text)
        if fresh != token.digest:
            await self._store.renew_hash(token.number, token.digest, fresh)

    async def get(self, public_id: str) -> ApiToken:
        """The token with this public id, ended or not. Raises TokenNotFound."""
        found = await self._store.by_id(public_id) if randomness.is_public_id(public_id) else None
        if found is None:
            raise TokenNotFound
        return self._complete(found)

    async def list(self, user: User, now: float) -> tuple[ApiToken, ...]:
        """The user's valid tokens, the newest first."""
        found = await self._store.list(user.number, now, None, MOST_PER_USER)
        await recognise(token.user_agent for token in found)
        return tuple(map(self._complete, found))

    async def page(
        self, actor: User, before: int | None, limit: int, now: float
    ) -> Sequence[ApiToken]:
        """All users' valid tokens, the newest first, with numbers below `before`. Raises
        NotPermitted."""
        if not is_admin(actor):
            raise NotPermitted
        found = await self._store.list(None, now, before, limit)
        await recognise(token.user_agent for token in found)
        return [self._complete(token) for token in found]

    async def every(self, now: float) -> AsyncIterator[ApiToken]:
        """All valid tokens, read in pages. The caller has checked permissions."""
        before = None
        while found := await self._store.list(None, now, before, PAGE):
            for token in found:
                yield self._complete(token)
            before = found[-1].number

    async def revoke(self, public_id: str, *, actor: Actor, now: float) -> ApiToken:
        """End the token for `actor`: the actor's own or, with the permission, one of a user of
        lower rank. Once this returns, no worker of this host accepts it. Raises NotPermitted, and
        TokenNotFound, also for tokens that the actor must not learn of."""
        token = await self.get(public_id)
        if actor is OWNER:
            await self._end_one(token, now, actor.value)
        elif token.user.number == actor.number:
            await self._end_one(token, now, "revoked", actor)
        else:
            if END_SESSIONS not in list_permissions(actor):
                raise TokenNotFound
            require_over(actor, token.user)
            await self._end_one(token, now, actor.id, actor)
        return token

    async def _end_one(
        self, token: ApiToken, now: float, by: str, actor: User | None = None
    ) -> None:
        ended = build_event(Kind.TOKEN_ENDED, now, subject=token.user, actor=actor)
        await self._store.end(token.number, now, by, _name_token(ended, token.id))

    async def revoke_all(self, user: User, *, actor: Actor, now: float) -> int:
        """End every token of the user for `actor`; returns how many. Raises NotPermitted."""
        by, acting = "revoked", None if actor is OWNER else actor
        if actor is OWNER:
            by = actor.value
        elif user.number != actor.number:
            require(actor, END_USERS_SESSIONS)
            require_over(actor, user)
            by = actor.id
        ended = build_event(Kind.TOKENS_ENDED, now, subject=user, actor=acting)
        return await self._store.end_all(user.number, now, by, ended)

    async def end_unused(self, since: float, now: float) -> int:
        """End the valid tokens of all users that were neither created nor used since then, for the
        operator of the machine; returns how many."""
        ended = build_event(Kind.TOKENS_ENDED, now, detail="key retired")
        return await self._store.end_unused(since, now, OWNER.value, ended)

    async def touch(self, used: Sequence[TokenUse]) -> None:
        """Record where and when tokens were last used."""
        if used:
            await self._store.touch(used)

    async def purge(self, now: float) -> int:
        """Delete tokens that ended more than KEPT_S ago; call again while it returns
        PURGED_AT_ONCE."""
        return await self._store.purge(now - KEPT_S, PURGED_AT_ONCE)

    def _complete(self, token: ApiToken) -> ApiToken:
        return replace(token, user=self._directories.complete(token.user))


def build_session(token: ApiToken, user: User) -> Session:
    """The session that represents a token in memory: found, used and ended like other sessions,
    with a level that opens no page. Its number is the negative of the token's number, so that no
    session has the same."""
    return Session(
        number=-token.number,
        id=token.id,
        user=user,
        iat=int(token.created_at),
        created_at=token.created_at,
        last_used_at=token.last_used_at or token.created_at,
        idle_timeout_s=None,
        expires_at=math.inf if token.expires_at is None else token.expires_at,
        remember=False,
        address=token.address,
        user_agent=token.user_agent,
        information=token.name,
        kind=KIND,
        level=TOKEN,
        method=KIND,
        ended_at=token.ended_at,
        ended_by=token.ended_by,
        scope=token.scope,
    )


def _is_name(name: bytes, user: User) -> bool:
    typed = parse_handle(name.decode("utf-8", "replace"))
    names = [user.username, *(mail.address for mail in user.emails if mail.verified)]
    return typed is not None and typed in map(parse_handle, names)


def _name_token(event: Event, public_id: str) -> Event:
    return replace(event, detail=f"token {public_id}")
