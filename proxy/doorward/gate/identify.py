"""The session of a request: what its cookies, headers and query carry, and the session behind it.

Knows carriers and the core's live sessions; must not know rules. Any error on the way to a session
means "no session".
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from doorward.accounts.sessions.access_token import AccessToken
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import Found, Session
from doorward.accounts.sessions.tokens import Tokens, is_token
from doorward.gate.accept import Accepted
from doorward.gate.access_tokens import AccessCarrier, get_credential
from doorward.gate.cookies import NO_COOKIES, Cookies
from doorward.gate.handover import Handed, HandoverCarrier
from doorward.gate.tokens import (
    Presented,
    TokenCarrier,
    read_authorization,
    take_api_key,
)
from doorward.http1.headers import Header, RequestHeaders, parse_headers
from doorward.http1.schemes import authenticates_connection
from doorward.settings import BasicSettings

# RFC 6750 2.1, with a token in Doorward's form; any other Authorization belongs to the application.
_OUR_BEARER = re.compile(rb"bearer +([A-Za-z0-9_-]{43}) *", re.IGNORECASE)
# The same, and a token without a scheme in front.
_OUR_BEARER_OR_BARE = re.compile(rb"(?:bearer +)?([A-Za-z0-9_-]{43}) *", re.IGNORECASE)
_NOT_FOUND = Found(None, known=False)


# Made for every request, so that attributes that most requests do not have cost nothing.
class Credentials:
    """What one request's carriers hold. `cookies` and `authorizations` are the application's own
    lines; `bearer` is the token in an Authorization, `bearer_line` the whole value of that line."""

    bearer: bytes | None = None
    authorizations: tuple[bytes, ...] = ()
    bearer_line: bytes | None = None
    pairs: Sequence[Header] = ()  # X-User-Id and X-Auth-Token as they came
    pair: tuple[bytes, bytes] | None = None  # their values, if the token has Doorward's form
    access: AccessToken | None = None  # from an Authorization
    linked: AccessToken | None = None  # from the query, if one counts there
    handed: Handed | None = None  # the cookie of a session from another root domain
    target: bytes | None = None  # the request's target without Doorward's tokens, if it had one
    is_plain: bool = True  # there is at most a cookie and an API token
    forged: bool = False  # a cookie was there, but Doorward did not sign it
    binds: bool = False  # an Authorization of the application authenticates the connection
    token: Presented | None = None  # an API token, or name and password by Basic
    request: Accepted | None = None  # the carrier of that
    passing: bytes | None = None  # the header lines to forward, if a token was removed from them

    def __init__(self, cookie: bytes | None, cookies: tuple[bytes, ...], ambiguous: bool) -> None:
        """`ambiguous`: two of Doorward's cookies, or a token and another Authorization."""
        self.cookie = cookie
        self.cookies = cookies
        self.ambiguous = ambiguous

    def withhold_authorization(self) -> None:
        """Remove every Authorization of the client, of any scheme, because the route has its
        own."""
        self.authorizations, self.bearer_line, self.binds = (), None, False

    def sort(self) -> None:
        """Note which carriers there are, once all of them are read."""
        self.is_plain = (
            self.bearer is None
            and self.pair is None
            and self.access is None
            and self.linked is None
            and self.handed is None
        )


@dataclass(slots=True)
class Caller:
    """The session behind a request, of any level, or none. `conflict`: two carriers of different
    users. `banned`: no session, as long as this session's user is banned."""

    session: Session | None = None
    conflict: bool = False
    # it has the form of Doorward's token, but storage has never known it
    foreign_bearer: bool = False
    foreign_pair: bool = False  # the same
    banned: bool = False


NOBODY = Caller()


class Identify:
    """Finds the session of a request. `peek` does not wait and uses only what is in memory. A
    caller that wants a session to count as used calls `use`.

    With `bare_tokens`, an Authorization that consists only of a token in Doorward's form counts
    too; with `takes_pair`, X-User-Id with X-Auth-Token counts on requests to an application.
    `access` knows the access tokens, if their dialect is on; with `takes_linked`, one in the query
    of a request to an application logs in. `handover` knows the cookies of sessions from another
    root domain.
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
        self._access = access
        self._handover = handover
        self._reads_more = access is not None or handover is not None
        self._api_tokens = api_tokens
        self._takes_linked = takes_linked
        self._takes_pair = takes_pair
        self._live = live
        self.use = live.use
        self._tokens = tokens
        self._cookies = cookies
        self._our_form = _OUR_BEARER_OR_BARE if bare_tokens else _OUR_BEARER

    def read(
        self,
        request: Accepted,
        api_key: bytes | None = None,
        basic: BasicSettings | None = None,
    ) -> Credentials:
        """Sort the carriers of a request for an application into Doorward's and the application's.
        `api_key` is the name of a header, in lower case, that can carry an API token; `basic` is
        set where every Basic is Doorward's."""
        headers = request.headers
        credentials, lines = self._read_cookie(headers), headers.authorizations
        if not (lines or headers.pairs or api_key or self._reads_more):
            return credentials
        if self._handover is not None and headers.cookies:
            credentials.handed = self._handover.read(headers.cookies, request.host)
        if lines:
            token = read_authorization(lines[0]) if len(lines) == 1 else None
            if token is None:
                self._sort_authorizations(credentials, lines)
            else:
                credentials.token, credentials.request = token, request
        if api_key is not None or len(lines) > 1:
            _take_more_tokens(credentials, request, api_key)
        if basic is not None and credentials.authorizations:
            self._take_password(credentials, request, basic)
        if self._access is not None:
            self._take_linked(credentials, self._access, request)
        if headers.pairs:
            credentials.pairs = headers.pairs
            if self._takes_pair:
                _take_pair(credentials)
        credentials.sort()
        return credentials

    def _take_password(
        self, credentials: Credentials, request: Accepted, basic: BasicSettings
    ) -> None:
        """Remove name and password from what is forwarded, because Doorward asked for them."""
        assert self._api_tokens is not None
        address = request.address_text
        read = [
            (line, self._api_tokens.read_password(line, address, allowed=basic.passwords))
            for line in credentials.authorizations
        ]
        found = [password for _, password in read if password is not None]
        if found:
            credentials.authorizations = tuple(line for line, password in read if not password)
            credentials.ambiguous |= len(request.headers.authorizations) > 1
            credentials.ambiguous |= credentials.token is not None
            credentials.token, credentials.request = found[0], request

    def _read_cookie(self, headers: RequestHeaders) -> Credentials:
        lines = headers.cookies
        values, rest = self._cookies.take(lines) if lines else NO_COOKIES
        return Credentials(values[0] if values else None, rest, len(values) > 1)

    def _sort_authorizations(self, credentials: Credentials, lines: Sequence[bytes]) -> None:
        """Session tokens and access tokens, and the application's own values."""
        matches = [self._our_form.fullmatch(line) for line in lines]
        ours = [match for match in matches if match]
        if ours:
            credentials.bearer_line, credentials.bearer = ours[0][0], ours[0][1]
            credentials.ambiguous = credentials.ambiguous or len(lines) > 1
        credentials.authorizations = tuple(
            line for line, match in zip(lines, matches, strict=True) if not match
        )
        credentials.binds = authenticates_connection(lines)
        if self._access is not None:
            _take_access(credentials, self._access)

    def _take_linked(
        self, credentials: Credentials, access: AccessCarrier, request: Accepted
    ) -> None:
        """Remove it from the query, so that neither an application nor a return address contains
        it, and from headers that repeat such an address. A link does not log in unless the settings
        say so."""
        passing = credentials.passing
        text = request.headers.passing_text if passing is None else passing
        if (kept := access.take_repeated(text)) is not text:
            credentials.passing = kept
        rest, token = access.take(request.target)
        if token is not None:
            credentials.target = rest
            credentials.linked = token if self._takes_linked else None

    def peek(self, credentials: Credentials, now: float) -> Caller | None:
        """The caller, if storage is not needed to find it; None otherwise."""
        if credentials.ambiguous:
            return NOBODY
        if credentials.token is not None:
            return self._peek_token(credentials, credentials.token, now)
        return self._peek_others(credentials, now)

    def _peek_token(self, credentials: Credentials, token: Presented, now: float) -> Caller | None:
        """An API token takes precedence over every other carrier; an invalid one ends the
        search."""
        assert self._api_tokens is not None
        session = self._api_tokens.peek(token, now)
        if session is None:
            return NOBODY if self._api_tokens.is_unknown(token, now) else None
        if credentials.cookie is None and credentials.is_plain:
            return Caller(session)
        others = self._peek_others(credentials, now)
        return None if others is None else _put_before(Found(session, known=True), others)

    def _peek_others(self, credentials: Credentials, now: float) -> Caller | None:
        if not credentials.is_plain:
            return self._peek_beside(credentials, now)
        cookie = credentials.cookie
        if cookie is None or credentials.forged:
            return NOBODY
        session = self._live.peek(cookie, now)
        if session is not None:
            return Caller(session)
        if self._tokens.unsign(cookie) is None:
            credentials.forged = True  # refused without a query
            return NOBODY
        return None

    def _peek_beside(self, credentials: Credentials, now: float) -> Caller | None:
        """The same if storage has never known the token: then the cookie decides."""
        tokens = [credentials.bearer, None if credentials.pair is None else credentials.pair[1]]
        if credentials.access is not None or credentials.linked is not None:
            return None
        if not all(token is None or self._live.is_unknown(token, now) for token in tokens):
            return None
        if credentials.handed is not None:
            return self._peek_handed(credentials.handed, tokens, now)
        session = None if credentials.cookie is None else self._live.peek(credentials.cookie, now)
        if session is None and credentials.cookie is not None and not credentials.forged:
            if self._tokens.unsign(credentials.cookie) is not None:
                return None
            credentials.forged = True
        bearer, pair = (token is not None for token in tokens)
        return Caller(session, foreign_bearer=bearer, foreign_pair=pair)

    def _peek_handed(
        self, handed: Handed, tokens: Sequence[bytes | None], now: float
    ) -> Caller | None:
        """The same with the cookie of a session that was handed over, which takes precedence."""
        assert self._handover is not None
        session = self._handover.peek(handed, now)
        if session is None:
            return None
        bearer, pair = (token is not None for token in tokens)
        return Caller(session, foreign_bearer=bearer, foreign_pair=pair)

    def known(self, credentials: Credentials, now: float) -> Session | None:
        """The session of one carrier that is in memory. Only for records; no decision uses it."""
        if credentials.ambiguous:
            return None
        pair = None if credentials.pair is None else credentials.pair[1]
        access = credentials.linked or credentials.access
        for credential in (
            None if credentials.token is None else credentials.token.key,
            None if access is None else get_credential(access),
            pair,
            credentials.bearer,
            credentials.handed,
            credentials.cookie,
        ):
            session = None if credential is None else self._live.peek(credential, now)
            if session is not None:
                return session
        return None

    async def ask(self, credentials: Credentials, now: float) -> Caller:
        """The caller, from storage if it is not in memory. Raises StorageUnavailable, and LockedOut
        after too many wrong API tokens.

        The order is: API token, token in the query, pair, Bearer, cookie. A token whose session is
        over ends the search; a token that storage has never known belongs to the application and is
        ignored.
        """
        if credentials.ambiguous:
            return NOBODY
        others = await self._ask_others(credentials, now)
        if credentials.token is None or others.conflict:
            return others
        assert self._api_tokens is not None and credentials.request is not None
        found = await self._api_tokens.find(credentials.token, credentials.request, now)
        return _put_before(found, others)

    async def _ask_others(self, credentials: Credentials, now: float) -> Caller:
        rest = await self._ask_headers(credentials, now)
        if credentials.linked is None or rest.conflict:
            return rest
        assert self._access is not None
        return _put_before(await self._access.find(credentials.linked, now), rest)

    async def _ask_headers(self, credentials: Credentials, now: float) -> Caller:
        rest = await self._ask_lines(credentials, now)
        if credentials.pair is None or rest.conflict:
            return rest
        user_id, token = credentials.pair
        found = await self._find(token, token.decode(), now)
        session = found.session
        if not found.known:
            return replace(rest, foreign_pair=True)
        if session is None:
            return Caller(foreign_bearer=rest.foreign_bearer)
        if session.user.id.encode() != user_id:
            return Caller(foreign_bearer=rest.foreign_bearer)
        if _are_two(session, rest.session):
            return Caller(conflict=True)
        return Caller(session, foreign_bearer=rest.foreign_bearer)

    async def _ask_lines(self, credentials: Credentials, now: float) -> Caller:
        if credentials.handed is not None:
            assert self._handover is not None
            by_cookie = await self._handover.find(credentials.handed, now)
        else:
            by_cookie = await self._by_cookie(credentials.cookie, now)
        by_bearer = await self._by_bearer(credentials, now)
        if by_bearer is None or not by_bearer.known:
            foreign = by_bearer is not None
            return Caller(by_cookie.session, foreign_bearer=foreign, banned=by_cookie.banned)
        if by_bearer.session is None:
            return Caller(banned=by_bearer.banned)
        if _are_two(by_bearer.session, by_cookie.session):
            return Caller(conflict=True)
        return Caller(by_bearer.session)

    async def _by_bearer(self, credentials: Credentials, now: float) -> Found | None:
        """None if no Authorization is Doorward's."""
        if credentials.access is not None:
            assert self._access is not None
            found = await self._access.find(credentials.access, now)
            return replace(found, known=True)  # it cannot be the application's: Doorward signed it
        if credentials.bearer is None:
            return None
        return await self._find(credentials.bearer, credentials.bearer.decode(), now)

    async def _by_cookie(self, cookie: bytes | None, now: float) -> Found:
        """A cookie that Doorward did not sign is refused without a query."""
        if cookie is None:
            return _NOT_FOUND
        session = self._live.peek(cookie, now)
        if session is not None:
            return Found(session, known=True)
        token = self._tokens.unsign(cookie)
        return _NOT_FOUND if token is None else await self._live.find(cookie, token, now)

    async def _find(self, credential: bytes, token: str, now: float) -> Found:
        session = self._live.peek(credential, now)
        if session is not None:
            return Found(session, known=True)
        if self._live.is_unknown(credential, now):
            return _NOT_FOUND
        return await self._live.find(credential, token, now)

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
        parsed = parse_headers(headers)
        credentials = self._read_cookie(parsed)
        if parsed.authorizations:
            self._sort_authorizations(credentials, parsed.authorizations)
        if pair:
            credentials.pairs = parsed.pairs
            _take_pair(credentials)
        credentials.sort()
        caller = await self.ask(credentials, now)
        if caller.foreign_bearer or caller.foreign_pair:
            return NOBODY
        if caller.session is not None:
            self.use(caller.session, now)
        return caller


def _are_two(session: Session, other: Session | None) -> bool:
    """Whether two carriers belong to different users."""
    return other is not None and other.user.number != session.user.number


def _put_before(found: Found, others: Caller) -> Caller:
    """The caller, with a carrier that takes precedence over the others."""
    if others.conflict or (found.session and _are_two(found.session, others.session)):
        return Caller(conflict=True)
    return replace(others, session=found.session, banned=found.banned)


def _take_more_tokens(credentials: Credentials, request: Accepted, api_key: bytes | None) -> None:
    """API tokens from several Authorizations and from the header for keys. As with every other
    carrier, two of them mean "no session"."""
    read = [(line, read_authorization(line)) for line in credentials.authorizations]
    found = [token for _, token in read if token is not None]
    if found:
        credentials.authorizations = tuple(line for line, token in read if token is None)
        credentials.ambiguous = True
    if api_key is not None:
        text, keys = take_api_key(request.headers.passing_text, api_key)
        if keys:
            credentials.passing = text
            found += keys
    if found:
        credentials.ambiguous |= credentials.token is not None or len(found) > 1
        credentials.token, credentials.request = found[0], request


def _take_access(credentials: Credentials, access: AccessCarrier) -> None:
    """An access token as Bearer. Together with another of Doorward's tokens it means "no
    session"."""
    read = [(line, access.in_bearer(line)) for line in credentials.authorizations]
    found = [token for _, token in read if token is not None]
    if not found:
        return
    credentials.access = found[0]
    credentials.ambiguous = credentials.ambiguous or credentials.bearer is not None or len(read) > 1
    credentials.authorizations = tuple(line for line, token in read if token is None)


def _take_pair(credentials: Credentials) -> None:
    """Half a pair counts as invalid; two pairs are ambiguous."""
    tokens = [value for name, value in credentials.pairs if name == b"x-auth-token"]
    if ours := [token for token in tokens if is_token(token)]:
        ids = [value for name, value in credentials.pairs if name == b"x-user-id"]
        credentials.pair = (ids[0] if ids else b"", ours[0])
        credentials.ambiguous = credentials.ambiguous or len(tokens) > 1 or len(ids) > 1
