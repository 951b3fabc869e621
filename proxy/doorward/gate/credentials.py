"""What the carriers of one request hold: cookies, headers and query, sorted into Doorward's and the
application's.

Knows the form of each carrier; must not know sessions or rules, or which carrier takes precedence.
"""

import re
from collections.abc import Iterable, Sequence

from doorward.accounts.sessions.access_token import AccessToken
from doorward.accounts.sessions.tokens import is_token
from doorward.gate.accept import Accepted
from doorward.gate.access_tokens import AccessCarrier
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
    is_plain: bool = True  # there is at most a cookie
    # The token in the cookie that counts, once its signature was checked; `forged` if Doorward did
    # not sign it.
    unsigned: str | None = None
    forged: bool = False
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
            self.token is None
            and self.bearer is None
            and self.pair is None
            and self.access is None
            and self.linked is None
            and self.handed is None
        )


class CredentialReader:
    """With `bare_tokens`, an Authorization that consists only of a token in Doorward's form counts
    too; with `takes_pair`, X-User-Id with X-Auth-Token counts on requests to an application.
    `access` knows the access tokens, if their dialect is on; with `takes_linked`, one in the query
    of a request to an application logs in. `handover` knows the cookies of sessions from another
    root domain.
    """

    def __init__(
        self,
        cookies: Cookies,
        *,
        bare_tokens: bool,
        takes_pair: bool,
        access: AccessCarrier | None,
        takes_linked: bool,
        api_tokens: TokenCarrier | None,
        handover: HandoverCarrier | None,
    ) -> None:
        self._cookies = cookies
        self._our_form = _OUR_BEARER_OR_BARE if bare_tokens else _OUR_BEARER
        self._takes_pair = takes_pair
        self._access = access
        self._takes_linked = takes_linked
        self._api_tokens = api_tokens
        self._handover = handover
        self._reads_more = access is not None or handover is not None

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

    def read_own(self, headers: Iterable[Header], *, pair: bool) -> Credentials:
        """The same for a request to one of Doorward's own paths; with `pair`, to one that takes
        X-User-Id with X-Auth-Token."""
        parsed = parse_headers(headers)
        credentials = self._read_cookie(parsed)
        if parsed.authorizations:
            self._sort_authorizations(credentials, parsed.authorizations)
        if pair:
            credentials.pairs = parsed.pairs
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
