"""Credentials of an application that has a login form: each session is logged in there once, and
the application's cookies are kept with it.

Knows each session's state at the application; must not know how a form is sent (`relay` does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from doorward.accounts.application_credentials import ApplicationCredential
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.accept import Accepted
from doorward.http1.headers import Header
from doorward.rewrite.cookie_jar import CookieJar
from doorward.rewrite.login_form import ApplicationForm
from doorward.rewrite.route_credentials import HIDDEN

UNAUTHORIZED = 401
# Limits logins if an application ends every session at once, or answers 401 to a request that the
# user has no permission for.
RENEWED_AFTER_S = 60.0

# The account of a session at the application. Raises StorageUnavailable.
FindAccount = Callable[[User], Awaitable[ApplicationCredential | None]]
# Logs in for a request and returns the application's cookies. Raises UpstreamFailure.
LogIn = Callable[[User, ApplicationCredential, Accepted], Awaitable[CookieJar]]


@dataclass(slots=True)
class ApplicationSession:
    """The state of one session at the application. It is removed with the session, also when that
    is read again because its user has changed.

    `jar` is None where the user has no account there. `number` is incremented with each login."""

    is_open: bool = False
    jar: CookieJar | None = None
    number: int = 0
    opened_at: float = 0.0
    login: asyncio.Task[None] | None = field(default=None, repr=False)


class FormCredentials:
    """`log_in` is set once requests to the application are possible."""

    def __init__(
        self, login: ApplicationForm, find: FindAccount, clock: Callable[[], float]
    ) -> None:
        self.form = login
        self._find = find
        self._clock = clock
        self.log_in: LogIn | None = None

    def _get(self, session: Session | None) -> ApplicationSession | None:
        found = None if session is None else session.derived.get(self)
        return found if isinstance(found, ApplicationSession) else None

    # Before a request

    def is_ready(self, session: Session | None) -> bool:
        found = self._get(session)
        return session is None or (found is not None and found.is_open)

    async def prepare(self, session: Session, request: Accepted) -> None:
        """Logs in, once for all requests that wait. Raises StorageUnavailable, UpstreamFailure."""
        found = self._get(session)
        if found is None:
            found = session.derived[self] = ApplicationSession()
        if found.login is None:
            found.login = asyncio.ensure_future(self._open(found, session.user, request))
            found.login.add_done_callback(lambda login: _forget(found, login))
        # A caller that leaves meanwhile does not cancel the login for the others.
        await asyncio.shield(found.login)

    async def _open(self, found: ApplicationSession, user: User, request: Accepted) -> None:
        account = await self._find(user)
        if account is not None:
            assert self.log_in is not None, "no connection to the application is possible yet"
            jar, before = await self.log_in(user, account, request), found.jar
            if before is not None:
                jar.succeed(before)
            found.jar = jar
        found.number += 1
        found.opened_at = self._clock()
        found.is_open = True

    def add(self, head: bytes, session: Session | None) -> bytes:
        found = self._get(session)
        return head if found is None or found.jar is None else found.jar.write(head)

    def get_number(self, session: Session | None) -> int:
        """The number of the session's current login."""
        found = self._get(session)
        return 0 if found is None else found.number

    async def show(self, user: User | None) -> bytes:
        """Raises StorageUnavailable."""
        account = None if user is None else await self._find(user)
        return b"" if account is None else f"cookie: {HIDDEN}\r\n".encode()

    # After an answer

    def is_over(self, status: int, headers: Sequence[Header]) -> bool:
        """401, or a redirect to the login form."""
        return status == UNAUTHORIZED or self.form.is_redirect(status, headers)

    def take(self, headers: Sequence[Header], session: Session | None, number: int) -> list[Header]:
        """An answer's headers without the cookies, which are stored here unless they belong to an
        earlier login."""
        found = self._get(session)
        if found is None or found.jar is None:
            return list(headers)
        if found.number == number:
            found.jar.take_all(headers, self._clock())
        return [line for line in headers if line[0].lower() != b"set-cookie"]

    def renew(self, session: Session | None, number: int) -> bool:
        """Record that the application has ended the session of the login with this number. Returns
        whether there is a new login, or will be with the next request."""
        found = self._get(session)
        if found is None or found.jar is None:
            return False
        if found.number != number or not found.is_open:
            return True  # another request has noticed
        if 0 <= self._clock() - found.opened_at < RENEWED_AFTER_S:
            return False
        found.is_open = False
        return True


def _forget(found: ApplicationSession, login: asyncio.Task[None]) -> None:
    found.login = None
    if not login.cancelled():
        login.exception()  # raised to the waiting callers, if there are any
