"""The gate: identify, authorize, decide, in this order.

Deciding is pure and does not wait if the session is in memory; it must not know dialects, pages or
SQL. Any error on the way to a decision means "no session" (promise 1).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import product

from doorward import paths
from doorward.accounts.refusals import LockedOut, Overloaded, StorageUnavailable, retry_after
from doorward.accounts.session import TOKEN
from doorward.accounts.sessions.sessions import FULL, Session
from doorward.accounts.user import User
from doorward.gate.accept import Accepted
from doorward.gate.authorize import ALLOWED, UNAUTHENTICATED, Authorize, Target, Verdict
from doorward.gate.client_kind import sends_fetch_metadata
from doorward.gate.cookies import Cookies, Header
from doorward.gate.credentials import Credentials
from doorward.gate.decision import (
    Decision,
    Forward,
    Keeps,
    Refuse,
    bad_request,
    beyond_token,
    conflicting,
    denied,
    forbidden,
    locked_out,
    moved,
    not_found,
    other_server,
    overloaded,
    second_factor_required,
    unauthenticated,
    unavailable,
    unfit_identity,
)
from doorward.gate.front_proxies import Subrequest
from doorward.gate.identify import NOBODY, Caller, Identify
from doorward.gate.identity_policy import IdentityPolicy, Tell, UnfitIdentity
from doorward.gate.route_demands import compile_demands
from doorward.gate.same_origin import build_origin, own_origins
from doorward.gate.tokens import TokenCarrier
from doorward.http1.second_targets import BadTarget, ForeignTarget, read_second_targets
from doorward.path_readings import BadPath, check_target, list_readings
from doorward.settings import Route

NOT_FOUND = 404


@dataclass(slots=True)
class RequestFacts:
    """The part of a decision that only depends on a request's bytes and its connection: its target
    and its credentials. It stays valid when the same bytes are received again; the user is looked
    up each time."""

    request: Accepted
    target: Target
    credentials: Credentials
    others: tuple[Target, ...] = ()  # other targets in its headers, which must be allowed too
    subrequest: Subrequest | None = None  # the verification request of a front proxy
    # Made from the same bytes when first used.
    before_id: bytes | None = None
    unauthenticated: Refuse | None = None

    @property
    def has_own_id(self) -> bool:
        """Whether a trusted proxy set the request's id, which then differs for the same bytes."""
        return self.request.trusted and self.request.headers.request_id is not None

    def request_as(self, request_id: str) -> Accepted:
        """The request that these facts describe, with another id."""
        if request_id == self.request.request_id:
            return self.request
        return self.request.renamed(request_id)


@dataclass(slots=True)
class NeedsFactor:
    """Not decided yet, because it depends on whether the user has a second factor. `max_age_s`: the
    maximum age of the last one."""

    session: Session
    max_age_s: float | None


class Gate:
    """Decides on accepted requests that are not for Doorward's own paths.

    `is_ours` returns whether a raw path is one of Doorward's: if a path is not but could be read as
    one, it is ambiguous. `can_be_asked` returns whether a user has a second factor; `tell` makes
    the identity headers for each route of `authorize`, in its order.
    """

    def __init__(
        self,
        authorize: Authorize,
        identify: Identify,
        cookies: Cookies,
        is_internal: Callable[[bytes], bool],
        can_be_asked: Callable[[User], Awaitable[bool]],
        tell: Sequence[Tell],
        public_origin: str = "",
        api_tokens: TokenCarrier | None = None,
    ) -> None:
        self._api_tokens = api_tokens
        # Front proxies ask about these; nothing is forwarded.
        self._leading_nowhere = frozenset(
            number for number, route in enumerate(authorize.routes) if not route.upstream
        )
        self._has_basic = authorize.has_basic
        self._api_keys = tuple(_read_api_key(route) for route in authorize.routes)
        # For routes with credentials: whether these are sent on public paths too.
        self._credentials = {
            number: route.credentials.on_public
            for number, route in enumerate(authorize.routes)
            if route.credentials is not None
        }
        self._demands = tuple(compile_demands(route, public_origin) for route in authorize.routes)
        self._identity_policies = tuple(map(IdentityPolicy.on, authorize.routes, tell))
        self._can_be_asked = can_be_asked
        self._authorize = authorize
        self._public_origin = public_origin
        self._identify = identify
        self._cookies = cookies
        self._is_internal = is_internal

    def facts(
        self, request: Accepted, subrequest: Subrequest | None = None
    ) -> RequestFacts | Refuse:
        """What is known before the session is looked up. `subrequest`: a front proxy asks about the
        request, which is not forwarded."""
        target = self._locate(request)
        if isinstance(target, Refuse):
            if target.status == NOT_FOUND and not self._authorize.serves(request.host):
                return _lead_to_pages(request)
            return target
        if subrequest is None and target.route in self._leading_nowhere:
            return _lead_to_pages(request)
        others = self._locate_others(request, target) if request.headers.targets else ()
        if isinstance(others, Refuse):
            return others
        credentials = self._read_credentials(request, target)
        return RequestFacts(request, target, credentials, others, subrequest)

    def decide(self, facts: RequestFacts, now: float) -> Decision | None:
        """The decision on a request, or None if it needs storage: see `ask`."""
        caller = self._identify.peek(facts.credentials, now)
        if caller is None:
            return None
        decision = self._judge(facts, caller, now)
        if isinstance(decision, Forward):
            return decision
        return None if isinstance(decision, NeedsFactor) else decision.on(facts.target.route)

    async def ask(self, facts: RequestFacts, now: float) -> Decision:
        """The decision, using storage if needed."""
        caller, refusal = await self._find_caller(facts, now)
        if refusal is not None:
            return self._judge_unknown(facts, refusal, now)
        return await self.decide_for(facts, caller, now)

    async def _find_caller(self, facts: RequestFacts, now: float) -> tuple[Caller, Refuse | None]:
        """The caller, or why it is not known."""
        try:
            return await self._identify.ask(facts.credentials, now), None
        except StorageUnavailable:
            return NOBODY, unavailable()
        except Overloaded:
            return NOBODY, overloaded()
        except LockedOut as refusal:
            return NOBODY, locked_out(retry_after(refusal) or 1)

    async def decide_for(self, facts: RequestFacts, caller: Caller, now: float) -> Decision:
        """The decision for a known caller."""
        decision = self._judge(facts, caller, now)
        if isinstance(decision, NeedsFactor):
            decision = await self._require_second_factor(decision, facts, now)
        return decision if isinstance(decision, Forward) else decision.on(facts.target.route)

    def _judge_unknown(self, facts: RequestFacts, refusal: Refuse, now: float) -> Decision:
        """The user is not known at the moment: public paths stay open. Only requests that certainly
        have no session are treated as having none."""
        decision = self._judge(facts, NOBODY, now)
        return decision if isinstance(decision, Forward) else refusal.on(facts.target.route)

    def known(self, request: Accepted, now: float) -> Session | None:
        """The session of a request, if it is in memory. Only for records."""
        target = self._authorize.locate(request, request.path)
        if target is None:
            return None
        return self._identify.known(self._read_credentials(request, target), now)

    def _read_credentials(self, request: Accepted, target: Target) -> Credentials:
        basic = self._authorize.find_basic(target) if self._has_basic else None
        read = self._identify.read(request, self._api_keys[target.route], basic)
        if target.route in self._credentials:
            read.withhold_authorization()
        return read

    async def _require_second_factor(
        self, needed: NeedsFactor, facts: RequestFacts, now: float
    ) -> Refuse:
        """A session without a second factor: an answer that leads to one, or a refusal."""
        way_back = facts.credentials.target or facts.request.target
        try:
            if await self._can_be_asked(needed.session.user):
                return second_factor_required(way_back, needed.max_age_s)
        except StorageUnavailable:
            return unavailable()
        return self._forbidden(facts.request, facts.credentials, needed.session, now)

    def _forbidden(
        self, request: Accepted, credentials: Credentials, session: Session, now: float
    ) -> Refuse:
        home = self._authorize.can_start(request, session, now)
        return forbidden(credentials.target or request.target, home)

    def _locate(self, request: Accepted) -> Target | Refuse:
        target = self._authorize.locate(request, request.path)
        if request.other_readings and (
            self._authorize.is_ambiguous(request, target)
            or any(map(self._is_internal, request.other_readings))
        ):
            return bad_request("its path can be read in another way that leads elsewhere")
        return target or not_found(self._authorize.can_start(request, None, 0.0))

    def _locate_others(self, request: Accepted, target: Target) -> tuple[Target, ...] | Refuse:
        """The targets of URLs in headers. The request may write to them, whatever its method is
        called, so the rules are checked for its method and for PUT."""
        own = own_origins(request.scheme, request.authority, self._public_origin)
        found: dict[Target, None] = {}
        try:
            for second in read_second_targets(request.headers.targets):
                if second.site is not None and build_origin(*second.site) not in own:
                    return other_server()
                hosts = {request.host, second.host or request.host}
                check_target(second.rest)
                paths = (second.path, *list_readings(second.path))
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

    def _judge_others(
        self, facts: RequestFacts, session: Session | None, now: float
    ) -> tuple[Verdict, Target]:
        """The verdict of the rules on the targets in a request's headers, and which target it
        concerns."""
        for target in facts.others:
            verdict = self._authorize.judge(target, session, facts.request.address, now)
            if verdict is not ALLOWED:
                return verdict, target
        return ALLOWED, facts.target

    def _judge(self, facts: RequestFacts, caller: Caller, now: float) -> Decision | NeedsFactor:
        request, target, credentials = facts.request, facts.target, facts.credentials
        if caller.conflict:
            return conflicting()
        session, rule = caller.session, self._authorize.rule(target)
        if session is not None and rule.activity:
            self._identify.use(session, now)
        is_beyond = False
        if session is not None and session.level is not FULL:
            is_beyond = session.level is TOKEN and not self._admits(session, request, now)
            session = session if session.level is TOKEN and not is_beyond else None
        verdict = self._authorize.judge(target, session, request.hop.address, now)
        decisive = target
        if facts.others and verdict is ALLOWED:
            verdict, decisive = self._judge_others(facts, session, now)
        if facts.subrequest is not None and verdict is ALLOWED:
            verdict = _narrow(facts.subrequest, session)
        if verdict is ALLOWED:
            demands = self._demands[target.route]
            if demands is not None and (refusal := demands.refusal(request)):
                return refusal
            identity, private = b"", False
            policy = self._identity_policies[target.route]
            if session is None:
                # A decision in Python allowed what the rules refuse to this user: others may be
                # refused.
                private = policy.makes_private and not rule.is_public
            else:
                try:
                    identity, private = policy.apply(session, rule.is_public, now)
                except UnfitIdentity:
                    return unfit_identity()
            forward = Forward(target.route, session, identity, private, credentials.binds)
            if target.route in self._credentials:
                # A decision in Python can also allow a request without a session.
                self._add_credentials(forward, rule.is_public or session is None)
            if caller.foreign_bearer or caller.foreign_pair or request.headers.overrides:
                overrides = bool(request.headers.overrides)
                overrides = overrides and not self._authorize.depends_on_method(request)
                if session is not None and session.scope is not None and session.scope.methods:
                    overrides = False
                forward.keeps = Keeps(caller.foreign_bearer, caller.foreign_pair, overrides)
            return forward
        if is_beyond:
            return beyond_token()
        if verdict is UNAUTHENTICATED:
            if facts.unauthenticated is None:
                way_back = credentials.target or request.target
                cookies = self._expire_duplicates(facts)
                facts.unauthenticated = unauthenticated(
                    way_back, cookies, target.route, basic=self._asks_basic(facts)
                )
            return facts.unauthenticated
        if verdict is Verdict.SECOND_FACTOR_REQUIRED:
            assert session is not None
            demand = self._authorize.find_demand(decisive, session, request.address)
            return NeedsFactor(session, None if demand is None else demand.max_age_s)
        if session is None or self._authorize.rule(decisive).is_deny:
            return denied(self._authorize.can_start(request, session, now))
        return self._forbidden(request, credentials, session, now)

    def forward_for(self, facts: RequestFacts, session: Session, now: float) -> Forward:
        """How to send a request of Doorward's own for a session, without checking rules. Raises
        UnfitIdentity."""
        route = facts.target.route
        identity, private = self._identity_policies[route].apply(session, False, now)
        forward = Forward(route, session, identity, private)
        if route in self._credentials:
            self._add_credentials(forward, is_public=False)
        return forward

    def _add_credentials(self, forward: Forward, is_public: bool) -> None:
        """Send the route's credentials if a rule allowed this user; on public paths only if the
        route says so. Answers to a user's own credentials are private to that user."""
        forward.credentials = not is_public or self._credentials[forward.route]
        if forward.credentials and forward.session is not None:
            forward.private |= self._identity_policies[forward.route].makes_private

    def _admits(self, session: Session, request: Accepted, now: float) -> bool:
        """Whether a token's scope includes this request; records its use."""
        return self._api_tokens is not None and self._api_tokens.admits(session, request, now)

    def _asks_basic(self, facts: RequestFacts) -> bool:
        """Whether to ask a program for name and token. Scripts of pages are not asked, because
        their browser would show a dialog."""
        if not self._has_basic or self._authorize.find_basic(facts.target) is None:
            return False
        return not sends_fetch_metadata(facts.request.headers.passing)

    def _expire_duplicates(self, facts: RequestFacts) -> tuple[Header, ...]:
        """Two cookies with Doorward's name: expire every variant, so that the next login works."""
        if not facts.credentials.ambiguous:
            return ()
        lines = facts.request.headers.cookies
        return tuple(self._cookies.clearing_lines(lines, facts.request.host))


def _narrow(subrequest: Subrequest, session: Session | None) -> Verdict:
    """Narrow the decision on an allowed request if the verification only asks for certain users."""
    if subrequest.narrowing is None:
        return ALLOWED
    if session is None:
        return UNAUTHENTICATED
    return ALLOWED if subrequest.narrowing.admits(session.user) else Verdict.FORBIDDEN


def _lead_to_pages(request: Accepted) -> Refuse:
    """There is no application here, but the start page leads to one of Doorward's pages."""
    if request.path == b"/" and request.method in (b"GET", b"HEAD"):
        return moved(paths.ACCOUNT.encode())
    return not_found(home=False)


def _read_api_key(route: Route) -> bytes | None:
    """The name of the header that can carry an API token on this route, in lower case."""
    name = route.api_key_header
    return None if name is None else name.lower().encode()
