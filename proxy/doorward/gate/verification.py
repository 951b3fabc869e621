"""Forward-auth: the request that a front proxy asks about, read from its verification request.

Knows the headers in which each front proxy describes that request; must not know rules, routes or
sessions. The gate decides on the request as if it had been sent directly. A verification that could
mean two requests, or comes from an untrusted peer, is refused.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from time import monotonic
from typing import NamedTuple

import structlog

from doorward.gate.accept import Accepted, check_method, read_request_id, read_target
from doorward.gate.front_proxies import Endpoints, NamedBy, Subrequest
from doorward.gate.hop import Hops, Trusted, read_last, read_scheme
from doorward.gate.rules import host_matches
from doorward.gate.targets import ASTERISK, Unfit
from doorward.header_names import normalize_name
from doorward.http1.arrival import Received
from doorward.http1.headers import OWS, Header, RequestHeaders, parse_headers
from doorward.http1.heads import RequestHead

_log = structlog.get_logger("doorward.gate")

METHOD, URI = b"x-forwarded-method", b"x-forwarded-uri"
PROTO, HOST = b"x-forwarded-proto", b"x-forwarded-host"
ORIGINAL_METHOD, ORIGINAL_URL = b"x-original-method", b"x-original-url"
REAL_IP = b"x-real-ip"

_URL = re.compile(rb"([A-Za-z]+)://([^/?#@\\\s]+)(/.*)", re.DOTALL)
_WHOLE_SERVER = (b"OPTIONS", ASTERISK)
# Not `-key`: browsers send none over HTTP/2 (RFC 8441 5), and `Upgrade` is not passed on by all.
_WEBSOCKET = b"sec-websocket-"
# An untrusted peer tends to ask often, so only one line a minute is logged.
_SAY_AGAIN_S = 60.0


class Unverifiable(Exception):
    """A verification that is refused before any rule; `code` is one word for the reason."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason


class _Named(NamedTuple):
    """The request that the headers describe."""

    method: bytes
    scheme: str
    authority: bytes
    target: bytes


class Verifications:
    """Reads verifications. `hosts`: the hosts that front proxies may ask about, exact or
    `*.example.com`. `managed`: normalised names of the headers that answers set. `scheme`: that of
    requests whose front proxy does not send one."""

    def __init__(
        self,
        trusted: Trusted,
        hosts: Sequence[str],
        public_origin: str = "",
        aliases: Iterable[str] = (),
        clock: Callable[[], float] = monotonic,
        managed: Collection[bytes] = (),
        scheme: str = "https",
    ) -> None:
        self.find = Endpoints(aliases).find
        self._hosts = tuple(hosts)
        self._managed = frozenset(managed)
        self._lookalikes = _compile_lookalikes(self._managed)
        self._scheme = scheme
        self._hops = Hops(trusted, self._may_ask_about, public_origin)
        self._clock = clock
        self._told: dict[str, float] = {}

    def _may_ask_about(self, host: str) -> bool:
        return any(host_matches(one, host) for one in self._hosts)

    def read(self, asked: Subrequest, arrival: Received) -> tuple[Accepted, Subrequest]:
        """The request in question, and the verification. Raises Unverifiable and BadHeaders."""
        if not self._hops.trusts(arrival.peer):
            raise self._untrusted(arrival)
        try:
            return self._read(asked, arrival)
        except Unfit as fault:
            self._tell(arrival, str(fault), "forward_auth")
            raise Unverifiable(400, "bad_request", str(fault)) from None

    def _read(self, asked: Subrequest, arrival: Received) -> tuple[Accepted, Subrequest]:
        headers = arrival.parsed or parse_headers(arrival.headers)
        self._refuse_lookalikes(asked, arrival, headers)
        if asked.narrowing is not None and asked.narrowing.unknown:
            raise Unfit(400, f"{asked.narrowing.unknown[0]} is not supported")
        if asked.front.named_by is NamedBy.HOST:
            named, chain = self._read_by_host(arrival, headers)
            asked = replace(asked, names_method=False)
        else:
            named, chain = _read_named(asked, arrival, headers), headers.forwarded_for
        if not chain:
            raise Unfit(400, "X-Forwarded-For is missing")
        check_method(named.method)
        if named.target[:1] != b"/" and (named.method, named.target) != _WHOLE_SERVER:
            raise Unfit(400, "the target is not a path")
        path, others = read_target(named.target)
        hop = self._hops.read_named(
            arrival.peer, arrival.scheme, chain, named.authority, named.scheme
        )
        if not hop.is_served:
            reason = "is not in forward_auth.hosts"
            self._tell(arrival, f"{hop.host} {reason}", "forward_auth.hosts")
            raise Unverifiable(403, "unknown_host", f"This host {reason}.")
        request = Accepted(
            named.method,
            named.target,
            path,
            others,
            hop,
            read_request_id(headers),
            headers,
            b"websocket" if _WEBSOCKET in headers.passing_text else b"",
        )
        return request, asked

    def _read_by_host(
        self, arrival: Received, headers: RequestHeaders
    ) -> tuple["_Named", Sequence[bytes]]:
        """The request according to Host and X-Forwarded-Uri, and its client according to X-Real-IP.
        This front proxy sets no other headers, so the client may have sent the others: the method
        is unknown, and no header may contradict (CVE-2026-40575)."""
        asked = _only_host(headers)
        host = read_last(headers.forwarded_host, "X-Forwarded-Host")
        proto = read_last(headers.forwarded_proto, "X-Forwarded-Proto")
        uri, client, original = _find(arrival, headers, (URI, REAL_IP, ORIGINAL_URL))
        if uri is None:
            raise Unfit(400, "X-Forwarded-Uri is missing")
        if client is None:
            raise Unfit(400, "X-Real-IP is missing")
        scheme = self._scheme if proto is None else read_scheme(proto)
        agree = host is None or host.lower() == asked.lower()
        if original is not None:
            agree = agree and _split(original)[1:] == (asked, uri)
        if not agree:
            raise Unfit(
                400,
                "X-Forwarded-Host or X-Original-URL differs from Host and X-Forwarded-Uri",
            )
        return _Named(b"GET", scheme, asked, uri), [client]

    def _refuse_lookalikes(
        self, asked: Subrequest, arrival: Received, headers: RequestHeaders
    ) -> None:
        """Refuse a client's header with another spelling of a name that the answer sets: the front
        proxy only replaces that spelling, and an application may read both as one (CVE-2026-52845,
        CVE-2025-64484)."""
        if isinstance(headers, RequestHead):
            found = self._lookalikes.findall(headers.text.lower())
        else:
            names = [name.lower() for name, _ in arrival.headers]
            found = [name for name in names if normalize_name(name) in self._managed]
        for name in found:
            if name not in self._managed:
                shown = name.decode("ascii", "backslashreplace")
                reason = f"the header {shown} could be mistaken for one of Doorward's"
                self._tell(arrival, reason, "routes.identity")
                status = 400 if asked.front.any_status else 403
                raise Unverifiable(status, "lookalike_header", f"This is refused: {reason}.")

    def _untrusted(self, arrival: Received) -> Unverifiable:
        reason = "the front proxy is not in trusted_proxies"
        self._tell(arrival, reason, "trusted_proxies")
        return Unverifiable(401, "untrusted_peer", f"This verification is not possible: {reason}.")

    def _tell(self, arrival: Received, reason: str, setting: str) -> None:
        """Log a line, at most once a minute for each setting."""
        now = self._clock()
        if now - self._told.get(setting, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            self._told[setting] = now
            peer = arrival.peer or "unix"
            _log.warning("verification_refused", peer=peer, reason=reason, setting=setting)


# Headers


def _read_named(asked: Subrequest, arrival: Received, headers: RequestHeaders) -> _Named:
    """Raises Unfit if the headers describe no request, or two that differ."""
    by = asked.front.named_by
    proto = read_last(headers.forwarded_proto, "X-Forwarded-Proto")
    if by is NamedBy.ITSELF:
        if proto is None:
            raise Unfit(400, "X-Forwarded-Proto is missing")
        return _Named(arrival.method, read_scheme(proto), _only_host(headers), asked.rest)
    host = read_last(headers.forwarded_host, "X-Forwarded-Host")
    method, uri, original_method, original = _find(arrival, headers, _NAMES)
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
        raise Unfit(400, f"the headers of the request are missing ({_MISSING[by]})")
    if not agree:
        raise Unfit(400, "X-Forwarded-* and X-Original-* differ")
    return named


_MISSING = {
    NamedBy.FORWARDED: "X-Forwarded-Method, -Proto, -Host and -Uri",
    NamedBy.ORIGINAL: "X-Original-Method and X-Original-URL",
    NamedBy.EITHER: "X-Forwarded-Method, -Proto, -Host and -Uri, or X-Original-Method and -URL",
}


def _split(url: bytes) -> tuple[str, bytes, bytes]:
    """Scheme, authority and target of an absolute URL. The target is unchanged."""
    match = _URL.fullmatch(url)
    if match is None:
        raise Unfit(400, "X-Original-URL is not an absolute http or https URL")
    return read_scheme(match[1]), match[2], match[3]


def _only_host(headers: RequestHeaders) -> bytes:
    if len(headers.hosts) != 1:
        raise Unfit(400, "a request has exactly one Host header")
    return headers.hosts[0]


_NAMES = (METHOD, URI, ORIGINAL_METHOD, ORIGINAL_URL)


def _find(arrival: Received, headers: RequestHeaders, names: Sequence[bytes]) -> list[bytes | None]:
    """The values of headers with these names, which the gate only reads in verifications."""
    if isinstance(headers, RequestHead):
        text = headers.text
        lower = text.lower()
        return [_find_line(text, lower, b"\r\n%b:" % name) for name in names]
    found: list[bytes | None] = []
    lines: Iterable[Header] = arrival.headers
    for name in names:
        said = {value.strip(OWS) for given, value in lines if given.lower() == name}
        found.append(_only(said, name))
    return found


def _find_line(text: bytes, lower: bytes, begin: bytes) -> bytes | None:
    at = lower.find(begin)
    if at < 0:
        return None
    at += len(begin)
    value = text[at : text.index(b"\r\n", at)].strip(OWS)
    if lower.find(begin, at) < 0:
        return value
    said = {value}
    while (at := lower.find(begin, at)) >= 0:
        at += len(begin)
        said.add(text[at : text.index(b"\r\n", at)].strip(OWS))
    return _only(said, begin[2:-1])


def _only(said: set[bytes], name: bytes) -> bytes | None:
    """Of several lines, one may be the front proxy's and another the client's, so they must be
    equal."""
    if len(said) > 1:
        raise Unfit(400, f"there are {len(said)} {name.decode()} headers, and they differ")
    return next(iter(said), None)


def _compile_lookalikes(managed: Iterable[bytes]) -> re.Pattern[bytes]:
    """A pattern that finds headers with these names in lower-case heads in every spelling: with any
    punctuation in place of a hyphen."""
    spelled = (rb"[^a-z0-9:\s]".join(name.split(b"-")) for name in sorted(managed))
    return re.compile(rb"\r\n(%b):" % (b"|".join(spelled) or rb"(?!)"))
