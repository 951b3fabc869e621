"""Why a request is allowed or refused, and what would be sent, from the code that decides.

Knows the gate and the head for an upstream; must not know who reads the result, or how. Nothing is
sent, and the decision uses an invented session.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from doorward.accounts.session import FULL
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.accept import Accept, Accepted
from doorward.gate.authorize import Authorize, Target
from doorward.gate.decision import Forward, Refuse
from doorward.gate.front_proxies import ANY, Subrequest
from doorward.gate.gate import Gate, RequestFacts
from doorward.gate.identify import NOBODY, Caller
from doorward.gate.rules import CompiledRule, Condition, host_matches
from doorward.gate.targets import LastHop, Unfit
from doorward.http1.arrival import Arrival
from doorward.http1.headers import BadHeaders
from doorward.rewrite.identity_headers import ASSERTION
from doorward.rewrite.request_head import RequestHeads
from doorward.rewrite.route_credentials import RouteCredentials, add_line
from doorward.settings import Settings
from doorward.settings.faults import KeyPath, format_path
from doorward.web.answers import unfit

# The application would trust it, so nobody gets one for another user.
_ASSERTION = re.compile(rf"(\r\n{ASSERTION}: )[^\r]*", re.IGNORECASE)

FORWARDED, REFUSED, INTERNAL = "forwarded", "refused", "internal"


class NoUrl(Exception):
    """The question was about neither an http URL nor a path."""


@dataclass(frozen=True, slots=True)
class Question:
    """A possible request: its user (None: no session), its address, and whether a second factor was
    just given."""

    method: str
    url: str
    user: User | None = None
    address: str = "127.0.0.1"
    has_factor: bool = False


@dataclass(frozen=True, slots=True)
class SettingPlace:
    """The place of a setting: its key, and its line if there is a file."""

    key: str
    line: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class AskedRule:
    """A rule that was tried: it applies if every condition holds."""

    place: SettingPlace
    requires: str
    conditions: tuple[Condition, ...]
    applies: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """Another way to read the path, and where that would lead."""

    path: str
    leads_to: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """`rules` were tried in this order, and the last one decided; the conditions of one alternative
    of `demands` must all hold. `head` is what the upstream would get."""

    outcome: str
    status: int = 0
    code: str = ""
    message: str = ""
    user: str = ""
    level: str = "nobody"
    address: str = ""
    route: SettingPlace | None = None
    upstream: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()
    rules: tuple[AskedRule, ...] = ()
    demands: tuple[tuple[Condition, ...], ...] = ()
    head: str = ""
    notes: tuple[str, ...] = field(default=())


Explain = Callable[[Question], Awaitable[Explanation]]


class Explainer:
    """Answers questions about requests as the gateway would."""

    def __init__(
        self,
        settings: Settings,
        accept: Accept,
        gate: Gate,
        authorize: Authorize,
        heads: RequestHeads,
        credentials: Mapping[int, RouteCredentials],
        is_internal: Callable[[bytes], bool],
    ) -> None:
        self._credentials = credentials
        self._settings = settings
        self._accept = accept
        self._gate = gate
        self._authorize = authorize
        self._heads = heads
        self._is_internal = is_internal

    async def explain(self, question: Question, now: float) -> Explanation:
        """Raises NoUrl."""
        arrival = self._arrive(question)
        try:
            request = self._accept(arrival)
        except (Unfit, BadHeaders, LastHop) as fault:
            refusal = unfit(fault, arrival)
            return Explanation(REFUSED, refusal.status, refusal.code, refusal.message)
        if self._is_internal(request.path):
            return Explanation(INTERNAL, message="Doorward answers this path itself.")
        session = _make_session(question, now)
        facts = self._gate.facts(request, self._subrequest(request))
        if isinstance(facts, Refuse):
            return self._tell(question, request, None, session, facts, now)
        caller = NOBODY if session is None else Caller(session)
        decision = await self._gate.decide_for(facts, caller, now)
        shown = b""
        if isinstance(decision, Forward) and decision.credentials:
            shown = await self._credentials[decision.route].show(question.user)
            decision.credentials = False
        return self._tell(question, request, facts, session, decision, now, shown)

    def _subrequest(self, request: Accepted) -> Subrequest | None:
        """Set for the hosts that front proxies can ask about, whose routes need no upstream."""
        asked = self._settings.forward_auth
        if asked is None or not any(host_matches(host, request.host) for host in asked.hosts):
            return None
        return Subrequest(ANY)

    def _arrive(self, question: Question) -> Arrival:
        url = question.url
        if url.startswith("/"):
            url = self._settings.public_origin + url
        try:
            scheme, host, target = _split(url)
            method = question.method.encode()
        except ValueError:
            message = f"{question.url!r} is neither a URL of http or https nor a path"
            raise NoUrl(message) from None
        return Arrival(method, target, [(b"host", host)], question.address, scheme)

    def _tell(
        self,
        question: Question,
        request: Accepted,
        facts: RequestFacts | None,
        session: Session | None,
        decision: Forward | Refuse,
        now: float,
        credentials: bytes = b"",
    ) -> Explanation:
        """`credentials` are the lines of the route's own, their secrets hidden."""
        target = self._authorize.locate(request, request.path)
        head, status, code, message = "", 0, "", ""
        if isinstance(decision, Forward):
            assert facts is not None
            made = self._heads.make(facts, decision, request.request_id)
            head = add_line(made, credentials).decode("latin-1")
            head = _ASSERTION.sub(r"\1(signed)", head)
        else:
            status, code, message = decision.status, decision.code, decision.message
        user = question.user
        rules = () if target is None else self._list_rules(request, target)
        demands = () if target is None else self._authorize.rule(target).demands
        return Explanation(
            outcome=FORWARDED if head else REFUSED,
            status=status,
            code=code,
            message=message,
            user="" if user is None else user.username,
            level=_level(session),
            address=request.address_text,
            route=None if target is None else self._route_place(target),
            upstream=() if target is None else self._list_upstreams(target),
            readings=tuple(
                self._read(request, path, target) for path in sorted(request.other_readings)
            ),
            rules=rules,
            demands=tuple(one.explain(session, request.address, now) for one in demands),
            head=head,
            notes=_notes(question),
        )

    def _list_rules(self, request: Accepted, target: Target) -> tuple[AskedRule, ...]:
        asked = request.method, request.host, request.path, request.address
        return tuple(
            AskedRule(
                self._rule_place(rule),
                _requires(rule),
                rule.explain(*asked),
                rule.applies(*asked),
            )
            for rule in self._authorize.list_asked(target)
        )

    def _read(self, request: Accepted, path: bytes, target: Target | None) -> Reading:
        shown = path.decode("ascii", "backslashreplace")
        if self._is_internal(path):
            return Reading(shown, "a path of Doorward's own", agrees=False)
        found = self._authorize.locate(request, path)
        if found is None:
            return Reading(shown, "no route", agrees=target is None)
        rule = self._rule_place(self._authorize.rule(found))
        leads_to = f"{self._route_place(found).key}, {rule.key}"
        return Reading(shown, leads_to, agrees=found == target)

    def _place(self, path: KeyPath, name: str = "") -> SettingPlace:
        return SettingPlace(format_path(path), self._settings.find_line(path), name)

    def _route_place(self, target: Target) -> SettingPlace:
        route = self._authorize.routes[target.route]
        number = self._settings.routes.index(route)
        return self._place(("routes", number), route.name)

    def _list_upstreams(self, target: Target) -> tuple[str, ...]:
        return tuple(map(str, self._authorize.routes[target.route].upstream))

    def _rule_place(self, rule: CompiledRule) -> SettingPlace:
        return self._place(rule.place, rule.rule.name or "")


def _requires(rule: CompiledRule) -> str:
    if rule.is_public:
        return "public"
    if rule.is_deny:
        return "deny"
    kinds = ["two_factor" if one.two_factor else "authenticated" for one in rule.demands]
    return " or ".join(dict.fromkeys(kinds))


def _split(url: str) -> tuple[str, bytes, bytes]:
    """Scheme, host and target as typed, because the ways to read a path matter. Raises ValueError
    also for text that cannot be encoded, such as arguments that are not UTF-8."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError
    target = url.partition("://")[2][len(parts.netloc) :].partition("#")[0] or "/"
    target = target if target.startswith("/") else "/" + target
    return parts.scheme, parts.netloc.encode(), target.encode()


def _level(session: Session | None) -> str:
    if session is None:
        return "nobody"
    return "authenticated" if session.second_factor_at is None else "two_factor"


def _notes(question: Question) -> tuple[str, ...]:
    user = question.user
    if user is None or user.is_usable:
        return ()
    state = "banned" if user.banned else "disabled"
    return (f"{user.username} is {state}: no session of theirs counts.",)


def _make_session(question: Question, now: float) -> Session | None:
    """A session that was just opened; None without a user, and for users whose sessions are not
    valid."""
    user = question.user
    if user is None or not user.is_usable:
        return None
    return Session(
        number=0,
        id="explain",
        user=user,
        iat=int(now),
        created_at=now,
        last_used_at=now,
        idle_timeout_s=None,
        expires_at=now + 1,
        remember=False,
        address=question.address,
        user_agent="",
        information="",
        kind="explain",
        level=FULL,
        second_factor_at=now if question.has_factor else None,
    )


# In words


def list_lines(found: Explanation) -> Iterator[str]:
    """The result, one line per item, as commands and pages show it."""
    by = f"by {found.user} ({found.level})" if found.user else "not logged in,"
    yield f"  {by} from {found.address or 'anywhere'}"
    yield from (f"  {note}" for note in found.notes)
    if found.readings:
        yield "Other readings of the path"
        for reading in found.readings:
            mark = "same" if reading.agrees else "DIFFERS"
            yield f"  {reading.path}  {reading.leads_to}  {mark}"
    if found.route is not None:
        to = ", ".join(found.upstream) or "where the front proxy sends it"
        yield f"Route  {_place(found.route)} to {to}"
    yield from _rule_lines(found.rules)
    for number, demand in enumerate(found.demands):
        yield "Requirements" if number == 0 else "  or"
        yield from (f"  {_condition(each)}" for each in demand)
    yield _verdict(found)
    if found.head:
        yield "Headers for the application, besides the client's own"
        yield from (f"  {line}" for line in found.head.rstrip("\r\n").split("\r\n"))


def _rule_lines(rules: tuple[AskedRule, ...]) -> Iterator[str]:
    for number, rule in enumerate(rules):
        if number == 0:
            yield "Rules"
        mark = "applies" if rule.applies else "does not apply"
        yield f"  {_place(rule.place)}: {mark}; requires {rule.requires}"
        yield from (f"    {_condition(each)}" for each in rule.conditions)


def _place(place: SettingPlace) -> str:
    name = f" {place.name!r}" if place.name else ""
    line = "" if place.line is None else f" (line {place.line})"
    return f"{place.key}{name}{line}"


def _condition(condition: Condition) -> str:
    return f"[{'x' if condition.holds else ' '}] {condition.name}: {condition.says}"


def _verdict(found: Explanation) -> str:
    if found.status:
        return f"Refused  {found.status} {found.code}: {found.message}"
    return "Forwarded" if found.head else f"Answered by Doorward  {found.message}"
