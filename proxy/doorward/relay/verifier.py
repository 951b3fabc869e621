"""Answers front proxies that ask about a request (forward-auth), which this process does not
forward.

Must not decide who has access; the gate does, as for any other request.
"""

import structlog

from doorward.gate.accept import Accepted
from doorward.gate.authorize import Authorize
from doorward.gate.decision import (
    Forward,
    Refuse,
    bad_request,
    broken,
    cross_origin,
    unfit_identity,
)
from doorward.gate.front_proxies import Subrequest
from doorward.gate.gate import RequestFacts
from doorward.gate.identity_policy import UnfitIdentity
from doorward.gate.verification import Unverifiable, Verifications
from doorward.http1.arrival import Received
from doorward.http1.headers import BadHeaders
from doorward.http1.response_head import ResponseHead
from doorward.relay.tunnels import Tunnels
from doorward.rewrite.verification_head import VerificationHeads
from doorward.web.verification_answers import VerificationAnswers

_log = structlog.get_logger("doorward.gate")


class Verifier:
    """`find` returns what is asked at a target, if front proxies can ask there."""

    def __init__(
        self,
        verifications: Verifications,
        authorize: Authorize,
        heads: VerificationHeads,
        answers: VerificationAnswers,
        tunnels: Tunnels,
    ) -> None:
        self._verifications = verifications
        self.find = verifications.find
        self._authorize = authorize
        self._heads = heads
        self.answers = answers
        self._tunnels = tunnels

    def read(
        self, subrequest: Subrequest, arrival: Received
    ) -> tuple[Accepted, Subrequest] | Refuse:
        """The request that is asked about and how, or the reason why there is no answer."""
        try:
            return self._verifications.read(subrequest, arrival)
        except Unverifiable as fault:
            return Refuse(fault.status, fault.code, fault.reason)
        except BadHeaders as fault:
            return bad_request(str(fault))
        except Exception:  # any error on the way refuses the request (promise 1)
            _log.exception("decision_failed")
            return Refuse(503, broken().code, broken().message)

    def allow(
        self, facts: RequestFacts, decision: Forward, subrequest: Subrequest, now: float
    ) -> ResponseHead | Refuse:
        """The answer that allows a request, unless the decision depends on something that Doorward
        would remove before forwarding, because the front proxy forwards it."""
        refusal = self._judge(facts, decision, subrequest)
        if refusal is not None:
            return refusal
        try:
            return self._heads.make(decision, subrequest.front, now)
        except UnfitIdentity:
            return unfit_identity()
        except Exception:  # the same
            _log.exception("decision_failed", request=facts.request.request_id)
            return broken()

    def _judge(
        self, facts: RequestFacts, decision: Forward, subrequest: Subrequest
    ) -> Refuse | None:
        request = facts.request
        if request.upgrade and self._tunnels.is_foreign(request, decision):
            return cross_origin()
        if request.headers.overrides and not (decision.keeps and decision.keeps.overrides):
            return bad_request("a header asks for another method than its own")
        if not subrequest.names_method and self._depends_on_method(facts, decision):
            _log.warning(
                "verification_refused",
                peer=request.hop.peer or "unix",
                reason="a rule depends on the method, which is not named (X-Original-Method)",
                setting="forward_auth",
            )
            return bad_request("its method is not named, and a rule depends on it")
        return None

    def _depends_on_method(self, facts: RequestFacts, decision: Forward) -> bool:
        """Whether another method could have led to another decision."""
        scope = None if decision.session is None else decision.session.scope
        return (
            bool(facts.others)
            or (scope is not None and bool(scope.methods))
            or self._authorize.routes[decision.route].same_origin
            or self._authorize.depends_on_method(facts.request)
        )
