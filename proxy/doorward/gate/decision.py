"""The gate's decision: forward the request to a route, or refuse it with an answer.

Only values; `rewrite` makes bytes from them, and `relay` sends those.
"""

import re
from dataclasses import dataclass

from doorward import paths
from doorward.accounts.refusals import LockedOut, Overloaded, StorageUnavailable
from doorward.accounts.sessions.sessions import Session
from doorward.gate.cookies import Header
from doorward.observe.observer import NO_ROUTE

UNAUTHENTICATED = "unauthenticated"
MAX_AGE = "max_age"  # query parameter of the page for codes: the last code's maximum age, seconds
MOVED = 308


@dataclass(slots=True)  # made for every request: not frozen, which would cost a microsecond
class Forward:
    """Send the request to the upstream of route number `route`.

    `session` is the session that it was decided with, None if there is none; `identity` has the
    header lines that describe it to the application. `private`: the answer is only for that
    session. `binds`: the request authenticates the connection that it uses. `keeps`: headers that
    pass too, because they turned out not to be Doorward's. `credentials`: send the route's
    credentials.
    """

    route: int
    session: Session | None
    identity: bytes = b""
    private: bool = False
    binds: bool = False
    keeps: "Keeps | None" = None
    credentials: bool = False


@dataclass(frozen=True, slots=True)
class Keeps:
    """Headers that are normally Doorward's but are forwarded with this request: a Bearer token, the
    pair X-User-Id and X-Auth-Token, and headers that ask for another method."""

    bearer: bool
    pair: bool
    overrides: bool


@dataclass(slots=True)  # not frozen for the same reason: many requests may be refused at once
class Refuse:
    """An answer by Doorward. `login`: the page on which the user can gain access. `switch`: the
    page on which another user can log in. `home`: whether the start page of this host can be
    opened."""

    status: int
    code: str
    message: str
    login: str | None = None
    headers: tuple[Header, ...] = ()
    route: int = NO_ROUTE  # the requested route, if it is known
    switch: str | None = None
    home: bool = False
    max_age_s: float | None = None  # the maximum age of a second factor, if a new one is required

    def on(self, route: int) -> "Refuse":
        """The same for a request to this route. Takes a third of the time of `replace`."""
        if route == self.route:
            return self
        return Refuse(
            self.status,
            self.code,
            self.message,
            self.login,
            self.headers,
            route,
            self.switch,
            self.home,
            self.max_age_s,
        )


Decision = Forward | Refuse


def bad_request(reason: str) -> Refuse:
    return Refuse(400, "bad_request", f"This request is ambiguous: {reason}.")


def misdirected() -> Refuse:
    return Refuse(421, "misdirected_request", "There is no application at this host name.")


def unknown_expectation() -> Refuse:
    return Refuse(417, "expectation_failed", "The Expect header of this request is not supported.")


def too_large() -> Refuse:
    return Refuse(413, "content_too_large", "The body of this request is too large.")


METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def last_hop(method: bytes) -> Refuse:
    """The answer to a request that is not to be forwarded (RFC 9110 7.6.2)."""
    status = 200 if method == b"OPTIONS" else 405
    return Refuse(
        status,
        "last_hop",
        "This request is not forwarded any further.",
        headers=((b"allow", METHODS),),
    )


def unfit_identity() -> Refuse:
    """An application must not get an incomplete description of the user."""
    message = "Your name cannot be sent to the application. The log has the reason."
    return Refuse(500, "unfit_identity", message)


def cross_origin() -> Refuse:
    return Refuse(403, "cross_origin", "Only pages of this site can send this request.")


def moved(target: bytes) -> Refuse:
    """Another address on this host, permanently and with the same method (RFC 9110 15.4.9)."""
    headers = ((b"location", target), (b"cache-control", b"no-store"))
    return Refuse(MOVED, "moved", "This has moved to another address.", headers=headers)


def other_server() -> Refuse:
    """RFC 4918 9.8.5."""
    return Refuse(502, "other_server", "This request names a resource of another server.")


def too_many_requests(wait_s: int, route: int) -> Refuse:
    """RFC 6585 4."""
    headers = ((b"retry-after", b"%d" % wait_s),)
    message = "Wait a while and try again."
    return Refuse(429, "too_many_requests", message, headers=headers, route=route)


def too_many_tunnels() -> Refuse:
    return Refuse(
        503,
        "too_many_tunnels",
        "Too many WebSockets are open. Try again later.",
        headers=((b"retry-after", b"10"),),
    )


def unavailable() -> Refuse:
    """The session is unknown at the moment. Not a 401, because programs would discard their
    tokens."""
    return Refuse(503, StorageUnavailable.code, StorageUnavailable.message)


def not_found(home: bool) -> Refuse:
    return Refuse(404, "not_found", "There is no application at this address.", home=home)


def broken() -> Refuse:
    return Refuse(
        500, "internal_error", "Something went wrong on the server. The error was logged."
    )


def forbidden(target: bytes, home: bool) -> Refuse:
    """The user lacks the permission; the login leads another user to `target`."""
    return Refuse(
        403,
        "forbidden",
        "You are logged in, but you do not have access to this.",
        switch=f"{paths.LOGIN}?another=1&rd={_way_back(target)}",
        home=home,
    )


def overloaded() -> Refuse:
    """Too many passwords are waiting to be hashed."""
    return Refuse(503, Overloaded.code, Overloaded.message, headers=((b"retry-after", b"5"),))


def locked_out(wait_s: int) -> Refuse:
    """Too many wrong tokens or passwords came from this network."""
    headers = ((b"retry-after", b"%d" % wait_s),)
    return Refuse(429, LockedOut.code, LockedOut.message, headers=headers)


def beyond_token() -> Refuse:
    """The token's scope does not include this request, although its user may have access."""
    return Refuse(403, "forbidden", "This token is not valid for this request.")


def policy_denied() -> Refuse:
    """The configured decision in Python refused; the log has its reason."""
    return Refuse(403, "policy_denied", "You are not allowed to open this.")


def policy_failed() -> Refuse:
    """The configured decision in Python failed."""
    return Refuse(403, "policy_failed", "You are not allowed to open this.")


def denied(home: bool) -> Refuse:
    """No user may open this."""
    return Refuse(403, "forbidden", "This is closed to everyone.", home=home)


def second_factor_required(target: bytes, max_age_s: float | None = None) -> Refuse:
    """The user can continue with a code, and then returns to `target`. `max_age_s`: the maximum age
    of the factor, if a new one is required (RFC 9470 3)."""
    login = f"{paths.SECOND_FACTOR}?rd={_way_back(target)}"
    challenge = b'Bearer realm="doorward"'
    if max_age_s is not None:
        login += f"&{MAX_AGE}={max_age_s:.0f}"
        challenge += b', error="insufficient_user_authentication", max_age="%.0f"' % max_age_s
    return Refuse(
        401,
        "second_factor_required",
        "This requires a second factor.",
        login=login,
        headers=((b"www-authenticate", challenge),),
        max_age_s=max_age_s,
    )


def conflicting() -> Refuse:
    return Refuse(
        401,
        "conflicting_credentials",
        "This request contains credentials of two different users.",
        headers=((b"www-authenticate", b'Bearer realm="doorward"'),),
    )


_QUOTED = re.compile(rb"([^A-Za-z0-9_.\-/~!*'()])")
_ENCODED = {bytes((byte,)): b"%%%02X" % byte for byte in range(256)}


def _way_back(target: bytes) -> str:
    """The target as the value of a query parameter."""
    parts = _QUOTED.split(target)  # every second part is a byte to encode
    parts[1::2] = map(_ENCODED.__getitem__, parts[1::2])
    return b"".join(parts).decode("ascii")


# RFC 7617 2.1. A browser then asks for a password itself, even if a script sent the request.
_BASIC_CHALLENGE: Header = (b"www-authenticate", b'Basic realm="doorward", charset="UTF-8"')
_CHALLENGE: Header = (b"www-authenticate", b'Bearer realm="doorward"')


def unauthenticated(
    target: bytes, extra: tuple[Header, ...] = (), route: int = NO_ROUTE, *, basic: bool = False
) -> Refuse:
    """A request without the required session. After the login, the user returns to `target`.
    `basic`: ask programs for name and token."""
    return Refuse(
        401,
        UNAUTHENTICATED,
        "You need to log in to open this.",
        login=f"{paths.LOGIN}?rd={_way_back(target)}",
        headers=(_BASIC_CHALLENGE if basic else _CHALLENGE, *extra),
        route=route,
    )
