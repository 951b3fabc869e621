"""One access rule, compiled: when it applies, and which users it allows.

Knows patterns, networks and requirements; must not know routes, headers or cookies. The same
predicates decide and explain.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from doorward.accounts.names import normalise
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.addresses import Address
from doorward.path_readings import has_escapes, spell, uppercase_escapes
from doorward.settings import Rule
from doorward.settings.faults import KeyPath
from doorward.settings.patterns import compile_regex
from doorward.settings.rules import Alternative

# Files that browsers and certificate authorities fetch without a cookie, below a route's path.
_ICON = r"(?:favicon|apple-touch-icon|android-chrome|mstile|safari-pinned-tab|icon|maskable-icon)"
PUBLIC_ASSETS = (
    rf"{_ICON}(?:-[0-9A-Za-z-]{{1,32}})?\.(?:ico|png|svg)",
    r"(?:manifest\.json|(?:manifest|site|app)\.webmanifest|browserconfig\.xml|robots\.txt)",
    r"(?:sw|service-worker|serviceworker|firebase-messaging-sw)\.js",
    r"\.well-known/acme-challenge/[A-Za-z0-9_-]{1,256}",
)
_PUBLIC_ASSETS = "|".join(PUBLIC_ASSETS)
_READING = frozenset((b"GET", b"HEAD"))

Matches = Callable[[bytes], object]  # all bytes of a path


def pattern_to_regex(pattern: str) -> re.Pattern[bytes]:
    """`*` is one segment; a final `/*` covers the path itself, a final slash and all below."""
    beneath = pattern.endswith("/*")
    segments = pattern.removesuffix("/*").split("/")
    parts = ["[^/]+" if segment == "*" else re.escape(segment) for segment in segments]
    tail = "(?:/.*)?" if beneath else ""
    return re.compile(("/".join(parts) + tail).encode(), re.DOTALL)


def host_matches(pattern: str, host: str) -> bool:
    """Exact, or `*.example.com` for all below it; `badexample.com` is not (CVE-2021-21291)."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def _compile_path(rule: Rule, prefix: str) -> Matches | None:
    if rule.path is not None:
        return _compile_place(rule.path, pattern_to_regex)
    if rule.path_regex is not None:
        return _compile_place(rule.path_regex, compile_regex)
    if rule.preset is not None:
        return _compile_place(prefix.rstrip("/"), _assets_below)
    return None


def _assets_below(prefix: str) -> re.Pattern[bytes]:
    return re.compile(f"{re.escape(prefix)}/(?:{_PUBLIC_ASSETS})".encode())


def _compile_place(place: str, compile_spelt: Callable[[str], Any]) -> Matches:
    """A path or expression with escapes takes them in either case, and what they stand for in a
    reading. Any other is compared with every reading as it is: a request whose readings it tells
    apart is refused as ambiguous."""
    written = place.encode()
    matches: Matches = compile_spelt(uppercase_escapes(written).decode()).fullmatch
    return (lambda path: matches(spell(path))) if has_escapes(written) else matches


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of a rule, and whether it is met by a request or a session."""

    name: str
    says: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that a rule may require of a user. One entry of a list is enough; every key must be
    met. `max_age_s`: the maximum age of a second factor; None: the age of the session."""

    two_factor: bool = False
    max_age_s: float | None = None
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    usernames: frozenset[str] = frozenset()
    networks: tuple[object, ...] = ()

    @classmethod
    def of(cls, alternative: Alternative) -> "Demand":
        age = alternative.max_age
        return cls(
            alternative.require == "two_factor",
            None if age is None else age.total_seconds(),
            frozenset(alternative.groups),
            frozenset(alternative.roles),
            frozenset(normalise(name) for name in alternative.users),
            alternative.networks,
        )

    def admits(self, user: User, address: Address | None) -> bool:
        """Whether this user is allowed from this address, apart from the second factor."""
        return (
            (not self.groups or not self.groups.isdisjoint(user.groups))
            and (not self.roles or not self.roles.isdisjoint(user.roles))
            and (not self.usernames or normalise(user.username) in self.usernames)
            and (not self.networks or _is_in(address, self.networks))
        )

    def has_factor(self, session: Session, now: float) -> bool:
        """Whether the session's second factor is recent enough. A time in the future does not
        count: the clock that recorded it was wrong."""
        at = session.second_factor_at
        if at is None:
            return False
        return self.max_age_s is None or 0 <= now - at < self.max_age_s

    def explain(
        self, session: Session | None, address: Address | None, now: float
    ) -> tuple[Condition, ...]:
        """Each key on its own, with the same result as all of them together."""
        found = [Condition("login", "a session", session is not None)]
        for name, values, alone in (
            ("groups", self.groups, Demand(groups=self.groups)),
            ("roles", self.roles, Demand(roles=self.roles)),
            ("users", self.usernames, Demand(usernames=self.usernames)),
            ("networks", self.networks, Demand(networks=self.networks)),
        ):
            if values:
                holds = session is not None and alone.admits(session.user, address)
                found.append(Condition(name, _join(values), holds))
        if self.two_factor:
            age = "" if self.max_age_s is None else f", at most {self.max_age_s:.0f} s old"
            holds = session is not None and self.has_factor(session, now)
            found.append(Condition("second factor", f"required{age}", holds))
        return tuple(found)


def _join(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, values)))


def _is_in(address: Address | None, networks: tuple[object, ...]) -> bool:
    return address is not None and any(address in network for network in networks)  # type: ignore[operator]


class CompiledRule:
    """A compiled rule: its conditions (`applies`) and its requirements.

    `place` is its position in the settings, `prefix` the path of the route that it is used for.
    """

    __slots__ = (
        "activity",
        "admits_everyone",
        "demands",
        "hosts",
        "is_public",
        "matches_path",
        "methods",
        "networks",
        "place",
        "rule",
        "tokens",
    )

    def __init__(self, rule: Rule, place: KeyPath = (), prefix: str = "") -> None:
        self.rule = rule
        self.place = place
        self.is_public = rule.is_public
        self.activity = rule.activity
        self.tokens = rule.tokens
        self.demands = tuple(Demand.of(each) for each in rule.alternatives)
        self.admits_everyone = Demand() in self.demands  # any user with a session
        self.matches_path = _compile_path(rule, prefix)
        self.hosts = tuple(host.lower() for host in rule.host)
        self.methods = frozenset(method.encode() for method in rule.methods)
        if rule.preset is not None:
            self.methods = _READING
        self.networks = rule.networks

    @property
    def is_deny(self) -> bool:
        """Whether it refuses everybody."""
        return not (self.is_public or self.demands)

    @property
    def asks_address(self) -> bool:
        """Whether the client's address decides whether it applies."""
        return bool(self.networks)

    def applies(self, method: bytes, host: str, path: bytes, address: Address | None) -> bool:
        if self.methods and method not in self.methods:
            return False
        return self.covers(host, path, address)

    def covers(self, host: str, path: bytes, address: Address | None) -> bool:
        """Whether it applies for at least one method."""
        if self.matches_path is not None and self.matches_path(path) is None:
            return False
        if self.hosts and not self._takes_host(host):
            return False
        return not self.networks or _is_in(address, self.networks)

    def _takes_host(self, host: str) -> bool:
        return any(host_matches(pattern, host) for pattern in self.hosts)

    def explain(
        self, method: bytes, host: str, path: bytes, address: Address | None
    ) -> tuple[Condition, ...]:
        """Each condition on its own, with the same result as `applies`."""
        found = []
        if self.matches_path is not None:
            rule = self.rule
            name = next(key for key in ("path", "path_regex", "preset") if getattr(rule, key))
            holds = self.matches_path(path) is not None
            found.append(Condition(name, getattr(rule, name), holds))
        if self.hosts:
            found.append(Condition("host", _join(self.hosts), self._takes_host(host)))
        if self.methods:
            says = _join(each.decode() for each in self.methods)
            found.append(Condition("methods", says, method in self.methods))
        if self.networks:
            says = _join(self.networks)
            found.append(Condition("networks", says, _is_in(address, self.networks)))
        return tuple(found)
