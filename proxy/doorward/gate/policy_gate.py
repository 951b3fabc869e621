"""The gate if there is a decision in Python in addition to the rules.

The function is called for every request that the gate decides on, once the caller is known. It can
refuse any request. It can allow a request that the rules refuse to this user, but not one that is
refused for another reason. See docs/guides/decisions-in-python.md.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

import structlog

from doorward.accounts.session import FULL, TOKEN
from doorward.accounts.sessions.sessions import Session
from doorward.gate.accept import Accepted, Address
from doorward.gate.authorize import Authorize, Target, Verdict
from doorward.gate.decision import Decision, Forward, policy_denied, policy_failed, unavailable
from doorward.gate.gate import Gate, RequestFacts
from doorward.gate.identify import NOBODY, Caller
from doorward.policy import Allow, Deny, Identity, Request

_log = structlog.get_logger("doorward.gate")

TRIES = 3


class PolicyFailed(Exception):
    """The function failed, for the reason in the message."""


# Raises PolicyFailed.
AskPolicy = Callable[[Request, Identity | None], Awaitable[Allow | Deny | None]]


class AllowingAuthorize(Authorize):
    """The same tables after the function has allowed a request: they only require a second factor
    of the user. Rules that refuse every user still apply."""

    def judge(
        self, target: Target, session: Session | None, address: Address | None, now: float
    ) -> Verdict:
        verdict = super().judge(target, session, address, now)
        rule = self.rule(target)
        if rule.is_deny or any(demand.two_factor for demand in rule.demands):
            return verdict
        return Verdict.ALLOWED


class PolicyGate(Gate):
    """`begin` has to be called before the first request: `allowing` is the same gate over an
    `AllowingAuthorize`."""

    def begin(self, allowing: Gate, ask: AskPolicy, clock: Callable[[], float]) -> None:
        self._allowing = allowing
        self._ask_policy = ask
        self._clock = clock

    def decide(self, facts: RequestFacts, now: float) -> Decision | None:
        """Always None: the function is called in `ask`, in a task."""
        return None

    async def ask(self, facts: RequestFacts, now: float) -> Decision:
        """The decision. If the session ended in the meantime, decide again."""
        for _ in range(TRIES):
            caller, refusal = await self._find_caller(facts, now)
            if refusal is not None:  # public paths stay open
                decision = await self.decide_for(facts, NOBODY, now)
                passes = isinstance(decision, Forward)
                return decision if passes else refusal.on(facts.target.route)
            decision = await self.decide_for(facts, caller, now)
            if caller.session is None:
                return decision
            now = self._clock()
            again, refusal = await self._find_caller(facts, now)
            if refusal is None and _is_same(again.session, caller.session):
                return decision
        return unavailable().on(facts.target.route)

    async def decide_for(self, facts: RequestFacts, caller: Caller, now: float) -> Decision:
        """The decision for the user, once that is known."""
        decision = await self._decide_for(facts, caller, now)
        if isinstance(decision, Forward) and decision.keeps is not None:
            # The function may have decided by the request's method, not by one in an override
            # header.
            decision.keeps = replace(decision.keeps, overrides=False)
        return decision

    async def _decide_for(self, facts: RequestFacts, caller: Caller, now: float) -> Decision:
        if caller.conflict:
            return await super().decide_for(facts, caller, now)
        session = caller.session
        is_usable = session is not None and (
            session.level is FULL
            or (session.level is TOKEN and self._admits(session, facts.request, now))
        )
        identity = build_identity(session) if is_usable and session is not None else None
        request = self._describe_request(facts)
        try:
            verdict = await self._ask_readings(request, identity, facts.request.other_readings)
        except PolicyFailed as fault:
            _log.error("policy_failed", reason=str(fault), request=facts.request.request_id)
            return policy_failed().on(facts.target.route)
        if isinstance(verdict, Deny):
            user = "" if identity is None else identity.username
            parts = {"reason": verdict.reason, "user": user, "route": request.route}
            _log.info("policy_denied", **parts, request=facts.request.request_id)
            return policy_denied().on(facts.target.route)
        # A session that does not count here is not treated as a public request instead, and the
        # function has not seen a second target that a header names (WebDAV).
        if isinstance(verdict, Allow) and (is_usable or session is None) and not facts.others:
            return await self._allowing.decide_for(facts, caller, now)
        return await super().decide_for(facts, caller, now)

    async def _ask_readings(
        self, request: Request, identity: Identity | None, others: Collection[bytes]
    ) -> Allow | Deny | None:
        """The answer for the path as it was sent and for each other way in which an application
        could read it. Deny for one is Deny; only Allow for all is Allow. Raises PolicyFailed."""
        verdict = await self._ask_policy(request, identity)
        for path in sorted(others):
            if isinstance(verdict, Deny):
                break
            reading = replace(request, path=path.decode("latin-1"))
            found = await self._ask_policy(reading, identity)
            if isinstance(found, Deny) or found is None:
                verdict = found if isinstance(found, Deny) else None
        return verdict

    def _describe_request(self, facts: RequestFacts) -> Request:
        request: Accepted = facts.request
        target = facts.credentials.target or request.target
        return Request(
            method=request.method.decode("latin-1"),
            scheme=request.scheme,
            host=request.host,
            path=request.path.decode("latin-1"),
            query=target.partition(b"?")[2].decode("latin-1"),
            address=request.address_text,
            headers=tuple(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in request.headers.passing
            ),
            route=self._authorize.routes[facts.target.route].name,
            is_websocket=bool(request.upgrade),
            is_verification=facts.subrequest is not None,
        )


def _is_same(session: Session | None, other: Session) -> bool:
    """Whether the session, its level and its user are unchanged."""
    return (
        session is not None
        and session.number == other.number
        and session.level is other.level
        and session.user == other.user
    )


def build_identity(session: Session) -> Identity:
    """The user of a session, as code outside of Doorward sees it."""
    user = session.user
    return Identity(
        username=user.username,
        name=user.name,
        email=user.email,
        groups=tuple(user.groups),
        roles=tuple(user.roles),
        session_id=session.id,
        level=session.level,
        id=user.id,
        two_factor=session.second_factor_at is not None,
    )
