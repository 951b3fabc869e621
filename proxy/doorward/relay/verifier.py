"""What answers front proxies that ask about a request (forward-auth): its parts, and what holds for
a request that is not sent on by this process.

Must not decide who may; the gate does, as for any other request.
"""

import structlog

from doorward.gate.accept import Accepted
from doorward.gate.decision import Decision, Refuse, bad_request, broken, cross_origin
from doorward.gate.gate import RequestFacts
from doorward.gate.verification import Subrequest, Unverifiable, Verifications
from doorward.http1.arrival import Received
from doorward.http1.headers import BadHeaders
from doorward.relay.tunnels import Tunnels
from doorward.rewrite.verification_head import VerificationHeads
from doorward.web.verification_answers import VerificationAnswers

_log = structlog.get_logger("doorward.gate")


class Verifier:
    """`find` tells what is asked at a target, if front proxies ask there."""

    def __init__(
        self,
        verifications: Verifications,
        heads: VerificationHeads,
        answers: VerificationAnswers,
        tunnels: Tunnels,
    ) -> None:
        self._verifications = verifications
        self.find = verifications.find
        self.heads = heads
        self.answers = answers
        self._tunnels = tunnels

    def read(self, subrequest: Subrequest, arrival: Received) -> Accepted | Refuse:
        """The request that is asked about, or why nothing is said of it."""
        try:
            return self._verifications.read(subrequest, arrival)
        except Unverifiable as fault:
            return Refuse(fault.status, fault.code, fault.reason)
        except BadHeaders as fault:
            return bad_request(str(fault))
        except Exception:  # whatever breaks on the way lets nobody through (promise 1)
            _log.exception("decision_failed")
            return Refuse(503, broken().code, broken().message)

    def judge(self, facts: RequestFacts, decision: Decision) -> Decision:
        """The decision, unless what it rests on is taken from a request before it is sent on: the
        front proxy sends on what it has."""
        if isinstance(decision, Refuse):
            return decision
        request = facts.request
        if request.upgrade and self._tunnels.is_foreign(request, decision):
            return cross_origin()
        if request.headers.overrides and not (decision.keeps and decision.keeps.overrides):
            return bad_request("a header asks for another method than its own")
        return decision
