"""The route of a request and the result of the rules: tables that are compiled once, and pure
functions.

Knows routes and the order of rules; must not know headers, cookies or upstream connections. The
same code decides and explains.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache, lru_cache
from typing import Final, NamedTuple

from doorward.accounts.session import TOKEN
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.tokens.api_tokens import KIND
from doorward.gate.accept import Accepted, Address
from doorward.gate.rules import CompiledRule, Demand, host_matches
from doorward.path_readings import has_escapes, spell
from doorward.settings import AccessSettings, BasicSettings, Route, Rule


class Verdict(Enum):
    """The result of the rules for a request by a user, or by a client without a session."""

    ALLOWED = auto()
    UNAUTHENTICATED = auto()
    SECOND_FACTOR_REQUIRED = auto()
    FORBIDDEN = auto()


# Globals for the hot path: an attribute of an Enum costs 0.1 µs more on Python 3.11.
ALLOWED: Final = Verdict.ALLOWED
UNAUTHENTICATED: Final = Verdict.UNAUTHENTICATED


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path leads: positions in the tables, which must be the same for every reading of a
    path. `rule` is a position among the rules of the route.

    `by_method`: with another method, another rule could have decided.
    """

    route: int
    rule: int
    by_method: bool = field(default=False, compare=False)


_target = cache(Target)  # limited by the number of routes and rules
NO_RULE = -1
SHORT_TABLE = 8  # routes and rules
# Longer paths are looked up each time, to keep the cache small.
REMEMBERED_BYTES = 256


class Authorize:
    """The compiled tables. `locate` finds route and rule, `judge` evaluates the rule."""

    def __init__(self, routes: tuple[Route, ...], access: AccessSettings) -> None:
        self.routes = tuple(sorted(routes, key=_specificity))
        self._prefixes = tuple(
            (route.host, *compile_prefix(route.path.encode())) for route in self.routes
        )
        numbers = [routes.index(route) for route in self.routes]
        general = [(("access", "rules", at), rule) for at, rule in enumerate(access.rules)]
        # For each route: its own rules, then the general ones.
        self._rules = tuple(
            tuple(
                CompiledRule(rule, place, route.path)
                for place, rule in (
                    *((("routes", number, "rules", at), r) for at, r in enumerate(route.rules)),
                    *general,
                )
            )
            for number, route in zip(numbers, self.routes, strict=True)
        )
        self._default = CompiledRule(Rule(require=access.default), ("access", "default"))
        self._asks_address = any(rule.asks_address for rules in self._rules for rule in rules)
        # The tables do not change, so results are cached per path if there are many rules. With few
        # rules, evaluating costs no more than a look-up.
        self._find = self._locate
        if len(self.routes) + len(self._rules) > SHORT_TABLE:
            self._remembered = lru_cache(maxsize=8192)(self._locate)
            self._find = self._recall

    def serves(self, host: str) -> bool:
        """Whether any route has this host."""
        return any(route is None or host_matches(route, host) for route, *_ in self._prefixes)

    def locate(self, request: Accepted, path: bytes) -> Target | None:
        """Route and rule for this path in this request; None if no route's prefix covers it."""
        hop = request.hop
        return self._find(request.method, hop.host, path, hop.address)

    def locate_at(
        self, method: bytes, host: str, path: bytes, address: Address | None
    ) -> Target | None:
        """The same for another path than the request's own."""
        return self._find(method, host, path, address)

    def _recall(
        self, method: bytes, host: str, path: bytes, address: Address | None
    ) -> Target | None:
        find = self._remembered if len(path) <= REMEMBERED_BYTES else self._locate
        return find(method, host, path, address if self._asks_address else None)

    def _locate(
        self, method: bytes, host: str, path: bytes, address: Address | None
    ) -> Target | None:
        # `covers_path`, whose call would cost 20 ns per route
        for at, (pattern, prefix, below, escaped) in enumerate(self._prefixes):
            spelt = spell(path) if escaped else path
            if (spelt.startswith(below) or spelt == prefix) and (
                pattern is None or host_matches(pattern, host)
            ):
                return self._find_rule(at, method, host, path, address)
        return None

    def _find_rule(
        self, route: int, method: bytes, host: str, path: bytes, address: Address | None
    ) -> Target:
        """The first rule that applies, and whether the result depends on the method."""
        by_method = False
        for at, rule in enumerate(self._rules[route]):
            if rule.applies(method, host, path, address):
                return _target(route, at, by_method or bool(rule.methods))
            by_method = by_method or (bool(rule.methods) and rule.covers(host, path, address))
        return _target(route, NO_RULE, by_method)

    def list_asked(self, target: Target) -> tuple[CompiledRule, ...]:
        """The rules that are tried for a target, up to the one that decides."""
        rules = self._rules[target.route]
        return (*rules, self._default) if target.rule == NO_RULE else rules[: target.rule + 1]

    def is_ambiguous(self, request: Accepted, target: Target | None) -> bool:
        """Whether another reading of the path leads elsewhere than the raw one (promise 6)."""
        return any(self.locate(request, path) != target for path in request.other_readings)

    def depends_on_method(self, request: Accepted) -> bool:
        """True when another method could lead to another rule, however the path is read."""
        paths = (request.path, *request.other_readings)
        leads = [self.locate(request, path) for path in paths]
        return any(target is None or target.by_method for target in leads)

    def can_start(self, request: Accepted, session: Session | None, now: float) -> bool:
        """Whether the start page of the requested host is of use to this session: whether it leads
        to an application, the login or a second factor."""
        target = self.locate_at(b"GET", request.host, b"/", request.address)
        if target is None:
            return False
        return self.judge(target, session, request.address, now) is not Verdict.FORBIDDEN

    def is_public(self, target: Target) -> bool:
        """Whether everybody is allowed, so that the application need not know the user."""
        return self.rule(target).is_public

    def rule(self, target: Target) -> CompiledRule:
        """The rule that decides; if none applies, the default in the form of a rule."""
        return self._default if target.rule == NO_RULE else self._rules[target.route][target.rule]

    @property
    def has_basic(self) -> bool:
        """Whether any rule or route asks for Basic."""
        said = [route.basic for route in self.routes]
        said += [one.rule.basic for rules in self._rules for one in rules]
        return any(basic is not None for basic in said)

    def find_basic(self, target: Target) -> BasicSettings | None:
        """The setting of Basic: the rule's, else the route's."""
        basic = self.rule(target).rule.basic
        return self.routes[target.route].basic if basic is None else basic

    def judge(
        self, target: Target, session: Session | None, address: Address | None, now: float
    ) -> Verdict:
        """The verdict of the deciding rule on this session (live; complete, or a token's) or on a
        request without one."""
        rule = self.rule(target)
        if rule.is_public:
            return ALLOWED
        if session is None:
            return UNAUTHENTICATED if rule.demands else Verdict.FORBIDDEN
        if rule.admits_everyone:
            return ALLOWED
        lacks_factor = False
        for demand in rule.demands:
            if demand.admits(session.user, address):
                if not demand.two_factor or demand.has_factor(session, now):
                    return ALLOWED
                lacks_factor = True
        if lacks_factor and session.level is TOKEN:  # a program has no second factor
            is_token = session.kind == KIND  # not a password by Basic
            return Verdict.ALLOWED if rule.tokens and is_token else Verdict.FORBIDDEN
        return Verdict.SECOND_FACTOR_REQUIRED if lacks_factor else Verdict.FORBIDDEN

    def find_demand(
        self, target: Target, session: Session, address: Address | None
    ) -> Demand | None:
        """For a session without a second factor: the requirement that it would meet with one."""
        demands = self.rule(target).demands
        return next((one for one in demands if one.admits(session.user, address)), None)


def _specificity(route: Route) -> tuple[int, int, int]:
    """Exact hosts first, then wildcards by length, then no host; for the same host, the longest
    path first."""
    host = route.host or ""
    rank = 2 if not host else 1 if host.startswith("*.") else 0
    return rank, -len(host), -len(route.path)


class Prefix(NamedTuple):
    """The path of a route, and how the paths below it begin. `escaped`: requests are compared with
    it as `spell` writes them."""

    path: bytes
    below: bytes
    escaped: bool


def compile_prefix(path: bytes) -> Prefix:
    spelt = spell(path)
    return Prefix(spelt, spelt if spelt.endswith(b"/") else spelt + b"/", has_escapes(path))


def covers_path(prefix: Prefix, path: bytes) -> bool:
    """`/app` covers `/app` and `/app/x` but not `/apple`: a prefix ends at a segment boundary."""
    spelt = spell(path) if prefix.escaped else path
    return spelt.startswith(prefix.below) or spelt == prefix.path
