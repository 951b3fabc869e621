"""Which request headers pass to an upstream, which ones only Doorward sets, and the head that is
sent.

Knows names and framing; must not know who may do what. One pass over the request's headers
separates those that the gate reads from those that pass, so the gate and the upstream never see two
spellings of one header.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from doorward.header_names import (
    FORWARDING_NAMES,
    FORWARDING_PREFIX,
    FRAMING_LOOKALIKES,
    METHOD_OVERRIDES,
    forget_with,
    is_identity_name,
    normalize_name,
)
from doorward.header_names import HOP_BY_HOP as HOP_BY_HOP
from doorward.http1.second_targets import READERS

Header = tuple[bytes, bytes]


class HeaderAction(Enum):
    """What happens to a request header, by name."""

    PASS = auto()
    DROP = auto()
    OVERRIDE = auto()
    HOST = auto()
    COOKIE = auto()
    AUTHORIZATION = auto()
    CONNECTION = auto()
    CONTENT_LENGTH = auto()
    TRANSFER_ENCODING = auto()
    EXPECT = auto()
    TE = auto()
    TRAILER = auto()
    MAX_FORWARDS = auto()
    FORWARDED = auto()
    FORWARDED_FOR = auto()
    FORWARDED_PROTO = auto()
    FORWARDED_HOST = auto()
    FORWARDED_PORT = auto()
    FORWARDED_PREFIX = auto()
    REQUEST_ID = auto()
    PAIR = auto()
    TARGET = auto()


# Names that the gate reads, in the only spelling that it trusts.
_READ = {
    b"host": HeaderAction.HOST,
    b"cookie": HeaderAction.COOKIE,
    b"authorization": HeaderAction.AUTHORIZATION,
    b"connection": HeaderAction.CONNECTION,
    b"content-length": HeaderAction.CONTENT_LENGTH,
    b"transfer-encoding": HeaderAction.TRANSFER_ENCODING,
    b"expect": HeaderAction.EXPECT,
    b"te": HeaderAction.TE,
    b"trailer": HeaderAction.TRAILER,
    b"max-forwards": HeaderAction.MAX_FORWARDS,
    b"forwarded": HeaderAction.FORWARDED,
    b"x-forwarded-for": HeaderAction.FORWARDED_FOR,
    b"x-forwarded-proto": HeaderAction.FORWARDED_PROTO,
    b"x-forwarded-host": HeaderAction.FORWARDED_HOST,
    b"x-forwarded-port": HeaderAction.FORWARDED_PORT,
    b"x-forwarded-prefix": HeaderAction.FORWARDED_PREFIX,
    b"x-request-id": HeaderAction.REQUEST_ID,
}
# They carry sessions if their dialect is on; otherwise they belong to the application.
_PAIR = frozenset((b"x-user-id", b"x-auth-token"))

# Space around a value is not part of it (RFC 9110 5.5).
OWS = b" \t"
# CGI, WSGI, Rack and PHP fold these spellings into one name (CVE-2025-64484, CVE-2026-39858).
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def classify_header(name: bytes) -> HeaderAction:
    """What happens to a header of this name, in any spelling."""
    name = name.lower()
    if name in _READ:
        return _READ[name]
    if name in _PAIR:
        return HeaderAction.PAIR
    if name in READERS:
        return HeaderAction.TARGET
    if name in HOP_BY_HOP:
        return HeaderAction.DROP
    normal = normalize_name(name)
    if normal in METHOD_OVERRIDES:
        return HeaderAction.OVERRIDE
    if normal != name and (normal in _READ or normal in FRAMING_LOOKALIKES or normal in READERS):
        return HeaderAction.DROP
    return HeaderAction.DROP if _is_managed(normal) else HeaderAction.PASS


def _is_managed(normal: bytes) -> bool:
    return (
        is_identity_name(normal)
        or normal in FORWARDING_NAMES
        or normal in HOP_BY_HOP
        or normal.startswith(FORWARDING_PREFIX)
    )


# Names repeat from request to request. The limit keeps clients from filling memory with new ones.
_ACTIONS: dict[bytes, HeaderAction] = {}
forget_with(_ACTIONS.clear)
_ACTIONS_LIMIT = 2048
_REMEMBERED_BYTES = 64


def _remember_action(name: bytes) -> HeaderAction:
    if len(name) > _REMEMBERED_BYTES:
        return classify_header(name)
    if len(_ACTIONS) >= _ACTIONS_LIMIT:
        _ACTIONS.clear()
    action = _ACTIONS[name] = classify_header(name)
    return action


class BadHeaders(Exception):
    """The headers are ambiguous: 400."""


class UnknownExpectation(BadHeaders):
    """An Expect other than 100-continue: 417."""


class RequestHeaders(Protocol):
    """A request's headers, sorted for the gate: `ParsedHeaders`, or for plain heads what the head
    reader found (see `heads.py`). Lines and order are kept; `passing` is what may pass."""

    @property
    def passing(self) -> Sequence[Header]: ...
    @property
    def passing_text(self) -> bytes: ...
    @property
    def overrides(self) -> Sequence[Header]: ...
    @property
    def hosts(self) -> Sequence[bytes]: ...
    @property
    def cookies(self) -> Sequence[bytes]: ...
    @property
    def authorizations(self) -> Sequence[bytes]: ...
    @property
    def pairs(self) -> Sequence[Header]: ...
    @property
    def targets(self) -> tuple[Header, ...]: ...
    @property
    def forwarded(self) -> Sequence[bytes]: ...
    @property
    def forwarded_for(self) -> Sequence[bytes]: ...
    @property
    def forwarded_proto(self) -> tuple[bytes, ...]: ...
    @property
    def forwarded_host(self) -> tuple[bytes, ...]: ...
    @property
    def forwarded_port(self) -> tuple[bytes, ...]: ...
    @property
    def forwarded_prefix(self) -> tuple[bytes, ...]: ...
    @property
    def request_id(self) -> bytes | None: ...
    @property
    def content_length(self) -> bytes | None: ...
    @property
    def chunked(self) -> bool: ...
    @property
    def has_body(self) -> bool: ...
    @property
    def expects(self) -> bool: ...
    @property
    def trailers(self) -> bool: ...
    @property
    def announced(self) -> Sequence[bytes]: ...
    @property
    def max_forwards(self) -> bytes | None: ...
    @property
    def user_agent(self) -> bytes | None: ...


@dataclass(slots=True)
class ParsedHeaders:
    """One request's headers, sorted. Lists keep lines and order; `passing` is what may pass."""

    passing: list[Header] = field(default_factory=list)
    overrides: list[Header] = field(default_factory=list)
    hosts: list[bytes] = field(default_factory=list)
    cookies: list[bytes] = field(default_factory=list)
    authorizations: list[bytes] = field(default_factory=list)
    pairs: list[Header] = field(default_factory=list)
    targets: tuple[Header, ...] = ()  # they contain another target; they also pass
    forwarded: list[bytes] = field(default_factory=list)
    forwarded_for: list[bytes] = field(default_factory=list)
    forwarded_proto: tuple[bytes, ...] = ()
    forwarded_host: tuple[bytes, ...] = ()
    forwarded_port: tuple[bytes, ...] = ()
    forwarded_prefix: tuple[bytes, ...] = ()
    request_id: bytes | None = None
    content_length: bytes | None = None
    chunked: bool = False
    expects: bool = False  # the client waits for 100 Continue before it sends the body
    trailers: bool = False  # the client accepts trailers of the answer (TE)
    announced: list[bytes] = field(default_factory=list)  # names of the request's trailers
    max_forwards: bytes | None = None

    @property
    def has_body(self) -> bool:
        return self.chunked or self.content_length not in (None, b"0")

    @property
    def passing_text(self) -> bytes:
        """The headers that may pass, as lines."""
        return b"".join([b"%b: %b\r\n" % line for line in self.passing])

    @property
    def user_agent(self) -> bytes | None:
        return next((value for name, value in self.passing if name == b"user-agent"), None)


def parse_headers(headers: Iterable[Header]) -> ParsedHeaders:
    """Sort request headers (names in lower case). Raises BadHeaders if the framing is ambiguous."""
    found = ParsedHeaders()
    passing, actions = found.passing, _ACTIONS
    named_by_connection: list[bytes] = []
    for line in headers:
        name, value = line
        action = actions.get(name) or _remember_action(name)
        if action is HeaderAction.PASS:
            passing.append(line)
        elif action is HeaderAction.COOKIE:
            found.cookies.append(value)
        elif action is HeaderAction.HOST:
            found.hosts.append(value.strip(OWS))
        elif action is HeaderAction.TARGET:
            passing.append(line)
            found.targets = (*found.targets[:2], line)  # if a name appears twice, neither is read
        elif action is HeaderAction.CONNECTION:
            named_by_connection += [token.strip().lower() for token in value.split(b",")]
        elif action is not HeaderAction.DROP:
            _read(found, action, line)
    if found.chunked and found.content_length is not None:
        raise BadHeaders("both Content-Length and Transfer-Encoding")  # RFC 9112 6.1
    if named_by_connection:
        _drop_named(found, named_by_connection)
    return found


def _read(found: ParsedHeaders, action: HeaderAction, line: Header) -> None:
    value = line[1] if action is HeaderAction.CONTENT_LENGTH else line[1].strip(OWS)
    match action:
        case HeaderAction.AUTHORIZATION:
            found.authorizations.append(value)
        case HeaderAction.PAIR:
            found.pairs.append(line)
        case HeaderAction.CONTENT_LENGTH:
            if not value.isdigit() or len(value) > 18 or found.content_length not in (None, value):
                raise BadHeaders("conflicting or malformed Content-Length")  # RFC 9112 6.3
            found.content_length = value
        case HeaderAction.TRANSFER_ENCODING:
            if found.chunked or value.lower() != b"chunked":
                raise BadHeaders("a transfer coding other than one final chunked")
            found.chunked = True
        case HeaderAction.FORWARDED:
            found.forwarded.append(value)
        case HeaderAction.FORWARDED_FOR:
            found.forwarded_for.append(value)
        case HeaderAction.FORWARDED_PROTO:
            found.forwarded_proto += (value,)
        case HeaderAction.FORWARDED_HOST:
            found.forwarded_host += (value,)
        case HeaderAction.FORWARDED_PORT:
            found.forwarded_port += (value,)
        case HeaderAction.FORWARDED_PREFIX:
            found.forwarded_prefix += (value,)
        case HeaderAction.REQUEST_ID:
            found.request_id = value
        case HeaderAction.OVERRIDE:
            found.overrides.append(line)
        case HeaderAction.EXPECT:
            if value.lower() != b"100-continue":  # the only defined value (RFC 9110 10.1.1)
                raise UnknownExpectation("an unsupported Expect header")
            found.expects = True
        case HeaderAction.TE:
            codings = [coding.partition(b";")[0].strip().lower() for coding in value.split(b",")]
            found.trailers = found.trailers or b"trailers" in codings
        case HeaderAction.TRAILER:
            names = value.split(b",", TRAILER_NAMES)[:TRAILER_NAMES]
            lowered = (name.strip(OWS).lower() for name in names)
            found.announced += [name for name in lowered if name and _may_trail(name)]
        case HeaderAction.MAX_FORWARDS:
            said = found.max_forwards
            found.max_forwards = value if said is None else said + b", " + value
        case _:
            raise AssertionError(action)


# More names than this are not passed on, because each look-up costs Doorward time and the client
# nothing.
TRAILER_NAMES = 64
# The usual values of Connection; none of them is the name of a header that passes.
USUAL_OPTIONS = frozenset((b"keep-alive", b"close", b"upgrade", b"te", b""))


def _drop_named(found: ParsedHeaders, named: list[bytes]) -> None:
    """Remove the headers that Connection lists. Doorward's own headers are added later, so a client
    cannot remove them in this way (CVE-2022-31813, CVE-2024-45410)."""
    unusual = set(named) - USUAL_OPTIONS
    if unusual:
        found.passing[:] = [line for line in found.passing if line[0] not in unusual]
        found.overrides[:] = [line for line in found.overrides if line[0] not in unusual]
        if b"trailer" in unusual:
            found.announced.clear()
        if b"authorization" in unusual:
            found.authorizations.clear()
        if b"cookie" in unusual:
            found.cookies.clear()
        if b"max-forwards" in unusual:
            found.max_forwards = None
        found.pairs = [line for line in found.pairs if line[0] not in unusual]


# Names for framing, routing, credentials and the description of content must not be trailers (RFC
# 9110 6.5.1).
_NO_TRAILER = re.compile(
    rb"content-.*|.*cookie.*|.*auth.*|host|date|expires|age|vary|location|retry-after|warning"
    rb"|cache-control|range|if-.*|pragma|expect|max-forwards|trailer"
)


def select_trailers(headers: Iterable[Header]) -> list[Header]:
    """The trailers of a message that pass, with lines and order kept, in either direction."""
    return [line for line in headers if _may_trail(line[0].lower())]


def _may_trail(name: bytes) -> bool:
    return classify_header(name) is HeaderAction.PASS and not _NO_TRAILER.fullmatch(name)


def trailer_lines(headers: Iterable[Header]) -> bytes:
    """The same trailers as lines to send."""
    return b"".join([b"%b: %b\r\n" % line for line in select_trailers(headers)])
