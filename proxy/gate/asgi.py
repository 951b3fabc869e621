"""The whole way of a request over ASGI: accept, ours or the gate's, decide, forward or refuse.

Knows the order; every step is in its own file. It must not know what a page or an API does.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import structlog
from starlette.responses import Response

from proxy.accounts.chance import request_id
from proxy.gate.accept import Accept, Accepted, Arrival, Client, LastHop, Unfit
from proxy.gate.cookies import Header
from proxy.gate.decision import (
    Forward,
    Refuse,
    bad_request,
    broken,
    last_hop,
    misdirected,
    unknown_expectation,
)
from proxy.gate.forward import EXTENSION, AnswerCut, Forwarder, Receive, Scope, Send
from proxy.gate.gate import Gate
from proxy.gate.headers import BadHeaders, UnknownExpectation
from proxy.gate.ours import navigates
from proxy.upstream.failures import UpstreamFailure

_log = structlog.get_logger("doorward.gate")

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

HEALTH_PATH = b"/.doorward/healthz"  # answered under any Host: who asks knows only an address


class Draw(Protocol):
    """Makes a refusal's answer: a page for people, JSON for programs."""

    def __call__(
        self,
        status: int,
        title: str | None,
        text: str | None,
        client: Client | None,
        *,
        browser: bool,
        code: str | None,
        headers: Iterable[Header],
        more: Mapping[str, str] | None,
        languages: str,
    ) -> Response: ...


class Carrier:
    """One ASGI application over the gate; `ours` answers the paths that are ours."""

    def __init__(
        self,
        accept: Accept,
        gate: Gate,
        forwarders: tuple[Forwarder, ...],
        ours: Any,
        is_ours: Callable[[bytes], bool],
        draw: Draw,
        clock: Callable[[], float],
    ) -> None:
        self._accept = accept
        self._gate = gate
        self._forwarders = forwarders
        self._ours = ours
        self._is_ours = is_ours
        self._draw = draw
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        if arrival.target.partition(b"?")[0] == HEALTH_PATH:
            await self._ours(scope, receive, send)
            return
        try:
            request = self._accept(arrival)
        except (Unfit, BadHeaders, LastHop) as fault:
            await self._refuse(_unfit(fault, arrival), arrival, None, scope, receive, send)
            return
        if self._is_ours(request.path):
            await self._ours(_scope_of_ours(scope, request), receive, send)
            return
        now = self._clock()
        try:
            decision = self._gate.decide(request, now) or await self._gate.ask(request, now)
        except Exception:  # whatever breaks on the way lets nobody through (promise 1)
            _log.exception("decision_failed", request=request.request_id)
            decision = broken()
        if isinstance(decision, Refuse):
            await self._refuse(decision, arrival, request.client, scope, receive, send)
        else:
            await self._forward(decision, request, arrival, scope, receive, send)

    async def _forward(
        self,
        decision: Forward,
        request: Accepted,
        arrival: Arrival,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            await self._forwarders[decision.route](request, decision.head, scope, receive, send)
        except UpstreamFailure as failure:
            _log.warning("upstream_failed", reason=str(failure), request=request.request_id)
            refusal = Refuse(failure.status, failure.code, failure.told)
            await self._refuse(refusal, arrival, request.client, scope, receive, send)
        except AnswerCut as cut:
            _log.warning("answer_cut", reason=str(cut.__cause__), request=request.request_id)
            exchange = scope.get("extensions", {}).get(EXTENSION)
            if exchange is None:
                raise  # any ASGI server closes the connection of an application that raised
            exchange.cut()

    async def _refuse(
        self,
        refusal: Refuse,
        arrival: Arrival,
        client: Client | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        browser = navigates(arrival.method.decode("latin-1"), arrival.headers)
        headers = [*refusal.headers, (b"cache-control", b"no-store")]
        if refusal.login is not None and browser:
            headers = [line for line in headers if line[0] != b"www-authenticate"]
            response = Response(status_code=303, headers={"location": refusal.login})
            response.raw_headers.extend(headers)
        else:
            response = self._draw(
                refusal.status,
                None,
                refusal.message,
                client or _stranger(arrival),
                browser=browser,
                code=refusal.code,
                headers=refusal.headers,
                more=None if refusal.login is None else {"login": refusal.login},
                languages=_languages(arrival),
            )
        await response(scope, receive, send)  # type: ignore[arg-type]


def arrival_of(scope: Scope) -> Arrival:
    """An ASGI scope as bytes. The target is the one received, where the server tells it."""
    exchange = scope.get("extensions", {}).get(EXTENSION)
    if exchange is not None:
        target = exchange.target
    else:
        raw_path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        target = raw_path + b"?" + query if query else raw_path
    client = scope.get("client")
    return Arrival(
        method=scope["method"].encode("latin-1"),
        target=target,
        headers=scope["headers"],
        peer=client[0] if client else "",
        scheme=scope["scheme"],
    )


def _languages(arrival: Arrival) -> str:
    """What the request says of languages that are understood (RFC 9110 12.5.4)."""
    lines = (value for name, value in arrival.headers if name.lower() == b"accept-language")
    return next(lines, b"").decode("latin-1")


def _unfit(fault: Exception, arrival: Arrival) -> Refuse:
    if isinstance(fault, LastHop):
        return last_hop(arrival.method)
    if isinstance(fault, UnknownExpectation):
        return unknown_expectation()
    if isinstance(fault, Unfit) and fault.status == 421:
        return misdirected()
    return bad_request(str(fault))


def _stranger(arrival: Arrival) -> Client:
    """The client of a request that was not accepted: its connection is all that is known."""
    return Client(arrival.peer, arrival.scheme, "", request_id(), "")


def _scope_of_ours(scope: Scope, request: Accepted) -> Scope:
    """The scope for paths of ours, with who asks; matched on the raw path, as the gate matches."""
    return {
        **scope,
        "path": request.path.decode("ascii"),
        "root_path": "",
        "query_string": request.target.partition(b"?")[2],
        "state": {**scope.get("state", {}), "client": request.client},
    }
