"""What a front proxy asks about (forward-auth): the request that it holds, read from its own.

Knows by which headers each front proxy names that request; must not know rules, routes or sessions.
The request is judged by the gate as if it had come itself, so nothing is decided here but what it
is. Whatever could mean two requests, or comes from somebody who may not ask, is refused.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic
from typing import NamedTuple

import structlog

from doorward import paths
from doorward.gate.accept import Accepted, check_method, read_request_id, read_target
from doorward.gate.hop import Hops, Trusted, read_last, read_scheme
from doorward.gate.rules import host_matches
from doorward.gate.targets import ASTERISK, Unfit
from doorward.http1.arrival import Received
from doorward.http1.headers import OWS, Header, RequestHeaders, parse_headers
from doorward.http1.heads import RequestHead

_log = structlog.get_logger("doorward.gate")

METHOD, URI = b"x-forwarded-method", b"x-forwarded-uri"
PROTO, HOST = b"x-forwarded-proto", b"x-forwarded-host"
ORIGINAL_METHOD, ORIGINAL_URL = b"x-original-method", b"x-original-url"

_URL = re.compile(rb"([A-Za-z]+)://([^/?#@\\\s]+)(/.*)", re.DOTALL)
_WHOLE_SERVER = (b"OPTIONS", ASTERISK)
_WEBSOCKET = b"sec-websocket-key"
# Whoever may not ask tends to ask often; one line a minute says it.
_SAY_AGAIN_S = 60.0


class NamedBy(Enum):
    """Where a front proxy names the request that it asks about."""

    FORWARDED = auto()  # X-Forwarded-Method, -Proto, -Host and -Uri
    ORIGINAL = auto()  # X-Original-Method and X-Original-URL
    EITHER = auto()  # the first of these, or the second where only that came
    ITSELF = auto()  # the verification has the method, Host and, behind a prefix, the target


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How one kind of front proxy asks, and what it can do with an answer.

    `redirects`: it passes a redirect on to the browser. `any_status`: it passes on whatever is
    answered; others make an error of their own of all but 401 and 403.
    """

    name: str
    named_by: NamedBy
    redirects: bool = True
    any_status: bool = True


ANY = FrontProxy("any", NamedBy.EITHER, redirects=False, any_status=False)
FRONT_PROXIES = (
    FrontProxy("traefik", NamedBy.FORWARDED),
    FrontProxy("caddy", NamedBy.FORWARDED),
    FrontProxy("nginx", NamedBy.ORIGINAL, redirects=False, any_status=False),
    FrontProxy("haproxy", NamedBy.FORWARDED),
)
ENVOY = FrontProxy("envoy", NamedBy.ITSELF)

# Endpoints of other programs, so that whoever replaces one of them need not change the front proxy:
# exact paths, and prefixes before the target that is asked about.
_LEGACY = FrontProxy("authelia-verify", NamedBy.EITHER, redirects=False, any_status=False)
# Traefik and Caddy are told to ask there with `?rd=`, nginx without.
_LEGACY_REDIRECTING = FrontProxy("authelia-verify-rd", NamedBy.EITHER)
ALIASES: dict[str, tuple[tuple[str, FrontProxy], ...]] = {
    "authelia": (
        ("/api/authz/forward-auth", FrontProxy("authelia", NamedBy.FORWARDED)),
        (
            "/api/authz/auth-request",
            FrontProxy("authelia-nginx", NamedBy.ORIGINAL, redirects=False, any_status=False),
        ),
        ("/api/authz/ext-authz/", FrontProxy("authelia-envoy", NamedBy.ITSELF)),
        ("/api/verify", _LEGACY),
    ),
}


@dataclass(frozen=True, slots=True)
class Subrequest:
    """How a verification came: what kind of front proxy asks, and the target behind the prefix of
    its endpoint, if it has one."""

    front: FrontProxy
    rest: bytes = b""


class Unverifiable(Exception):
    """A verification that no rule is asked about; `code` is a word for why."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason


class Endpoints:
    """The paths at which front proxies ask; `aliases` name the programs whose paths are among
    them. A path with a slash at its end is followed by the target that is asked about."""

    def __init__(self, aliases: Iterable[str] = ()) -> None:
        under = paths.VERIFY
        table = [(under, ANY), (f"{under}/envoy/", ENVOY)]
        table += [(f"{under}/{one.name}", one) for one in FRONT_PROXIES]
        table += [row for alias in aliases for row in ALIASES.get(alias, ())]
        fronts = [(path.encode(), front) for path, front in table]
        self._exact = {path: Subrequest(front) for path, front in fronts if path[-1:] != b"/"}
        self._prefixes = tuple(row for row in fronts if row[0].endswith(b"/"))

    def find(self, target: bytes) -> Subrequest | None:
        """What is asked at this target, if it is one of these paths."""
        path, _, query = target.partition(b"?")
        found = self._exact.get(path)
        if found is not None:
            if found.front is _LEGACY and query.startswith(b"rd="):
                return Subrequest(_LEGACY_REDIRECTING)
            return found
        for prefix, front in self._prefixes:
            if target.startswith(prefix):
                return Subrequest(front, target[len(prefix) - 1 :])
        return None


class _Named(NamedTuple):
    """The request that headers name."""

    method: bytes
    scheme: str
    authority: bytes
    target: bytes


class Verifications:
    """Reads verifications. `hosts` are those that may be asked about, exact or `*.example.com`."""

    def __init__(
        self,
        trusted: Trusted,
        hosts: Sequence[str],
        public_origin: str = "",
        aliases: Iterable[str] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.find = Endpoints(aliases).find
        self._hops = Hops(
            trusted, lambda host: any(host_matches(one, host) for one in hosts), public_origin
        )
        self._clock = clock
        self._told: dict[str, float] = {}

    def read(self, asked: Subrequest, arrival: Received) -> Accepted:
        """The request that is asked about. Raises Unverifiable, and BadHeaders."""
        if not self._hops.trusts(arrival.peer):
            raise self._untrusted(arrival)
        try:
            return self._read(asked, arrival)
        except Unfit as fault:
            self._tell(arrival, str(fault), "forward_auth")
            raise Unverifiable(400, "bad_request", str(fault)) from None

    def _read(self, asked: Subrequest, arrival: Received) -> Accepted:
        headers = arrival.parsed or parse_headers(arrival.headers)
        named = _read_named(asked, arrival, headers)
        if not headers.forwarded_for:
            raise Unfit(400, "no client is named (X-Forwarded-For)")
        check_method(named.method)
        if named.target[:1] != b"/" and (named.method, named.target) != _WHOLE_SERVER:
            raise Unfit(400, "the target that is named is no path")
        path, others = read_target(named.target)
        hop = self._hops.read_named(
            arrival.peer, arrival.scheme, headers.forwarded_for, named.authority, named.scheme
        )
        if not hop.is_served:
            reason = "is none of forward_auth.hosts"
            self._tell(arrival, f"{hop.host} {reason}", "forward_auth.hosts")
            raise Unverifiable(403, "unknown_host", f"This host {reason}.")
        return Accepted(
            named.method,
            named.target,
            path,
            others,
            hop,
            read_request_id(headers),
            headers,
            b"websocket" if _WEBSOCKET in headers.passing_text else b"",
        )

    def _untrusted(self, arrival: Received) -> Unverifiable:
        reason = "whoever asks is none of trusted_proxies"
        self._tell(arrival, reason, "trusted_proxies")
        return Unverifiable(401, "untrusted_peer", f"This cannot be asked: {reason}.")

    def _tell(self, arrival: Received, reason: str, setting: str) -> None:
        """Once a minute for each setting."""
        now = self._clock()
        if now - self._told.get(setting, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            self._told[setting] = now
            peer = arrival.peer or "unix"
            _log.warning("verification_refused", peer=peer, reason=reason, setting=setting)


# What headers say


def _read_named(asked: Subrequest, arrival: Received, headers: RequestHeaders) -> _Named:
    """Raises Unfit where no request is named, or two that differ."""
    by = asked.front.named_by
    proto = read_last(headers.forwarded_proto, "X-Forwarded-Proto")
    if by is NamedBy.ITSELF:
        if proto is None:
            raise Unfit(400, "no scheme is named (X-Forwarded-Proto)")
        return _Named(arrival.method, read_scheme(proto), _only_host(headers), asked.rest)
    host = read_last(headers.forwarded_host, "X-Forwarded-Host")
    method, uri, original_method, original = _find(arrival, headers)
    if (
        by is not NamedBy.ORIGINAL
        and method is not None
        and proto is not None
        and host is not None
        and uri is not None
    ):
        named = _Named(method, read_scheme(proto), host, uri)
        agree = original_method in (None, method)
        if agree and original is not None:
            scheme, authority, target = _split(original)
            asked_for = scheme, authority.lower(), target
            agree = asked_for == (named.scheme, host.lower(), uri)
    elif by is not NamedBy.FORWARDED and original_method is not None and original is not None:
        named = _Named(original_method, *_split(original))
        agree = (
            method in (None, original_method)
            and uri in (None, named.target)
            and (host is None or host.lower() == named.authority.lower())
            and (proto is None or read_scheme(proto) == named.scheme)
        )
    else:
        raise Unfit(400, f"no request is named ({_MISSING[by]})")
    if not agree:
        raise Unfit(400, "two requests are named that differ (X-Forwarded-* and X-Original-*)")
    return named


_MISSING = {
    NamedBy.FORWARDED: "X-Forwarded-Method, -Proto, -Host and -Uri",
    NamedBy.ORIGINAL: "X-Original-Method and X-Original-URL",
    NamedBy.EITHER: "X-Forwarded-Method, -Proto, -Host and -Uri, or X-Original-Method and -URL",
}


def _split(url: bytes) -> tuple[str, bytes, bytes]:
    """Scheme, authority and target of an absolute URL, the target as it stands there."""
    match = _URL.fullmatch(url)
    if match is None:
        raise Unfit(400, "X-Original-URL is no absolute http or https URL")
    return read_scheme(match[1]), match[2], match[3]


def _only_host(headers: RequestHeaders) -> bytes:
    if len(headers.hosts) != 1:
        raise Unfit(400, "a request has exactly one Host header")
    return headers.hosts[0]


_NAMES = (METHOD, URI, ORIGINAL_METHOD, ORIGINAL_URL)
_BEGINS = tuple(b"\r\n%b:" % name for name in _NAMES)


def _find(arrival: Received, headers: RequestHeaders) -> list[bytes | None]:
    """What the headers of `_NAMES` say, which the gate does not read of any other request."""
    if isinstance(headers, RequestHead):
        text = headers.text
        lower = text.lower()
        return [_find_line(text, lower, begin) for begin in _BEGINS]
    found: list[bytes | None] = []
    lines: Iterable[Header] = arrival.headers
    for name in _NAMES:
        said = {value.strip(OWS) for given, value in lines if given.lower() == name}
        found.append(_only(said, name))
    return found


def _find_line(text: bytes, lower: bytes, begin: bytes) -> bytes | None:
    at = lower.find(begin)
    if at < 0:
        return None
    at += len(begin)
    value = text[at : text.index(b"\r\n", at)].strip(OWS)
    said = {value}
    while (at := lower.find(begin, at)) >= 0:
        at += len(begin)
        said.add(text[at : text.index(b"\r\n", at)].strip(OWS))
    return value if len(said) == 1 else _only(said, begin[2:-1])


def _only(said: set[bytes], name: bytes) -> bytes | None:
    """One line may be the front proxy's and another the client's: they have to say the same."""
    if len(said) > 1:
        raise Unfit(400, f"there are {len(said)} {name.decode()} headers, and they differ")
    return next(iter(said), None)
