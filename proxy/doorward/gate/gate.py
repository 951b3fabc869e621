"""The gate: identify, authorize, forward, in this order.

Deciding is pure and needs no waiting when memory knows the session; it must not know dialects,
pages or SQL. Any error on the way to a decision means nobody (promise 1).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import product

from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.sessions.sessions import FULL, Session
from doorward.accounts.user import User
from doorward.gate.accept import Accepted
from doorward.gate.authorize import Authorize, Target, Verdict
from doorward.gate.cookies import Cookies, Header
from doorward.gate.decision import (
    Decision,
    Forward,
    Refuse,
    bad_request,
    conflicting,
    denied,
    forbidden,
    not_found,
    other_server,
    second_factor_required,
    unauthenticated,
    unavailable,
)
from doorward.gate.identify import NOBODY, Carried, Identify, Person
from doorward.gate.identity_headers import identity_lines
from doorward.gate.path_readings import BadPath, check_target, readings
from doorward.gate.request_head import before_id, upstream_head
from doorward.gate.route_rewriting import comforts_of
from doorward.gate.same_origin import bare, own_origins
from doorward.http1.second_targets import BadTarget, ForeignTarget, second_targets
from doorward.settings import Route


@dataclass(slots=True)
class Plan:
    """What of a decision follows from a request's bytes alone: where it leads, what it carries, and
    its head up to the id. Where the same bytes come again over the same way, it holds for them too;
    who asks is asked anew."""

    request: Accepted
    target: Target
    carried: Carried
    others: tuple[Target, ...] = ()  # what else it names, to be allowed as well
    # Made when they are first wanted.
    before_id: bytes | None = None
    unauthenticated: Refuse | None = None

    @property
    def may_come_again(self) -> bool:
        scan = self.request.scan
        told_id = self.request.trusted and scan.request_id is not None
        return scan.may_come_again and scan.carried is self.carried and not told_id

    def request_as(self, request_id: str) -> Accepted:
        """The request that it is planned for, under an id of its own."""
        if request_id == self.request.request_id:
            return self.request
        return replace(self.request, request_id=request_id)


@dataclass(frozen=True, slots=True)
class Telling:
    """What a route's application is told of a session, and whether its answers are that session's
    alone: where it is told who asks, and wherever a rule is not public."""

    presets: tuple[str, ...]
    on_public: tuple[str, ...]
    makes_private: bool

    @classmethod
    def on(cls, route: Route) -> "Telling":
        on_public = route.identity if route.identity_on_public else ()
        return cls(route.identity, on_public, route.cache_control == "private")

    def of(self, session: Session, is_public: bool) -> tuple[bytes, bool]:
        """The identity headers, and whether no cache in between may keep the answer."""
        presets = self.on_public if is_public else self.presets
        private = self.makes_private and (bool(presets) or not is_public)
        return identity_lines(session, presets), private


@dataclass(slots=True)
class NeedsFactor:
    """Not decided yet: whether this session's user has a second factor to give."""

    session: Session


class Gate:
    """Decides on accepted requests that are not for paths of ours.

    `is_ours` tells whether a raw path is one of ours: a path that is not, but could be read as
    one, leads elsewhere than it says. `can_be_asked` tells whether a user has a second factor.
    """

    def __init__(
        self,
        authorize: Authorize,
        identify: Identify,
        cookies: Cookies,
        is_internal: Callable[[bytes], bool],
        can_be_asked: Callable[[User], Awaitable[bool]],
        public_origin: str = "",
    ) -> None:
        self._comforts = tuple(comforts_of(route, public_origin) for route in authorize.routes)
        self._tellings = tuple(Telling.on(route) for route in authorize.routes)
        self._can_be_asked = can_be_asked
        self._authorize = authorize
        self._public_origin = public_origin
        self._identify = identify
        self._cookies = cookies
        self._is_internal = is_internal

    def plan(self, request: Accepted) -> Plan | Refuse:
        """What can be said before anybody asks who this is."""
        target = self._locate(request)
        if isinstance(target, Refuse):
            return target
        others = self._locate_others(request, target) if request.scan.targets else ()
        if isinstance(others, Refuse):
            return others
        carried = self._identify.carried(request.scan, request.target)
        return Plan(request, target, carried, others)

    def settle(self, plan: Plan, request_id: str, now: float) -> Decision | None:
        """The decision on a request, or None when storage has to be asked who this is."""
        person = self._identify.peek(plan.carried, now)
        if person is None:
            return None
        decision = self._judge(plan, request_id, person)
        if isinstance(decision, Forward):
            return decision
        return None if isinstance(decision, NeedsFactor) else decision.on(plan.target.route)

    def decide(self, request: Accepted, now: float) -> Decision | None:
        """Both at once."""
        plan = self.plan(request)
        return plan if isinstance(plan, Refuse) else self.settle(plan, request.request_id, now)

    async def ask(self, request: Accepted, now: float) -> Decision:
        """The decision, with storage's help."""
        plan = self.plan(request)
        if isinstance(plan, Refuse):
            return plan
        try:
            person = await self._identify.ask(plan.carried, now)
        except StorageUnavailable:
            return self._unidentified(plan)
        decision = self._judge(plan, request.request_id, person)
        if isinstance(decision, NeedsFactor):
            decision = await self._lacking(decision.session, request, plan.carried)
        return decision if isinstance(decision, Forward) else decision.on(plan.target.route)

    def _unidentified(self, plan: Plan) -> Decision:
        """Storage cannot say whose session it is: what is open to everybody stays open, and only
        what is known to be nobody's is called that."""
        decision = self._judge(plan, plan.request.request_id, NOBODY)
        return decision if isinstance(decision, Forward) else unavailable().on(plan.target.route)

    def known(self, request: Accepted, now: float) -> Session | None:
        """For records: whose session a request carried, as far as memory tells."""
        return self._identify.known(self._identify.carried(request.scan, request.target), now)

    async def _lacking(self, session: Session, request: Accepted, carried: Carried) -> Refuse:
        """A session without its second factor: a way to give one, or a plain no."""
        try:
            if await self._can_be_asked(session.user):
                return second_factor_required(carried.target or request.target)
        except StorageUnavailable:
            return unavailable()
        return self._forbidden(request, carried, session)

    def _forbidden(self, request: Accepted, carried: Carried, session: Session) -> Refuse:
        home = self._authorize.can_start(request, session)
        return forbidden(carried.target or request.target, home)

    def _locate(self, request: Accepted) -> Target | Refuse:
        target = self._authorize.locate(request, request.path)
        if request.other_readings and (
            self._authorize.is_ambiguous(request, target)
            or any(map(self._is_internal, request.other_readings))
        ):
            return bad_request("its path leads elsewhere when it is read another way")
        return target or not_found(self._authorize.can_start(request, None))

    def _locate_others(self, request: Accepted, target: Target) -> tuple[Target, ...] | Refuse:
        """Where the targets lead that headers name. What happens there may be a write, whatever
        the method of the request is called: both are asked about."""
        own = own_origins(request.scheme, request.authority, self._public_origin)
        found: dict[Target, None] = {}
        try:
            for second in second_targets(request.scan.targets):
                if second.site is not None and bare(*second.site) not in own:
                    return other_server()
                hosts = {request.host, request.host if second.site is None else _host(second.site)}
                check_target(second.rest)
                paths = (second.path, *readings(second.path))
                if any(map(self._is_internal, paths)):
                    return other_server()
                for host, method in product(hosts, {request.method, b"PUT"}):
                    leads = {
                        self._authorize.locate_at(method, host, path, request.address)
                        for path in paths
                    }
                    at = leads.pop()
                    if leads:
                        return bad_request("a header names a target with two readings")
                    if at is None or at.route != target.route:
                        return other_server()
                    found[at] = None
        except ForeignTarget:
            return other_server()
        except (BadTarget, BadPath) as fault:
            return bad_request(str(fault))
        return tuple(found)

    def _verdict(self, targets: tuple[Target, ...], session: Session | None) -> Verdict:
        """What the rules say of what a request names in its headers."""
        verdicts = (self._authorize.judge(target, session) for target in targets)
        return next((each for each in verdicts if each is not Verdict.ALLOWED), Verdict.ALLOWED)

    def _keeps_overrides(self, request: Accepted) -> bool:
        """Whether headers go on that ask for another method. Not where the rule could have been
        another one then; however the path is read."""
        paths = (request.path, *request.other_readings)
        leads = [self._authorize.locate(request, path) for path in paths]
        return not any(target is None or target.by_method for target in leads)

    def _judge(self, plan: Plan, request_id: str, person: Person) -> Decision | NeedsFactor:
        request, target, carried = plan.request, plan.target, plan.carried
        if person.conflict:
            return conflicting()
        session = person.session
        if session is not None and session.level is not FULL:
            session = None
        verdict = self._authorize.judge(target, session)
        if plan.others and verdict is Verdict.ALLOWED:
            verdict = self._verdict(plan.others, session)
        match verdict:
            case Verdict.ALLOWED:
                comforts = self._comforts[target.route]
                if comforts is not None and (refusal := comforts.refusal(request)):
                    return refusal
                identity, private = b"", False
                if session is not None:
                    is_public = self._authorize.rule(target).require == "public"
                    identity, private = self._tellings[target.route].of(session, is_public)
                before = plan.before_id
                if person.foreign_bearer or person.foreign_pair:
                    before = self._before_id(plan, person)  # for an application's own users
                elif before is None:
                    before = plan.before_id = self._before_id(plan, person)
                head = upstream_head(before, request_id, identity)
                if comforts is not None:
                    head = comforts.head(head, request)
                return Forward(target.route, head, session, private, carried.binds)
            case Verdict.UNAUTHENTICATED:
                if plan.unauthenticated is None:
                    way_back = carried.target or request.target
                    refusal = unauthenticated(way_back, self._cleaning(plan))
                    plan.unauthenticated = refusal.on(target.route)
                return plan.unauthenticated
            case Verdict.SECOND_FACTOR_REQUIRED:
                assert session is not None
                return NeedsFactor(session)
            case _ if session is None or self._authorize.rule(target).require == "deny":
                return denied(self._authorize.can_start(request, session))
            case _:
                return self._forbidden(request, carried, session)

    def _before_id(self, plan: Plan, person: Person) -> bytes:
        request = plan.request
        return before_id(
            request,
            plan.carried,
            keep_overrides=bool(request.scan.overrides) and self._keeps_overrides(request),
            keep_bearer=person.foreign_bearer,
            keep_pair=person.foreign_pair,
        )

    def _cleaning(self, plan: Plan) -> tuple[Header, ...]:
        """Two cookies of our name: end every variant, so that the next login works."""
        if not plan.carried.ambiguous:
            return ()
        scan = plan.request.scan
        return tuple(self._cookies.clearing_lines(scan.cookies, plan.request.host))


def _host(site: tuple[str, str]) -> str:
    """The host of a scheme and authority, as rules name it."""
    host, colon, port = site[1].rpartition(":")
    return (host if colon and port.isdigit() else site[1]).rstrip(".")
