"""The credentials that a route's application gets instead of the client's.

Knows their form in a request's head; must not decide which requests get them.
"""

import base64
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from doorward.accounts.application_credentials import ApplicationCredential
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.accept import Accepted
from doorward.http1.headers import Header
from doorward.settings.application_secrets import WatchedSecret

HIDDEN = "(hidden)"

# A user's own credentials for a route's application, by the route's name. Raises
# StorageUnavailable.
Find = Callable[[User, str], Awaitable[ApplicationCredential | None]]


class RouteCredentials(Protocol):
    """The credentials for a request, by its session; None on a public path without one."""

    def add(self, head: bytes, session: Session | None) -> bytes:
        """The head with the credentials. `head` must not contain an Authorization."""

    async def show(self, user: User | None) -> bytes:
        """The lines that would be added for this user, with the secret hidden."""


class PreparedCredentials(RouteCredentials, Protocol):
    """The same for credentials that have to be fetched first, once per session."""

    def is_ready(self, session: Session | None) -> bool:
        """Whether `add` needs no preparation."""

    async def prepare(self, session: Session, request: Accepted) -> None:
        """Fetch what `add` needs for `request`. Raises StorageUnavailable, UpstreamFailure."""

    def get_number(self, session: Session | None) -> int:
        """The number of the session's current credentials, which are fetched one after another."""

    def is_over(self, status: int, headers: Sequence[Header]) -> bool:
        """Whether an answer says that the application does not recognize the user, so that new
        credentials could help."""

    def take(self, headers: Sequence[Header], session: Session | None, number: int) -> list[Header]:
        """The answer's headers for the client. The request used the credentials with this
        number."""

    def renew(self, session: Session | None, number: int) -> bool:
        """The application no longer accepts the credentials with this number. Returns whether there
        are others, or will be after `prepare`."""


class SharedCredentials:
    """One account or token of the application for all users."""

    def __init__(self, secret: WatchedSecret, username: str | None) -> None:
        """`username` is for Basic; without one the secret is a Bearer token."""
        self._secret = secret
        self._username = username
        self._text: str | None = None
        self._line = b""

    def add(self, head: bytes, session: Session | None) -> bytes:
        text = self._secret.text
        if text is not self._text:
            self._text, self._line = text, self._make(text)
        return add_line(head, self._line)

    def _make(self, text: str) -> bytes:
        if self._username is None:
            return b"authorization: Bearer %b\r\n" % text.encode()
        return make_basic(self._username, text)

    async def show(self, user: User | None) -> bytes:
        return show_authorization("Bearer" if self._username is None else "Basic")


class UserCredentials:
    """Every user's own account. Without one, no credentials are sent, and the application treats
    the user as anybody.

    They are fetched once per session. A change is announced to every worker, which then reads the
    session and fetches the credentials again.
    """

    def __init__(self, route: str, find: Find) -> None:
        self._route = route
        self._find = find

    def is_ready(self, session: Session | None) -> bool:
        return session is None or self in session.derived

    async def prepare(self, session: Session, request: Accepted) -> None:
        """Raises StorageUnavailable."""
        session.derived[self] = await self._make(session.user)

    def get_number(self, session: Session | None) -> int:
        return 0

    def is_over(self, status: int, headers: Sequence[Header]) -> bool:
        """A name and password do not expire."""
        return False

    def take(self, headers: Sequence[Header], session: Session | None, number: int) -> list[Header]:
        return list(headers)

    def renew(self, session: Session | None, number: int) -> bool:
        return False

    async def _make(self, user: User) -> bytes:
        found = await self._find(user, self._route)
        return b"" if found is None else make_basic(found.account, found.password)

    def add(self, head: bytes, session: Session | None) -> bytes:
        line = None if session is None else session.derived.get(self)
        return add_line(head, line) if isinstance(line, bytes) else head

    async def show(self, user: User | None) -> bytes:
        """Raises StorageUnavailable."""
        line = b"" if user is None else await self._make(user)
        return show_authorization("Basic") if line else b""


def make_basic(username: str, password: str) -> bytes:
    """The Basic header line (RFC 7617 2, in UTF-8)."""
    said = base64.b64encode(f"{username}:{password}".encode())
    return b"authorization: Basic %b\r\n" % said


def show_authorization(scheme: str) -> bytes:
    return f"authorization: {scheme} {HIDDEN}\r\n".encode()


def add_line(head: bytes, line: bytes) -> bytes:
    """The head with one more line at its end."""
    return b"%b%b\r\n" % (head[:-2], line)


def drop_challenges(headers: Iterable[Header]) -> list[Header]:
    """An answer's headers without the application's challenge: the browser would ask the user for a
    password that never reaches the application."""
    return [line for line in headers if line[0].lower() != b"www-authenticate"]
