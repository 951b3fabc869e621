"""The call of an application's own logout, on behalf of a session that is over.

It goes the way of any request of that session: the same accept, head, identity and upstreams. Only
the rules are not asked, because the request is Doorward's own; the answer's body is not read.
"""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request

from doorward.accounts.session import Session
from doorward.gate.accept import Accept, Accepted
from doorward.gate.decision import Forward, Refuse
from doorward.gate.gate import Gate, RequestFacts
from doorward.gate.identity_policy import UnfitIdentity
from doorward.gate.targets import Unfit
from doorward.http1.arrival import Arrival
from doorward.http1.headers import BadHeaders, Header
from doorward.relay.forwarder import Forwarder
from doorward.relay.own_requests import ask
from doorward.relay.passage import Passages, read_head
from doorward.settings import AppLogout, Route
from doorward.upstream.awaited_answer import AwaitedAnswer
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.web.application_logout import LogoutFailed
from doorward.web.endpoint import get_client

# Headers of the browser that an application may need, above all its cookies.
_PASSED = (b"cookie", b"user-agent", b"accept-language")
FAILED_FROM = 400  # most answer with a redirect


class LogoutCalls:
    """Calls the logout of the applications behind `forwarders`, or of the one in this process."""

    def __init__(
        self,
        accept: Accept,
        gate: Gate,
        routes: Sequence[Route],
        forwarders: Sequence[Forwarder],
        passages: Passages | None,
        clock: Callable[[], float],
    ) -> None:
        self._accept = accept
        self._gate = gate
        self._routes = tuple(routes)
        self._forwarders = forwarders
        self._passages = passages
        self._clock = clock

    async def __call__(
        self, route: Route, logout: AppLogout, request: Request, session: Session
    ) -> None:
        """Raises LogoutFailed."""
        try:
            facts, decision = self._make(route, logout, request, session)
            if self._passages is None:
                forwarder = self._forwarders[decision.route]
                status = await _ask_upstream(forwarder, facts, decision)
            else:
                status = await _ask_inner(self._passages, facts, decision)
        except UpstreamFailure as failure:
            raise LogoutFailed(str(failure)) from None
        except (Unfit, BadHeaders, UnfitIdentity) as fault:
            raise LogoutFailed(str(fault)) from None
        if status >= FAILED_FROM:
            raise LogoutFailed(f"it answered {status}")

    def _make(
        self, route: Route, logout: AppLogout, request: Request, session: Session
    ) -> tuple[RequestFacts, Forward]:
        """The request as the browser would have sent it."""
        assert logout.url is not None
        client = get_client(request)
        passed: list[Header] = [line for line in request.headers.raw if line[0] in _PASSED]
        headers = [(b"host", client.host.encode()), *passed]
        arrival = Arrival(b"GET", logout.url.encode(), headers, client.address, client.scheme)
        facts = self._gate.facts(self._accept(arrival))
        if isinstance(facts, Refuse) or self._routes[facts.target.route] != route:
            raise LogoutFailed("its address does not lead to this route")
        return facts, self._gate.forward_for(facts, session, self._clock())


async def _ask_upstream(forwarder: Forwarder, facts: RequestFacts, decision: Forward) -> int:
    """The status of the answer. Raises UpstreamFailure."""

    def begin(connection: Connection, answer: AwaitedAnswer) -> None:
        request_id = facts.request.request_id
        forwarder.begin(connection, answer, facts, request_id, decision, has_body=False)

    return (await ask(forwarder.upstreams, facts.request.method, begin)).head.status


async def _ask_inner(passages: Passages, facts: RequestFacts, decision: Forward) -> int:
    """The same for the application in this process."""
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    await passages.app(_scope(passages, facts, decision), receive, send)
    return status or FAILED_FROM


def _scope(passages: Passages, facts: RequestFacts, decision: Forward) -> dict[str, Any]:
    request: Accepted = facts.request
    target, headers = read_head(passages.heads.make(facts, decision, request.request_id))
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": request.scheme,
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": (request.address_text, 0) if request.address_text else None,
        "server": None,
        "state": {"doorward": passages.identity(facts, decision)},
        "extensions": {},
    }
