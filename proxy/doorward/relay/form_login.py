"""Logging in at an application: its form is posted over the route's own connections, with a budget.

Knows exchanges with upstreams; must not know whose session it is for.
"""

from collections.abc import Callable

import structlog

from doorward.accounts.application_credentials import ApplicationCredential
from doorward.accounts.user import User
from doorward.gate.accept import Accepted
from doorward.relay.own_requests import ask
from doorward.rewrite.cookie_jar import CookieJar
from doorward.rewrite.login_form import ApplicationForm
from doorward.settings import Route
from doorward.upstream.awaited_head import AwaitedHead
from doorward.upstream.connection import Connection
from doorward.upstream.failures import UpstreamFailure
from doorward.upstream.heads import Head
from doorward.upstream.pool import Upstreams

_log = structlog.get_logger("doorward.upstream")

# Applications commonly lock an account after 3 to 5 wrong passwords within a quarter of an hour.
REFUSED_FOR_S = 600.0
REFUSED_LIMIT = 4096
SERVER_ERROR = 500


class LoginRefused(UpstreamFailure):
    """The application did not take the name and password, now or lately."""

    word = "login"
    code = "application_login_failed"
    message = "Doorward could not log you in to the application behind this address."


class FormLogins:
    """Those of one route. A refused account is not tried again for a while, unless it has
    changed."""

    def __init__(
        self, route: Route, form: ApplicationForm, upstreams: Upstreams, clock: Callable[[], float]
    ) -> None:
        self._name = route.name
        self._form = form
        self._upstreams = upstreams
        self._clock = clock
        self._response_timeout_s = route.timeouts.response.total_seconds()
        self._idle_timeout_s = route.timeouts.idle.total_seconds()
        self._refused: dict[int, float] = {}  # until when, by the hash of an account

    async def log_in(
        self, user: User, account: ApplicationCredential, request: Accepted
    ) -> CookieJar:
        """The cookies of a new session. Raises UpstreamFailure."""
        key, now = hash(account), self._clock()
        if 0 < self._refused.get(key, 0.0) - now <= REFUSED_FOR_S:
            raise LoginRefused("the application refused this account lately")
        head = await self._post(self._form.write(account, request))
        if head.status >= SERVER_ERROR:  # which says nothing of the account
            raise LoginRefused(f"the application answered the login with {head.status}")
        jar = CookieJar()
        jar.take_all(head.headers, now)
        fault = self._form.find_fault(head.status, head.headers, jar)
        if fault is None:
            return jar
        if len(self._refused) >= REFUSED_LIMIT:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = now + REFUSED_FOR_S
        _log.warning("application_login_failed", route=self._name, user=user.username, reason=fault)
        raise LoginRefused(f"the application did not log {user.username} in: {fault}")

    async def _post(self, message: bytes) -> Head:
        """The head of the answer."""

        def begin(connection: Connection, answer: AwaitedHead) -> None:
            connection.begin(
                answer,
                message,
                no_body=False,
                ended=True,
                response_timeout_s=self._response_timeout_s,
                idle_timeout_s=self._idle_timeout_s,
            )

        return await ask(self._upstreams, b"POST", begin)
