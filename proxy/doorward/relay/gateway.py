"""The order for every request: accept it, then answer it with a page, refuse it, or relay it.

Knows the order; every step is in its own file. Nothing waits if the session is in memory and a
connection is free; what has to wait continues in a task.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp

from doorward import paths
from doorward.accounts.randomness import request_id as new_request_id
from doorward.accounts.sessions.sessions import Session
from doorward.gate.accept import Accept, Accepted, Client
from doorward.gate.decision import Decision, Forward, Refuse, broken
from doorward.gate.front_proxies import Subrequest
from doorward.gate.gate import Gate, RequestFacts
from doorward.gate.targets import LastHop, Unfit
from doorward.http1.arrival import Received
from doorward.http1.client_exchange import ClientExchange
from doorward.http1.headers import BadHeaders
from doorward.observe.observer import (
    CLIENT_GONE,
    NO_ROUTE,
    OURS,
    VERIFIED,
    BriefRecord,
    LoggedRequest,
    Observer,
    Outcome,
    UnreadRequest,
    failure_outcome,
    now_s,
    refusal_outcome,
)
from doorward.observe.refusals import TARGET_CHARACTERS, KeptRefusal, Refusals
from doorward.relay.credential_relay import CredentialRelay
from doorward.relay.forwarder import Forwarder
from doorward.relay.passage import Passages
from doorward.relay.preparation import Preparation
from doorward.relay.rate_limits import RouteLimits
from doorward.relay.relay import Pending, Relay, Services, Waiting
from doorward.relay.tunnels import Tunnels
from doorward.relay.verifier import Verifier
from doorward.relay.watch import Watch
from doorward.rewrite.added_headers import AddedHeaders
from doorward.rewrite.route_credentials import PreparedCredentials
from doorward.upstream.failures import UpstreamFailure
from doorward.web.answers import Answer, Answers, stranger, unfit

_log = structlog.get_logger("doorward.gate")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# The answer to a form without a session, which is kept until the login is done; None for other
# requests.
Keep = Callable[[Scope, Receive], Awaitable[Response | None]]

BAD_REQUEST = 400
CRASHED = 500  # the answer of any server for an application that raised

HEALTH_PATH = paths.HEALTH.encode()  # answered under any Host: the client knows only an address


class Gateway:
    """Answers the requests of one process. `internal` answers the paths that are Doorward's own."""

    def __init__(
        self,
        accept: Accept,
        gate: Gate,
        forwarders: tuple[Forwarder, ...],
        tunnels: Tunnels,
        watch: Watch,
        internal: ASGIApp,
        is_internal: Callable[[bytes], bool],
        answers: Answers,
        clock: Callable[[], float],
        observer: Observer,
        keep: Keep | None = None,
        passages: Passages | None = None,
        refusals: Refusals | None = None,
        verifier: Verifier | None = None,
        rate_limits: RouteLimits | None = None,
        added: Sequence[AddedHeaders | None] = (),
        credentials: Mapping[int, PreparedCredentials] | None = None,
    ) -> None:
        """`passages` lead to an application in this process instead of an upstream; `refusals`
        keeps refused requests for later explanations; `verifier` exists if front proxies may ask;
        `added` is what each route adds to answers, including Doorward's own; `credentials` are
        those of routes that have to be fetched before a request is sent."""
        self._added = (*added, None)  # also for NO_ROUTE
        self._verifier = verifier
        self._rate_limits = rate_limits
        self._accept = accept
        self._gate = gate
        self._forwarders = forwarders
        self._tunnels = tunnels
        self._internal_app = internal
        self._is_internal = is_internal
        self._answers = answers
        self._clock = clock
        self._observer = observer
        self._keep = keep
        self._passages = passages
        self._refusals = refusals
        preparation = Preparation(watch, credentials or {})
        self._services = Services(self, tunnels, watch, observer, preparation)
        self._prepared = preparation.routes

    def begin(self, exchange: ClientExchange) -> Waiting | None:
        """Answer a request, or return what has to be awaited; see `ClientExchange.spawn`."""
        started = now_s()
        known = exchange.known
        if known is not None and known.link == exchange.link:
            return self._decide(exchange, known.facts, new_request_id(), started)
        arrival = exchange.arrival
        if arrival.target.startswith(HEALTH_PATH) and _is_health(arrival.target):
            return self._answer_internally(exchange, arrival, None, started)
        if self._verifier is not None:
            subrequest = self._verifier.find(arrival.target)
            if subrequest is not None:
                return self._verify(exchange, subrequest, self._verifier, started)
        try:
            request = self._accept(arrival)
        except (Unfit, BadHeaders, LastHop) as fault:
            self._refuse_unfit(exchange, arrival, unfit(fault, arrival), started)
            return None
        except Exception:  # any error on the way refuses the request (promise 1)
            _log.exception("decision_failed")
            self._refuse_unfit(exchange, arrival, broken(), started)
            return None
        if self._is_internal(request.path):
            return self._answer_internally(exchange, arrival, request, started)
        try:
            found = self._gate.facts(request)
        except Exception:  # the same
            _log.exception("decision_failed", request=request.request_id)
            found = broken()
        if isinstance(found, Refuse):
            self._give_refusal(exchange, found, NO_ROUTE, started, request)
            return None
        if known is not None and not found.has_own_id:
            known.link, known.facts = exchange.link, found
        return self._decide(exchange, found, request.request_id, started)

    # What front proxies ask

    def _verify(
        self,
        exchange: ClientExchange,
        subrequest: Subrequest,
        verifier: Verifier,
        started: float,
    ) -> Waiting | None:
        """Decide on the request that a front proxy asks about."""
        arrival = exchange.arrival
        found = verifier.read(subrequest, arrival)
        if isinstance(found, Refuse):
            asked = _unread(arrival, stranger(arrival))
            self._keep_refusal(found, asked, None)
            args = refusal_outcome(found.code), NO_ROUTE, started, asked, None
            self._give(exchange, verifier.answers.unread(found), *args)
            return None
        request, subrequest = found
        try:
            facts = self._gate.facts(request, subrequest)
        except Exception:  # the same
            _log.exception("decision_failed", request=request.request_id)
            facts = broken()
        if isinstance(facts, Refuse):
            self._give_verdict(exchange, facts, subrequest, request, started)
            return None
        known = exchange.known
        if known is not None and not facts.has_own_id:
            known.link, known.facts = exchange.link, facts
        return self._decide(exchange, facts, request.request_id, started)

    def _follow_verification(
        self, pending: Pending, decision: Decision, subrequest: Subrequest
    ) -> None:
        assert self._verifier is not None
        exchange = pending.exchange
        if isinstance(decision, Refuse):
            self._give_verdict(exchange, decision, subrequest, pending.request, pending.started)
            return
        now = self._clock()
        answer = self._verifier.allow(pending.facts, decision, subrequest, now)
        if isinstance(answer, Refuse):
            refusal = answer.on(decision.route)
            self._give_verdict(exchange, refusal, subrequest, pending.request, pending.started)
            return
        request = pending.request if self._observer.writes else pending.facts.request
        record = BriefRecord(request, decision.session)
        self._observer.ended(VERIFIED, decision.route, answer.status, pending.started, record)
        exchange.start_with(answer)
        exchange.end()

    def _give_verdict(
        self,
        exchange: ClientExchange,
        refusal: Refuse,
        subrequest: Subrequest,
        request: Accepted,
        started: float,
    ) -> None:
        assert self._verifier is not None
        answer = self._verifier.answers.to(refusal, exchange.arrival, request, subrequest.front)
        self._keep_refusal(refusal, request, request)
        outcome = refusal_outcome(refusal.code)
        self._give(exchange, answer, outcome, refusal.route, started, request, request)

    # Deciding

    def _decide(
        self, exchange: ClientExchange, facts: RequestFacts, request_id: str, started: float
    ) -> Waiting | None:
        try:
            decision = self._gate.decide(facts, self._clock())
        except Exception:  # the same
            _log.exception("decision_failed", request=request_id)
            decision = broken()
        if isinstance(decision, Forward):
            if self._rate_limits is not None:
                decision = self._rate_limits.judge(facts.request, decision, self._clock())
            at_once = not (facts.request.upgrade or facts.subrequest) and self._passages is None
            if at_once and isinstance(decision, Forward):
                return self._relay(exchange, facts, request_id, started, decision)
        pending = Pending(exchange, facts, request_id, started)
        return self._ask(pending) if decision is None else self._follow(pending, decision)

    async def _ask(self, pending: Pending) -> None:
        """Decide, using storage if needed."""
        try:
            decision = await self._gate.ask(pending.facts, self._clock())
        except Exception:  # the same
            _log.exception("decision_failed", request=pending.request_id)
            decision = broken()
        if self._rate_limits is not None and isinstance(decision, Forward):
            decision = self._rate_limits.judge(pending.facts.request, decision, self._clock())
        waiting = self._follow(pending, decision)
        if waiting is not None:
            await waiting

    def _follow(self, pending: Pending, decision: Decision) -> Waiting | None:
        facts = pending.facts
        if facts.subrequest is not None:
            self._follow_verification(pending, decision, facts.subrequest)
            return None
        if isinstance(decision, Forward):
            judged: Decision = decision
            if facts.request.upgrade:
                judged = self._tunnels.judge(facts.request, decision)
            if isinstance(judged, Forward) and self._passages is not None:
                parts = pending.exchange, facts, pending.request_id, pending.started
                self._passages.start(*parts, self._services, decision)
                return None
            if isinstance(judged, Forward):
                parts = pending.exchange, facts, pending.request_id, pending.started
                return self._relay(*parts, decision)
            self.refuse(pending, judged, decision.route)
            return None
        if self._keep is not None and self._answers.may_keep(decision, pending.exchange.arrival):
            return self._offer_login(pending, decision, self._keep)
        self.refuse(pending, decision, decision.route)
        return None

    def _relay(
        self,
        exchange: ClientExchange,
        facts: RequestFacts,
        request_id: str,
        started: float,
        decision: Forward,
    ) -> Waiting | None:
        """Send a request to its upstream, or return what has to be awaited."""
        services, forwarder = self._services, self._forwarders[decision.route]
        if decision.route in self._prepared:
            args = exchange, facts, request_id, started, services, decision, forwarder
            return CredentialRelay(*args).start()
        return Relay(exchange, facts, request_id, started, services, decision, forwarder).start()

    # Answers of our own

    async def _answer_internally(
        self, exchange: ClientExchange, arrival: Received, request: Accepted | None, started: float
    ) -> None:
        scope = exchange.scope if request is None else _internal_scope(exchange.scope, request)
        crashed = True
        try:
            await self._internal_app(scope, exchange.receive, exchange.send)
            crashed = False
        finally:
            asked: LoggedRequest = request or _unread(arrival)
            self._record(exchange, OURS, NO_ROUTE, started, asked, request, crashed=crashed)

    async def _offer_login(self, pending: Pending, refusal: Refuse, keep: Keep) -> None:
        """The login page with the form that was sent after the session ended, if this is such a
        request."""
        exchange, request = pending.exchange, pending.request
        scope = _internal_scope(exchange.scope, request)
        response = await keep(scope, exchange.receive)
        if response is None:
            self.refuse(pending, refusal, refusal.route)
            return
        crashed = True
        try:
            await response(scope, exchange.receive, exchange.send)
            crashed = False
        finally:
            outcome, route = refusal_outcome(refusal.code), refusal.route
            args = exchange, outcome, route, pending.started, request, request
            self._record(*args, crashed=crashed)

    def refuse(self, pending: Pending, refusal: Refuse, route: int) -> None:
        self._give_refusal(pending.exchange, refusal, route, pending.started, pending.request)

    def fail(self, pending: Pending, failure: UpstreamFailure, route: int) -> None:
        """Report that the upstream gave no answer."""
        exchange, request = pending.exchange, pending.request
        answer = self._answers.failure(failure, exchange.arrival, request)
        outcome = failure_outcome(failure.code)
        self._give(exchange, answer, outcome, route, pending.started, request, request)

    def _refuse_unfit(
        self, exchange: ClientExchange, arrival: Received, refusal: Refuse, started: float
    ) -> None:
        """Refuse a request that was not accepted. The bytes after it may be anything."""
        client = stranger(arrival)
        if refusal.status == BAD_REQUEST:
            exchange.keep_alive = False
        answer = self._answers.to(refusal, arrival, client)
        asked = _unread(arrival, client)
        self._keep_refusal(refusal, asked, None)
        self._give(exchange, answer, refusal_outcome(refusal.code), NO_ROUTE, started, asked, None)

    def _give_refusal(
        self,
        exchange: ClientExchange,
        refusal: Refuse,
        route: int,
        started: float,
        request: Accepted,
    ) -> None:
        answer = self._answers.to(refusal, exchange.arrival, request)
        self._keep_refusal(refusal, request, request)
        self._give(
            exchange, answer, refusal_outcome(refusal.code), route, started, request, request
        )

    def _keep_refusal(
        self, refusal: Refuse, asked: LoggedRequest, request: Accepted | None
    ) -> None:
        refusals = self._refusals
        if refusals is None or refusal.status < BAD_REQUEST:
            return
        now = self._clock()
        if not refusals.has_room(now):
            return
        session = None if request is None else self._find_session(request, now)
        refusals.keep(
            KeptRefusal(
                request_id=asked.request_id,
                at=now,
                method=_show(asked.method),
                scheme="" if request is None else request.scheme,
                host=asked.authority,
                path=_show(asked.target.partition(b"?")[0])[:TARGET_CHARACTERS],
                address=asked.address_text,
                user="" if session is None else session.user.username,
                has_factor=session is not None and session.second_factor_at is not None,
                status=refusal.status,
                code=refusal.code,
                message=refusal.message,
            )
        )

    def _give(
        self,
        exchange: ClientExchange,
        answer: Answer,
        outcome: Outcome,
        route: int,
        started: float,
        asked: LoggedRequest,
        request: Accepted | None,
    ) -> None:
        """Send a whole answer, and record it."""
        head, body = answer.head, answer.body
        added = self._added[route]
        if added is not None and request is not None:
            added.complete(head, secure=request.scheme == "https")
        session = self._known_session(request)
        size = 0 if exchange.method == b"HEAD" else len(body)
        record = BriefRecord(asked, session, size)
        self._observer.ended(outcome, route, head.status, started, record)
        exchange.start_with(head)
        exchange.end(body)

    def _record(
        self,
        exchange: ClientExchange,
        outcome: Outcome,
        route: int,
        started: float,
        asked: LoggedRequest,
        request: Accepted | None,
        *,
        crashed: bool,
    ) -> None:
        """Record an exchange that an application over ASGI answered or left unanswered."""
        status = exchange.status
        if not status:
            status = CRASHED if crashed else exchange.turned_away or CLIENT_GONE
        session = self._known_session(request)
        is_whole = exchange.response_complete
        record = BriefRecord(asked, session, exchange.sent_bytes, is_whole=is_whole)
        self._observer.ended(outcome, route, status, started, record)

    def _known_session(self, request: Accepted | None) -> Any:
        if request is None or not self._observer.writes:
            return None
        return self._find_session(request, self._clock())

    def _find_session(self, request: Accepted, now: float) -> Session | None:
        """For records. An error here also occurred in the decision and was logged there."""
        try:
            return self._gate.known(request, now)
        except Exception:
            return None


def _is_health(target: bytes) -> bool:
    return target.partition(b"?")[0] == HEALTH_PATH


def _show(raw: bytes) -> str:
    """Bytes of a client, as printable ASCII."""
    return raw.decode("ascii", "backslashreplace")


def _unread(arrival: Received, client: Client | None = None) -> UnreadRequest:
    request_id = "" if client is None else client.request_id
    return UnreadRequest(arrival.peer, arrival.method, arrival.target, request_id=request_id)


def _internal_scope(scope: Scope, request: Accepted) -> Scope:
    """The scope for Doorward's own paths, with the user; matched with the raw path, as the gate
    matches. Its scheme and Host are those that were decided."""
    headers = [line for line in scope["headers"] if line[0] != b"host"]
    return {
        **scope,
        "scheme": request.scheme,
        "path": request.path.decode("ascii"),
        "root_path": "",
        "query_string": request.target.partition(b"?")[2],
        "headers": [(b"host", request.authority.encode()), *headers],
        "state": {**scope.get("state", {}), "client": request.client},
    }
