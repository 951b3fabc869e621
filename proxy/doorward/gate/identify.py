"""Finds the session of a request behind its carriers, in their order of precedence.

Knows the core's live sessions; must not know rules, or the bytes of a carrier. Any error on the way
to a session means "no session".
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from doorward.accounts.sessions.access_token import AccessToken
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import Found, Session
from doorward.accounts.sessions.tokens import Tokens
from doorward.gate.accept import Accepted
from doorward.gate.access_tokens import AccessCarrier, get_credential
from doorward.gate.cookies import Cookies
from doorward.gate.credentials import CredentialReader, Credentials
from doorward.gate.handover import Handed, HandoverCarrier
from doorward.gate.tokens import REFUSED, Presented, TokenCarrier
from doorward.http1.headers import Header

_NOT_FOUND = Found(None, known=False)


@dataclass(slots=True)
class Caller:
    """The session behind a request, of any level, or none. `conflict`: two carriers of different
    users. `banned`: no session, as long as this session's user is banned."""

    session: Session | None = None
    conflict: bool = False
    # it has the form of Doorward's token, but is not in storage and never was
    foreign_bearer: bool = False
    foreign_pair: bool = False  # the same
    banned: bool = False


NOBODY = Caller()


class Foreign(Enum):
    BEARER = auto()
    PAIR = auto()


def _always(_: object = None) -> bool:
    return True


@dataclass(slots=True)
class _Carrier:
    """One carrier of a request. `key` is what memory knows it by, and `find` asks storage.

    `is_ours` is False for one that Doorward never made, which is refused without a query; `admits`
    is False for a session that this carrier does not open. A carrier whose session is over ends the
    search; one that storage has never known is ignored if it is of a kind that may be `foreign`,
    the application's own.
    """

    key: Hashable
    find: Callable[[], Awaitable[Found]]
    is_ours: Callable[[], bool] = _always
    admits: Callable[[Session], bool] = _always
    foreign: Foreign | None = None


class Identify:
    """Finds the session of a request. `peek` does not wait and uses only what is in memory; `ask`
    uses storage too. A caller that wants a session to count as used calls `use`. `read` sorts the
    carriers of a request, as `CredentialReader` says.
    """

    def __init__(
        self,
        live: Live,
        tokens: Tokens,
        cookies: Cookies,
        *,
        bare_tokens: bool = False,
        takes_pair: bool = False,
        access: AccessCarrier | None = None,
        takes_linked: bool = False,
        api_tokens: TokenCarrier | None = None,
        handover: HandoverCarrier | None = None,
    ) -> None:
        self._reader = CredentialReader(
            cookies,
            bare_tokens=bare_tokens,
            takes_pair=takes_pair,
            access=access,
            takes_linked=takes_linked,
            api_tokens=api_tokens,
            handover=handover,
        )
        self.read = self._reader.read
        self._live = live
        self.use = live.use
        self._tokens = tokens
        self._access = access
        self._api_tokens = api_tokens
        self._handover = handover

    def peek(self, credentials: Credentials, now: float) -> Caller | None:
        """The caller, if storage is not needed to find it; None otherwise."""
        if credentials.ambiguous:
            return NOBODY
        if credentials.is_plain:
            return self._peek_cookie(credentials, now)
        caller = NOBODY
        for carrier in self._list(credentials, now):
            found = self._look_up(carrier, now)
            if found is None:
                return None
            caller = _put_before(caller, carrier, found)
        return caller

    def _peek_cookie(self, credentials: Credentials, now: float) -> Caller | None:
        """The same for a cookie alone, which nearly every request has: a tenth of a refused request
        is saved."""
        cookie = credentials.cookie
        if cookie is None:
            return NOBODY
        session = self._live.peek(cookie, now)
        if session is not None:
            return Caller(session)
        is_nobody = self._live.is_unknown(cookie, now) or self._unsign(credentials) is None
        return NOBODY if is_nobody else None

    async def ask(self, credentials: Credentials, now: float) -> Caller:
        """The caller, from storage if it is not in memory. Raises StorageUnavailable, and LockedOut
        after too many wrong API tokens."""
        if credentials.ambiguous:
            return NOBODY
        while True:
            state = self._live.state()
            caller = await self._ask_once(credentials, now)
            if caller.session is None or self._live.state() == state:
                return caller  # otherwise it may have ended while another carrier was looked up

    async def _ask_once(self, credentials: Credentials, now: float) -> Caller:
        caller = NOBODY
        for carrier in self._list(credentials, now):
            if caller.conflict:  # an API token is not tried in vain
                break
            found = self._look_up(carrier, now)
            if found is None:
                found = _judge(carrier, await carrier.find())
            caller = _put_before(caller, carrier, found)
        return caller

    def known(self, credentials: Credentials, now: float) -> Session | None:
        """The session of one carrier that is in memory. Only for records; no decision uses it."""
        if credentials.ambiguous:
            return None
        carriers = reversed(tuple(self._list(credentials, now)))
        found = (self._live.peek(carrier.key, now) for carrier in carriers)
        return next((session for session in found if session is not None), None)

    def _look_up(self, carrier: _Carrier, now: float) -> Found | None:
        """What memory knows of a carrier; None if storage has to be asked."""
        session = self._live.peek(carrier.key, now)
        if session is not None:
            return _judge(carrier, Found(session, known=True))
        if self._live.is_unknown(carrier.key, now) or not carrier.is_ours():
            return _NOT_FOUND
        return None

    def _list(self, credentials: Credentials, now: float) -> Iterator[_Carrier]:
        """The carriers of a request. Each takes precedence over those before it."""
        if credentials.handed is not None:
            yield self._by_handover(credentials, credentials.handed, now)
        elif credentials.cookie is not None:
            yield self._by_cookie(credentials, credentials.cookie, now)
        if credentials.access is not None:
            yield self._by_access(credentials.access, now)
        elif credentials.bearer is not None:
            yield self._by_token(credentials.bearer, now, foreign=Foreign.BEARER)
        if credentials.pair is not None:
            user_id, token = credentials.pair
            carrier = self._by_token(token, now, foreign=Foreign.PAIR)
            carrier.admits = lambda session: session.user.id.encode() == user_id
            yield carrier
        if credentials.linked is not None:
            yield self._by_access(credentials.linked, now)
        if credentials.token is not None:
            assert credentials.request is not None
            yield self._by_api_token(credentials.token, credentials.request, now)

    def _by_cookie(self, credentials: Credentials, cookie: bytes, now: float) -> _Carrier:
        find = self._live.find
        return self._by_signed(credentials, cookie, lambda token: find(cookie, token, now))

    def _by_handover(self, credentials: Credentials, handed: Handed, now: float) -> _Carrier:
        assert self._handover is not None
        find = self._handover.find
        return self._by_signed(credentials, handed, lambda token: find(handed, token, now))

    def _by_signed(
        self,
        credentials: Credentials,
        key: Hashable,
        find_token: Callable[[str], Awaitable[Found]],
    ) -> _Carrier:
        async def find() -> Found:
            token = self._unsign(credentials)
            return _NOT_FOUND if token is None else await find_token(token)

        return _Carrier(key, find, lambda: self._unsign(credentials) is not None)

    def _unsign(self, credentials: Credentials) -> str | None:
        """The token in the cookie that `_list` yields, or None if Doorward did not sign it. Either
        is noted, as checking takes long."""
        if credentials.unsigned is None and not credentials.forged:
            cookie, handed = credentials.cookie, credentials.handed
            if handed is not None and self._handover is not None:
                credentials.unsigned = self._handover.open(handed)
            elif cookie is not None:
                credentials.unsigned = self._tokens.unsign(cookie)
            credentials.forged = credentials.unsigned is None
        return credentials.unsigned

    def _by_token(self, token: bytes, now: float, foreign: Foreign) -> _Carrier:
        find = self._live.find
        return _Carrier(token, lambda: find(token, token.decode(), now), foreign=foreign)

    def _by_access(self, token: AccessToken, now: float) -> _Carrier:
        assert self._access is not None
        access = self._access
        return _Carrier(
            get_credential(token),
            lambda: access.find(token, now),
            lambda: token.is_due(now),
            lambda session: access.opens(token, session, now),
        )

    def _by_api_token(self, token: Presented, request: Accepted, now: float) -> _Carrier:
        assert self._api_tokens is not None
        find = self._api_tokens.find
        return _Carrier(token.key, lambda: find(token, request, now), lambda: token is not REFUSED)

    async def session(
        self, headers: Iterable[Header], now: float, *, pair: bool = False
    ) -> Session | None:
        """The live session, of any level, of a request to one of Doorward's own paths; with `pair`,
        to one that takes X-User-Id with X-Auth-Token.

        Raises StorageUnavailable, so that no answer says that a session has ended when it has not.
        """
        return (await self.find_caller(headers, now, pair=pair)).session

    async def find_caller(
        self, headers: Iterable[Header], now: float, *, pair: bool = False
    ) -> Caller:
        """The caller of one of Doorward's own paths. No application has tokens of its own there, so
        an invalid one in Doorward's form means "no session". Raises StorageUnavailable."""
        caller = await self.ask(self._reader.read_own(headers, pair=pair), now)
        if caller.foreign_bearer or caller.foreign_pair:
            return NOBODY
        if caller.session is not None:
            self.use(caller.session, now)
        return caller


def _judge(carrier: _Carrier, found: Found) -> Found:
    if found.session is None or carrier.admits(found.session):
        return found
    return Found(None, known=True)


def _put_before(rest: Caller, carrier: _Carrier, found: Found) -> Caller:
    """The caller, with a carrier that takes precedence over the rest."""
    if rest.conflict:
        return rest
    foreign_bearer, foreign_pair = rest.foreign_bearer, rest.foreign_pair
    if carrier.foreign is not None and not found.known:
        foreign_bearer |= carrier.foreign is Foreign.BEARER
        foreign_pair |= carrier.foreign is Foreign.PAIR
        return Caller(rest.session, False, foreign_bearer, foreign_pair, rest.banned)
    session, other = found.session, rest.session
    if session is not None and other is not None and session.user.number != other.user.number:
        return Caller(conflict=True)
    return Caller(session, False, foreign_bearer, foreign_pair, found.banned)
