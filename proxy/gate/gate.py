"""The gate: identify, authorize, forward, in this order.

Deciding is pure and needs no waiting when memory knows the session; it must not know dialects,
pages or SQL. Any error on the way to a decision means nobody (promise 1).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from proxy.accounts.refusals import Refusal
from proxy.accounts.sessions import Session
from proxy.accounts.user import User
from proxy.gate.accept import Accepted
from proxy.gate.authorize import Authorize, Target, Verdict
from proxy.gate.comforts import comforts_of
from proxy.gate.cookies import Cookies, Header
from proxy.gate.decision import (
    Decision,
    Forward,
    Refuse,
    bad_request,
    conflicting,
    forbidden,
    not_found,
    second_factor_required,
    unauthenticated,
)
from proxy.gate.identify import NOBODY, Carried, Identify, Person
from proxy.gate.identity import identity_lines
from proxy.gate.outgoing import upstream_head

_log = structlog.get_logger("doorward.gate")


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
        is_ours: Callable[[bytes], bool],
        can_be_asked: Callable[[User], Awaitable[bool]],
        public_origin: str = "",
    ) -> None:
        self._comforts = tuple(comforts_of(route, public_origin) for route in authorize.routes)
        self._keeps_private = tuple(route.cache_control == "private" for route in authorize.routes)
        self._can_be_asked = can_be_asked
        self._authorize = authorize
        self._identify = identify
        self._cookies = cookies
        self._is_ours = is_ours

    def decide(self, request: Accepted, now: float) -> Decision | None:
        """The decision, or None when storage has to be asked who this is."""
        target = self._locate(request)
        if isinstance(target, Refuse):
            return target
        carried = self._identify.carried(request.scan, request.target)
        person = self._identify.peek(carried, now)
        if person is None:
            return None
        decision = self._judge(request, target, carried, person)
        if isinstance(decision, Forward):
            return decision
        return None if isinstance(decision, NeedsFactor) else decision.on(target.route)

    async def ask(self, request: Accepted, now: float) -> Decision:
        """The decision, with storage's help."""
        target = self._locate(request)
        if isinstance(target, Refuse):
            return target
        carried = self._identify.carried(request.scan, request.target)
        try:
            person = await self._identify.ask(carried, now)
        except Refusal as refusal:
            _log.error("identify_failed", reason=refusal.code, request=request.request_id)
            person = NOBODY
        decision = self._judge(request, target, carried, person)
        if isinstance(decision, NeedsFactor):
            decision = await self._lacking(decision.session, request, carried)
        return decision if isinstance(decision, Forward) else decision.on(target.route)

    def known(self, request: Accepted, now: float) -> Session | None:
        """For records: whose session a request carried, as far as memory tells."""
        return self._identify.known(self._identify.carried(request.scan, request.target), now)

    async def _lacking(self, session: Session, request: Accepted, carried: Carried) -> Refuse:
        """A session without its second factor: a way to give one, or a plain no."""
        try:
            if await self._can_be_asked(session.user):
                return second_factor_required(carried.target or request.target)
        except Refusal as refusal:
            _log.error("factors_unknown", reason=refusal.code, request=request.request_id)
        return forbidden()

    def _locate(self, request: Accepted) -> Target | Refuse:
        target = self._authorize.locate(request, request.path)
        if request.other_readings and (
            self._authorize.is_ambiguous(request, target)
            or any(map(self._is_ours, request.other_readings))
        ):
            return bad_request("its path leads elsewhere when it is read another way")
        return target or not_found()

    def _judge(
        self, request: Accepted, target: Target, carried: Carried, person: Person
    ) -> Decision | NeedsFactor:
        if person.conflict:
            return conflicting()
        session = person.session
        if session is not None and session.level != "full":
            session = None
        match self._authorize.judge(target, session):
            case Verdict.ALLOWED:
                comforts = self._comforts[target.route]
                if comforts is not None and (refusal := comforts.refusal(request)):
                    return refusal
                presets = self._authorize.routes[target.route].identity
                identity = b"" if session is None else identity_lines(session, presets)
                head = upstream_head(
                    request,
                    carried,
                    identity,
                    keep_overrides=not self._authorize.names_methods,
                    keep_bearer=person.foreign_bearer,
                    keep_pair=person.foreign_pair,
                )
                if comforts is not None:
                    head = comforts.head(head, request)
                return Forward(target.route, head, session, self._is_private(target, session))
            case Verdict.UNAUTHENTICATED:
                way_back = carried.target or request.target
                return unauthenticated(way_back, self._cleaning(request, carried))
            case Verdict.SECOND_FACTOR_REQUIRED:
                assert session is not None
                return NeedsFactor(session)
            case _:
                return forbidden()

    def _is_private(self, target: Target, session: Session | None) -> bool:
        """Whether what comes back is for this session, and for nobody in between to keep."""
        return (
            session is not None
            and self._keeps_private[target.route]
            and self._authorize.rule(target).require != "public"
        )

    def _cleaning(self, request: Accepted, carried: Carried) -> tuple[Header, ...]:
        """Two cookies of our name: end every variant, so that the next login works."""
        return tuple(self._cookies.expire_lines(request.host)) if carried.ambiguous else ()
