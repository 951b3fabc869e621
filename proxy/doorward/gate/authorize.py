"""Which route a request takes and what the rules say of it: a table, compiled once, and pure.

Knows patterns, networks and demands; must not know headers, cookies or upstream connections.
The same walk decides and explains.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache

from doorward.accounts.names import normalise
from doorward.accounts.session import TOKEN
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.accept import Accepted, Address
from doorward.settings import AccessSettings, Route, Rule


class Verdict(Enum):
    """What the rules say of one request by one person, or by nobody."""

    ALLOWED = auto()
    UNAUTHENTICATED = auto()
    SECOND_FACTOR_REQUIRED = auto()
    FORBIDDEN = auto()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path leads: positions in the tables, which two readings of a path must share.

    `by_method`: with another method another rule could have decided."""

    route: int
    rule: int
    by_method: bool = field(default=False, compare=False)


NO_RULE = -1
SHORT_TABLE = 8  # routes and rules
# Longer paths are looked up each time, so that what is remembered stays small.
REMEMBERED_BYTES = 256


def pattern_to_regex(pattern: str) -> re.Pattern[bytes]:
    """`*` is one segment; a final `/*` covers the path itself, a final slash and all beneath."""
    beneath = pattern.endswith("/*")
    segments = pattern.removesuffix("/*").split("/")
    parts = ["[^/]+" if segment == "*" else re.escape(segment) for segment in segments]
    tail = "(?:/.*)?" if beneath else ""
    return re.compile(("/".join(parts) + tail).encode(), re.DOTALL)


def host_matches(pattern: str, host: str) -> bool:
    """Exact, or `*.example.com` for all beneath it; `badexample.com` is not (CVE-2021-21291)."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


class CompiledRule:
    """One rule, ready to be asked: its conditions (`applies`) and its demands (`admits`)."""

    __slots__ = (
        "groups",
        "hosts",
        "methods",
        "networks",
        "path",
        "require",
        "roles",
        "rule",
        "tokens",
        "usernames",
    )

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.require = rule.require
        self.tokens = rule.tokens
        self.groups = frozenset(rule.groups)
        self.roles = frozenset(rule.roles)
        self.usernames = frozenset(normalise(name) for name in rule.users)
        self.path = pattern_to_regex(rule.path) if rule.path else None
        self.hosts = tuple(host.lower() for host in rule.host)
        self.methods = frozenset(method.encode() for method in rule.methods)
        self.networks = rule.networks

    def applies(self, method: bytes, host: str, path: bytes, address: Address | None) -> bool:
        if self.methods and method not in self.methods:
            return False
        return self.covers(host, path, address)

    def covers(self, host: str, path: bytes, address: Address | None) -> bool:
        """Whether it applies for some method."""
        if self.path is not None and self.path.fullmatch(path) is None:
            return False
        if self.hosts and not any(host_matches(pattern, host) for pattern in self.hosts):
            return False
        return not self.networks or (
            address is not None and any(address in network for network in self.networks)
        )

    def admits(self, user: User) -> bool:
        """A list means any of it, several keys mean all."""
        return (
            (not self.groups or not self.groups.isdisjoint(user.groups))
            and (not self.roles or not self.roles.isdisjoint(user.roles))
            and (not self.usernames or normalise(user.username) in self.usernames)
        )


class Authorize:
    """The compiled tables. `locate` says where a request leads, `judge` whether somebody may."""

    def __init__(self, routes: tuple[Route, ...], access: AccessSettings) -> None:
        self.routes = tuple(sorted(routes, key=_specificity))
        self._prefixes = tuple((route.host, route.path.encode()) for route in self.routes)
        self._rules = tuple(CompiledRule(rule) for rule in access.rules)
        self._default = CompiledRule(Rule(require=access.default))
        self._asks_address = any(rule.networks for rule in self._rules)
        # The tables do not change, so what a walk over many rules costs is paid once per path. A
        # walk over few costs no more than to look.
        self._remembered = self._locate
        if len(self.routes) + len(self._rules) > SHORT_TABLE:
            self._remembered = lru_cache(maxsize=8192)(self._locate)

    def serves(self, host: str) -> bool:
        """True when any route answers for this host."""
        return any(route is None or host_matches(route, host) for route, _ in self._prefixes)

    def locate(self, request: Accepted, path: bytes) -> Target | None:
        """Route and rule of this path in this request; None when no route's prefix covers it."""
        return self.locate_at(request.method, request.host, path, request.address)

    def locate_at(
        self, method: bytes, host: str, path: bytes, address: Address | None
    ) -> Target | None:
        """The same of a path that is not the request's own."""
        find = self._remembered if len(path) <= REMEMBERED_BYTES else self._locate
        return find(method, host, path, address if self._asks_address else None)

    def _locate(
        self, method: bytes, host: str, path: bytes, address: Address | None
    ) -> Target | None:
        for at, (pattern, prefix) in enumerate(self._prefixes):
            if (pattern is None or host_matches(pattern, host)) and covers_path(prefix, path):
                return Target(at, *self._find_rule(method, host, path, address))
        return None

    def _find_rule(
        self, method: bytes, host: str, path: bytes, address: Address | None
    ) -> tuple[int, bool]:
        """The first rule that applies, and whether the method had a say in that."""
        by_method = False
        for at, rule in enumerate(self._rules):
            if rule.applies(method, host, path, address):
                return at, by_method or bool(rule.methods)
            by_method = by_method or (bool(rule.methods) and rule.covers(host, path, address))
        return NO_RULE, by_method

    def is_ambiguous(self, request: Accepted, target: Target | None) -> bool:
        """True when another reading of the path leads elsewhere than the raw one (promise 6)."""
        return any(self.locate(request, path) != target for path in request.other_readings)

    def can_start(self, request: Accepted, session: Session | None) -> bool:
        """Whether the start page of the host that was asked leads anywhere for this session: to an
        application, the login or a second factor."""
        address = request.address if self._asks_address else None
        target = self._remembered(b"GET", request.host, b"/", address)
        return target is not None and self.judge(target, session) is not Verdict.FORBIDDEN

    def is_public(self, target: Target) -> bool:
        """Whether anybody may, so that the application need not know who asks."""
        return self.rule(target).require == "public"

    def rule(self, target: Target) -> CompiledRule:
        """The rule that decides; the default as a rule when none applies."""
        return self._default if target.rule == NO_RULE else self._rules[target.rule]

    def judge(self, target: Target, session: Session | None) -> Verdict:
        """What the deciding rule says of this session (live; full, or a token's) or of nobody."""
        rule = self.rule(target)
        if rule.require == "public":
            return Verdict.ALLOWED
        if rule.require == "deny":
            return Verdict.FORBIDDEN
        if session is None:
            return Verdict.UNAUTHENTICATED
        if not rule.admits(session.user):
            return Verdict.FORBIDDEN
        if rule.require == "two_factor" and session.second_factor_at is None:
            if session.level is TOKEN:  # a program has none to give
                return Verdict.ALLOWED if rule.tokens else Verdict.FORBIDDEN
            return Verdict.SECOND_FACTOR_REQUIRED
        return Verdict.ALLOWED


def _specificity(route: Route) -> tuple[int, int, int]:
    """Exact hosts, then wildcards by length, then none; within one host the longest path."""
    host = route.host or ""
    rank = 2 if not host else 1 if host.startswith("*.") else 0
    return rank, -len(host), -len(route.path)


def covers_path(prefix: bytes, path: bytes) -> bool:
    """`/app` covers `/app` and `/app/x`, not `/apple`: a prefix ends on a segment boundary."""
    if prefix.endswith(b"/"):
        return path.startswith(prefix)
    return path == prefix or path.startswith(prefix + b"/")
