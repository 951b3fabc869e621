"""API tokens in requests: distinguished from the application's own, looked up, and what they open.

Knows bytes of header values and scopes of tokens; must not know rules or users. A value with the
form of a token is never forwarded, valid or not.
"""

import asyncio
import binascii
import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import product
from typing import Any

from doorward.accounts.basic import BasicLogins
from doorward.accounts.session import ClientInfo, Found, Session, TokenScope
from doorward.accounts.sessions.live import Live
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.accounts.tokens.form import FORM
from doorward.accounts.tokens.uses import TokenUses
from doorward.bounds import make_room
from doorward.gate.accept import Accepted
from doorward.gate.addresses import parse_address
from doorward.gate.authorize import Prefix, compile_prefix, covers_path
from doorward.gate.rules import host_matches
from doorward.http1.headers import Header
from doorward.http1.second_targets import read_second_targets
from doorward.path_readings import list_readings

_BEARER = re.compile(rb"bearer +([^ ]+) *", re.IGNORECASE)  # RFC 6750 2.1
_BASIC = re.compile(rb"basic +([A-Za-z0-9+/]+={0,2}) *", re.IGNORECASE)  # RFC 7617 2
_BASIC_SCHEME = re.compile(rb"[ \t]*basic(?![!#$%&'*+\-.^_`|~0-9A-Za-z])", re.IGNORECASE)
_NOT_FOUND = Found(None, known=False)
# The cache key of a session's compiled scope.
_COMPILED = "compiled scope"


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """A value with the form of a token in a request; `name` is the user name that Basic sends with
    it.

    `key` is its cache key. It contains a semicolon, which ends a cookie's value and occurs in no
    token, so no other carrier can present it.
    """

    value: bytes = field(repr=False)
    name: bytes | None
    key: bytes = field(repr=False)

    @classmethod
    def build(cls, value: bytes, name: bytes | None = None) -> "PresentedToken":
        kind = b";token " if name is None else b";basic " + name + b":"
        return cls(value, name, kind + value)


@dataclass(frozen=True, slots=True)
class PresentedPassword:
    """Name and password from Basic, on a path where Doorward asks for it. `key` is made with a
    keyed hash, so that no password is kept in memory."""

    name: bytes = field(repr=False)
    password: bytes = field(repr=False)
    key: bytes = field(repr=False)


Presented = PresentedToken | PresentedPassword

# Basic where Doorward asks for it but takes no passwords: no session, and not forwarded.
REFUSED = PresentedToken(b"", None, b";refused")

# A cache of values that carry a token, because reading one takes 10 µs. They contain nothing that
# the cache of sessions does not. Longer values are read each time.
_READ: dict[bytes, PresentedToken] = {}
_READ_LIMIT = 4096
_READ_BYTES = 512


def read_authorization(line: bytes) -> PresentedToken | None:
    """The token in this Authorization value, if it has the form of one."""
    token = _READ.get(line)
    if token is None:
        token = _parse_authorization(line)
        if token is not None and len(line) <= _READ_BYTES:
            make_room(_READ, _READ_LIMIT)
            _READ[line] = token
    return token


def _parse_authorization(line: bytes) -> PresentedToken | None:
    match = _BEARER.fullmatch(line)
    if match is not None:
        return PresentedToken.build(match[1]) if FORM.fullmatch(match[1]) else None
    found = read_basic(line)
    if found is None:
        return None
    name, password = found
    return PresentedToken.build(password, name) if FORM.fullmatch(password) else None


def read_basic(line: bytes) -> tuple[bytes, bytes] | None:
    """Name and password in this Authorization value (RFC 7617 2)."""
    match = _BASIC.fullmatch(line)
    if match is None:
        return None
    try:
        name, _, password = binascii.a2b_base64(match[1]).partition(b":")
    except binascii.Error:
        return None
    return name, password


def take_api_key(text: bytes, name: bytes) -> tuple[bytes, list[PresentedToken]]:
    """The header lines without those of this lower-case name that carry a token, and the removed
    ones."""
    begin = name + b": "
    if begin not in text:
        return text, []
    kept, found = [], []
    for line in text.split(b"\r\n"):
        value = line[len(begin) :].strip(b" \t") if line.startswith(begin) else b""
        if FORM.fullmatch(value):
            found.append(PresentedToken.build(value))
        else:
            kept.append(line)
    return b"\r\n".join(kept), found


class TokenCarrier:
    """Finds the session of a token, and decides what it opens."""

    __slots__ = ("_asking", "_live", "_logins", "_tokens", "_uses")

    def __init__(self, live: Live, tokens: ApiTokens, uses: TokenUses, logins: BasicLogins) -> None:
        self._live = live
        self._tokens = tokens
        self._uses = uses
        self._logins = logins
        self._asking: dict[tuple[bytes, str], asyncio.Task[Found]] = {}

    def read_password(self, line: bytes, address: str, *, allowed: bool) -> Presented | None:
        """The credentials in this Authorization value, from this address, on a path where Doorward
        asks for Basic; None for another scheme. A value that cannot be parsed is not forwarded
        either, because it may contain somebody's password."""
        if not _BASIC_SCHEME.match(line):
            return None
        found = read_basic(line)
        if found is None or not allowed:
            return REFUSED
        return PresentedPassword(*found, b";password " + self._logins.compute_key(*found, address))

    async def find(self, token: Presented, request: Accepted, now: float) -> Found:
        """The session of the token, from storage if it is not in memory; concurrent requests share
        one look-up. A wrong one counts against its network, or its user in that network, once a
        minute. Raises LockedOut, Overloaded, StorageUnavailable."""
        question = token.key, request.address_text  # attempts are counted by network
        asking = self._asking.get(question)
        if asking is None:
            asking = asyncio.ensure_future(self._find(token, request, now))
            self._asking[question] = asking
            asking.add_done_callback(lambda done: self._forget(question, done))
        return await asyncio.shield(asking)

    def _forget(self, question: tuple[bytes, str], done: "asyncio.Task[Found]") -> None:
        del self._asking[question]
        if not done.cancelled():
            done.exception()  # raised to the waiting requests, if there are any

    async def _find(self, token: Presented, request: Accepted, now: float) -> Found:
        key = token.key
        # After the feed is read, the session usually is in memory. Looking it up otherwise could
        # cost a password hash.
        await self._live.catch_up(now)
        session = self._live.peek(key, now)
        if session is not None:
            return Found(session, known=True)
        if self._live.is_unknown(key, now):
            return _NOT_FOUND
        client = ClientInfo(request.address_text, request.client.user_agent)
        found = await self._live.find_by(key, lambda: self._ask(token, client, now), now)
        if not found.known:
            self._live.note_unknown(key, now)
        return found

    async def _ask(self, token: Presented, client: ClientInfo, now: float) -> Found:
        if isinstance(token, PresentedPassword):
            return await self._logins.find(token.name, token.password, client, now)
        return await self._tokens.find(token.value, token.name, client, now)

    def admits(self, session: Session, request: Accepted, now: float) -> bool:
        """Whether a token may be used for this request; records the use either way."""
        self._uses.note(session, request, now)
        compiled: Any = session.derived.get(_COMPILED)
        if compiled is None:
            compiled = session.derived[_COMPILED] = CompiledScope(session.scope)
        return bool(compiled.covers_all or compiled.covers(request))


def admits_administration(scope: TokenScope, method: str, address: str) -> bool:
    """Whether this token's scope includes the administration API, and this request to it."""
    if scope.admin is None or (scope.methods and method not in scope.methods):
        return False
    found = parse_address(address)
    return not scope.networks or (
        found is not None and any(found in ip_network(network) for network in scope.networks)
    )


class CompiledScope:
    """A compiled token scope. None covers nothing: no token was read that way."""

    __slots__ = ("_methods", "_networks", "_routes", "covers_all", "has_methods")

    def __init__(self, scope: TokenScope | None) -> None:
        self.covers_all = scope == TokenScope()
        scope = scope or TokenScope(admin="none")
        self._routes = None if scope.admin is not None else tuple(map(_split, scope.routes))
        self._methods = frozenset(method.encode() for method in scope.methods)
        self._networks = tuple(ip_network(network) for network in scope.networks)
        self.has_methods = bool(self._methods)

    def covers(self, request: Accepted) -> bool:
        """Whether it covers this request in every reading of its path, and every other target in
        its headers to which the request may write."""
        if self._routes is None:
            return False
        targets = request.headers.targets
        if self._networks and (
            request.address is None
            or not any(request.address in network for network in self._networks)
        ):
            return False
        if self._methods and not self._methods.issuperset(
            {request.method, b"PUT"} if targets else {request.method}
        ):
            return False
        return not self._routes or self._covers_paths(request, targets)

    def _covers_paths(self, request: Accepted, targets: tuple[Header, ...]) -> bool:
        named = [(request.host, path) for path in (request.path, *request.other_readings)]
        for second in read_second_targets(targets):
            hosts = {request.host, second.host or request.host}
            named += product(hosts, (second.path, *list_readings(second.path)))
        return all(self._covers_path(host, path) for host, path in named)

    def _covers_path(self, host: str, path: bytes) -> bool:
        assert self._routes is not None
        return any(
            (pattern is None or host_matches(pattern, host)) and covers_path(prefix, path)
            for pattern, prefix in self._routes
        )


def _split(route: str) -> tuple[str | None, Prefix]:
    """Host and path of a route in a scope."""
    host, slash, path = route.partition("/")
    return host or None, compile_prefix((slash + path).encode())
