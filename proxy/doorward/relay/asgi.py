"""The whole way of a request over ASGI: accept, ours or the gate's, decide, forward or refuse.

Knows the order; every step is in its own file. It must not know what a page or an API does.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from starlette.responses import Response

from doorward import paths
from doorward.gate.accept import Accept, Accepted, Arrival
from doorward.gate.decision import Forward, Refuse, broken
from doorward.gate.gate import Gate
from doorward.gate.targets import LastHop, Unfit
from doorward.http1.headers import BadHeaders
from doorward.observe.observer import ANSWER_CUT, Observer, failed
from doorward.relay.forward import EXTENSION, Forwarder, Receive, Scope, Send
from doorward.relay.incoming import AnswerCut, Refused
from doorward.relay.note import Note
from doorward.relay.upgrade import Upgrades
from doorward.upstream.failures import UpstreamFailure
from doorward.web.answers import Answers, stranger, unfit

_log = structlog.get_logger("doorward.gate")

# The answer to a form of nobody's that is kept until the login is done; None for other requests.
Keep = Callable[[Scope, Receive], Awaitable[Response | None]]

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

BAD_REQUEST = 400

HEALTH_PATH = paths.HEALTH.encode()  # answered under any Host: who asks knows only an address


class Carrier:
    """One ASGI application over the gate; `ours` answers the paths that are ours."""

    def __init__(
        self,
        accept: Accept,
        gate: Gate,
        forwarders: tuple[Forwarder, ...],
        upgrades: Upgrades,
        ours: Any,
        is_internal: Callable[[bytes], bool],
        answers: Answers,
        clock: Callable[[], float],
        observer: Observer,
        keep: Keep | None = None,
    ) -> None:
        self._observer = observer
        self._keep = keep
        self._accept = accept
        self._gate = gate
        self._forwarders = forwarders
        self._upgrades = upgrades
        self._ours = ours
        self._is_internal = is_internal
        self._answers = answers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = scope.get("extensions", {}).get(EXTENSION)
        arrival = arrival_of(scope) if exchange is None else exchange.arrival
        note = Note(arrival, exchange, send)
        crashed = True
        try:
            await self._carry(
                arrival, note, scope, receive, note.send if exchange is None else send
            )
            crashed = False
        finally:
            note.close(crashed)
            if self._observer.writes and note.session is None and note.accepted is not None:
                note.session = self._gate.known(note.accepted, self._clock())
            self._observer.ended(note.decided, note.route, note.status, note.started, note)

    async def _carry(
        self, arrival: Arrival, note: Note, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if arrival.target.partition(b"?")[0] == HEALTH_PATH:
            await self._ours(scope, receive, send)
            return
        try:
            note.accepted = request = self._accept(arrival)
        except (Unfit, BadHeaders, LastHop) as fault:
            refusal, client = unfit(fault, arrival), stranger(arrival)
            note.refused(refusal, client.request_id)
            exchange = scope.get("extensions", {}).get(EXTENSION)
            if refusal.status == BAD_REQUEST and exchange is not None:
                exchange.keep_alive = False  # what comes behind it may be anything
            await self._answers.to(refusal, arrival, client)(scope, receive, send)  # type: ignore[arg-type]
            return
        if self._is_internal(request.path):
            await self._ours(_scope_of_ours(scope, request), receive, send)
            return
        now = self._clock()
        try:
            decision = self._gate.decide(request, now) or await self._gate.ask(request, now)
        except Exception:  # whatever breaks on the way lets nobody through (promise 1)
            _log.exception("decision_failed", request=request.request_id)
            decision = broken()
        if isinstance(decision, Forward):
            note.let_through(decision)
            if request.upgrade:
                decision = self._upgrades.judge(request, decision)
        if isinstance(decision, Refuse):
            note.refused(decision)
            response = await self._kept(decision, arrival, request, scope, receive)
            response = response or self._answers.to(decision, arrival, request.client)
            await response(scope, receive, send)  # type: ignore[arg-type]
        else:
            await self._forward(decision, request, arrival, note, scope, receive, send)

    async def _kept(
        self,
        refusal: Refuse,
        arrival: Arrival,
        request: Accepted,
        scope: Scope,
        receive: Receive,
    ) -> Response | None:
        """The login page with the form of somebody who is nobody any more, if this is one."""
        if self._keep is None or not self._answers.may_keep(refusal, arrival):
            return None
        return await self._keep(_scope_of_ours(scope, request), receive)

    async def _forward(
        self,
        decision: Forward,
        request: Accepted,
        arrival: Arrival,
        note: Note,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            await self._forwarders[decision.route](request, decision, scope, receive, send)
        except Refused as over:
            if (exchange := scope.get("extensions", {}).get(EXTENSION)) is not None:
                exchange.keep_alive = False  # the rest of the request, if any, is not waited for
            note.refused(over.refusal)
            response = self._answers.to(over.refusal, arrival, request.client)
            await response(scope, receive, send)  # type: ignore[arg-type]
        except UpstreamFailure as failure:
            note.decided = failed(failure.code)
            response = self._answers.failure(failure, arrival, request)
            await response(scope, receive, send)  # type: ignore[arg-type]
        except AnswerCut as cut:
            _log.warning("answer_cut", reason=str(cut.__cause__), request=request.request_id)
            ended = isinstance(cut.__cause__, Refused)
            note.decided = failed(str(cut.__cause__) if ended else ANSWER_CUT)
            exchange = scope.get("extensions", {}).get(EXTENSION)
            if exchange is None:
                raise  # any ASGI server closes the connection of an application that raised
            exchange.cut()


def arrival_of(scope: Scope) -> Arrival:
    """An ASGI scope as bytes. The target is put together again."""
    raw_path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    client = scope.get("client")
    return Arrival(
        method=scope["method"].encode("latin-1"),
        target=raw_path + b"?" + query if query else raw_path,
        headers=scope["headers"],
        peer=client[0] if client else "",
        scheme=scope["scheme"],
        is_http_1_0=scope.get("http_version") == "1.0",
    )


def _scope_of_ours(scope: Scope, request: Accepted) -> Scope:
    """The scope for paths of ours, with who asks; matched on the raw path, as the gate matches.
    Its scheme and Host are those that were decided on."""
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
