"""What the gate decides: forward the request to a route, or refuse it with an answer.

Values only; `rewrite` makes the bytes that follow from them, and `relay` carries these.
"""

import re
from dataclasses import dataclass

from doorward import paths
from doorward.accounts.refusals import LockedOut, Overloaded, StorageUnavailable
from doorward.accounts.sessions.sessions import Session
from doorward.gate.cookies import Header
from doorward.observe.observer import NO_ROUTE

UNAUTHENTICATED = "unauthenticated"
MAX_AGE = "max_age"  # in the query of the page for codes: how old the last one may be, in seconds
MOVED = 308


@dataclass(slots=True)  # made for every request: not frozen, which would cost a microsecond
class Forward:
    """Send the request to the upstream of route number `route`.

    `session` is the one that it was decided with, None for nobody; `identity` are the header lines
    that tell the application of it. `private`: the answer is for that session alone. `binds`:
    the request authenticates the connection that it goes over. `keeps`: what passes as well,
    because it turned out not to be ours. `credentials`: those of the route go with it.
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
    """What of a request's headers an application gets that is Doorward's as a rule: a Bearer, the
    pair X-User-Id and X-Auth-Token, and headers that ask for another method."""

    bearer: bool
    pair: bool
    overrides: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """An answer of our own. `login`: a person may help themselves at that address. `switch`: so may
    another user than this one. `home`: the start page of this host can be opened."""

    status: int
    code: str
    message: str
    login: str | None = None
    headers: tuple[Header, ...] = ()
    route: int = NO_ROUTE  # the one that the request was for, where that was known
    switch: str | None = None
    home: bool = False
    max_age_s: float | None = None  # how old a second factor may be, where it has to be given again

    def on(self, route: int) -> "Refuse":
        """The same for a request to this route; a third of what `replace` takes."""
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
    return Refuse(400, "bad_request", f"This request cannot be read in one way only: {reason}.")


def misdirected() -> Refuse:
    return Refuse(421, "misdirected_request", "No application is served here under this host name.")


def unknown_expectation() -> Refuse:
    return Refuse(417, "expectation_failed", "Nobody here meets the expectation of this request.")


def too_large() -> Refuse:
    return Refuse(413, "content_too_large", "This is more than may be sent here at once.")


METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def last_hop(method: bytes) -> Refuse:
    """What a request gets that wanted to come no further than here."""
    status = 200 if method == b"OPTIONS" else 405
    return Refuse(status, "last_hop", "This request ends here.", headers=((b"allow", METHODS),))


def unfit_identity() -> Refuse:
    """Better none than a user of whom the application gets half."""
    message = "The application cannot be told who you are; the log has the reason."
    return Refuse(500, "unfit_identity", message)


def cross_origin() -> Refuse:
    return Refuse(403, "cross_origin", "Only pages of this site itself may open this.")


def moved(target: bytes) -> Refuse:
    """Elsewhere on this host, for good and with the same method (RFC 9110 15.4.9)."""
    headers = ((b"location", target), (b"cache-control", b"no-store"))
    return Refuse(MOVED, "moved", "This is at another address.", headers=headers)


def other_server() -> Refuse:
    """RFC 4918 9.8.5."""
    return Refuse(502, "other_server", "This request names a resource of another server.")


def too_many_tunnels() -> Refuse:
    return Refuse(
        503,
        "too_many_tunnels",
        "Too many lasting connections are open; try again later.",
        headers=((b"retry-after", b"10"),),
    )


def unavailable() -> Refuse:
    """Whose session it is is unknown now. Not a 401: programs throw their tokens away then."""
    return Refuse(503, StorageUnavailable.code, StorageUnavailable.message)


def not_found(home: bool) -> Refuse:
    return Refuse(404, "not_found", "No application is served under this address.", home=home)


def broken() -> Refuse:
    return Refuse(500, "internal_error", "Something went wrong here; it was logged.")


def forbidden(target: bytes, home: bool) -> Refuse:
    """Somebody who may not; the login leads another user to `target`."""
    return Refuse(
        403,
        "forbidden",
        "You are logged in, but you do not have access to this.",
        switch=f"{paths.LOGIN}?another=1&rd={_way_back(target)}",
        home=home,
    )


def overloaded() -> Refuse:
    """Too many passwords wait to be hashed."""
    return Refuse(503, Overloaded.code, Overloaded.message, headers=((b"retry-after", b"5"),))


def locked_out(wait_s: int) -> Refuse:
    """Too many wrong tokens or passwords came from there."""
    headers = ((b"retry-after", b"%d" % wait_s),)
    return Refuse(429, LockedOut.code, LockedOut.message, headers=headers)


def beyond_token() -> Refuse:
    """A token that is not for this, whatever its user may open."""
    return Refuse(403, "forbidden", "This token does not open this.")


def denied(home: bool) -> Refuse:
    """What no user may open."""
    return Refuse(403, "forbidden", "This is closed to everyone.", home=home)


def second_factor_required(target: bytes, max_age_s: float | None = None) -> Refuse:
    """Somebody who may help themselves with a code, and is led back to `target` then. `max_age_s`:
    how old one may be, where it has to be given again (RFC 9470 3)."""
    login = f"{paths.SECOND_FACTOR}?rd={_way_back(target)}"
    challenge = b'Bearer realm="doorward"'
    if max_age_s is not None:
        login += f"&{MAX_AGE}={max_age_s:.0f}"
        challenge += b', error="insufficient_user_authentication", max_age="%.0f"' % max_age_s
    return Refuse(
        401,
        "second_factor_required",
        "This needs a second factor.",
        login=login,
        headers=((b"www-authenticate", challenge),),
        max_age_s=max_age_s,
    )


def conflicting() -> Refuse:
    return Refuse(
        401,
        "conflicting_credentials",
        "This request has the credentials of two different users.",
        headers=((b"www-authenticate", b'Bearer realm="doorward"'),),
    )


_QUOTED = re.compile(rb"[^A-Za-z0-9_.\-/~!*'()]")
_ENCODED = {byte: b"%%%02X" % byte for byte in range(256)}


def _way_back(target: bytes) -> str:
    """The target as the value of a query's parameter."""
    return _QUOTED.sub(lambda match: _ENCODED[match[0][0]], target).decode("ascii")


# RFC 7617 2.1. A browser asks for a password itself then, also where a script sent the request.
_BASIC_CHALLENGE: Header = (b"www-authenticate", b'Basic realm="doorward", charset="UTF-8"')
_CHALLENGE: Header = (b"www-authenticate", b'Bearer realm="doorward"')


def unauthenticated(
    target: bytes, extra: tuple[Header, ...] = (), route: int = NO_ROUTE, *, basic: bool = False
) -> Refuse:
    """Nobody, where somebody is needed; the login page leads back to `target`. `basic`: a program
    is asked for name and password."""
    return Refuse(
        401,
        UNAUTHENTICATED,
        "You need to log in to open this.",
        login=f"{paths.LOGIN}?rd={_way_back(target)}",
        headers=(_BASIC_CHALLENGE if basic else _CHALLENGE, *extra),
        route=route,
    )
