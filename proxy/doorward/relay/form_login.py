"""Logging in at an application: the page of its form is opened, and the form posted, over the
route's own connections, with a budget.

Knows exchanges with upstreams; must not know whose session it is for.
"""

import asyncio
from collections.abc import Callable

import structlog

from doorward.accounts.application_credentials import ApplicationCredential
from doorward.accounts.user import User
from doorward.bounds import make_room
from doorward.gate.accept import Accepted
from doorward.relay.own_requests import ask
from doorward.rewrite.cookie_jar import CookieJar
from doorward.rewrite.form_page import REDIRECTS_LIMIT, FormPage, OpenedForm, UnfitPage, show
from doorward.rewrite.login_form import ApplicationForm
from doorward.settings import Route
from doorward.upstream.awaited_answer import AwaitedAnswer, Measure, OwnAnswer
from doorward.upstream.connection import Connection
from doorward.upstream.failures import ResponseTimeout, UpstreamFailure
from doorward.upstream.pool import Upstreams

_log = structlog.get_logger("doorward.upstream")

# Applications commonly lock an account after 3 to 5 wrong passwords within a quarter of an hour.
REFUSED_FOR_S = 600.0
REFUSED_LIMIT = 4096
SERVER_ERROR = 500
# "Page Expired" (Laravel): the token of the page has expired, and the password was not checked.
# Other frameworks refuse a token with a status that can also mean a wrong password.
TOKEN_OVER = 419


class LoginRefused(UpstreamFailure):
    """The application did not take the name and password, now or lately, or has no form for
    them."""

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
        self._reading = asyncio.Lock()

    async def log_in(
        self, user: User, account: ApplicationCredential, request: Accepted
    ) -> CookieJar:
        """The cookies of a new session. Raises UpstreamFailure."""
        key, now = hash(account), self._clock()
        if 0 < self._refused.get(key, 0.0) - now <= REFUSED_FOR_S:
            raise LoginRefused("the application refused this account lately")
        try:
            opened = await self.open_page(request)
        except UnfitPage as unfit:  # which says nothing of the account
            raise self._refuse(user, str(unfit)) from None
        message = self._form.write(account, request, opened)
        head = (await self._ask(b"POST", message)).head
        if head.status >= SERVER_ERROR:  # nor does this
            raise LoginRefused(f"the application answered the login with {head.status}")
        jar, answered = CookieJar() if opened is None else opened.jar, CookieJar()
        for each in (jar, answered):
            each.take_all(head.headers, now)
        fault = self._form.find_fault(head.status, head.headers, answered, jar)
        if fault is None:
            return jar
        if opened is None or head.status != TOKEN_OVER:
            make_room(self._refused, REFUSED_LIMIT)
            self._refused[key] = now + REFUSED_FOR_S
        raise self._refuse(user, fault)

    def _refuse(self, user: User, fault: str) -> LoginRefused:
        _log.warning("application_login_failed", route=self._name, user=user.username, reason=fault)
        return LoginRefused(f"the application did not log {user.username} in: {fault}")

    async def open_page(self, request: Accepted) -> OpenedForm | None:
        """The page of the form, if there is one to open. Raises UnfitPage, UpstreamFailure."""
        page = self._form.page
        if page is None:
            return None
        try:
            async with asyncio.timeout(self._response_timeout_s):
                return await self._read(page, request)
        except TimeoutError:
            reason = f"the login page {show(page.target)} was not complete in time"
            raise ResponseTimeout(reason) from None

    async def _read(self, page: FormPage, request: Accepted) -> OpenedForm:
        """The form on the page, behind all redirects."""
        jar, target = CookieJar(), page.target
        for _ in range(REDIRECTS_LIMIT + 1):
            message = page.write(target, request, jar)
            answer = await self._ask(b"GET", message, page.measure)
            jar.take_all(answer.head.headers, self._clock())
            moved = page.follow(target, answer.head, request)
            if moved is None:
                async with self._reading:
                    return await asyncio.to_thread(page.read, target, answer, jar, request)
            target = moved
        raise UnfitPage(f"its page {show(page.target)} redirects again and again")

    async def _ask(
        self, method: bytes, message: bytes, measure: Measure | None = None
    ) -> OwnAnswer:
        def begin(connection: Connection, awaited: AwaitedAnswer) -> None:
            connection.begin(
                awaited,
                message,
                no_body=False,
                ended=True,
                response_timeout_s=self._response_timeout_s,
                idle_timeout_s=self._idle_timeout_s,
            )

        return await ask(self._upstreams, method, begin, measure)
