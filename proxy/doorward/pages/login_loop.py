"""Detects logins that do not last, because the browser comes straight back to the login page. Stops
the loop, and lists the possible causes.

Knows causes and how a request shows them; must not know rules or passwords.
"""

from dataclasses import dataclass

from starlette.requests import Request

from doorward import paths
from doorward.web.endpoint import get_client, referer
from doorward.web.session_service import SessionService

# Set when an unfinished login expired, or a form of the account found no session.
EXPLAINED = "expired"


@dataclass(frozen=True, slots=True)
class Causes:
    """The causes that this request shows; the page lists the others as possible."""

    doubled: bool  # several cookies with Doorward's name
    insecure: bool  # the cookie is Secure, and the page was requested over http
    public_url: str | None  # the right address, if the user is at another one
    kept_none: bool  # the request has no session cookie
    refused: bool  # the request has a cookie without a session


def is_login_loop(request: Request) -> bool:
    """Whether the login page was requested straight after its own form was posted. Browsers keep a
    form's Referer across the redirects that follow (Fetch 4.4)."""
    if EXPLAINED in request.query_params or "again" in request.query_params:
        return False
    came_from = referer(request)
    return came_from.netloc.lower() == get_client(request).host and came_from.path in (
        paths.LOGIN,
        paths.SECOND_FACTOR,
    )


def find_causes(service: SessionService, request: Request) -> Causes:
    client, count = get_client(request), service.cookie.count(request)
    origin = service.settings.public_origin
    return Causes(
        doubled=count > 1,
        insecure=service.settings.secure_cookies and client.scheme != "https",
        public_url=None if origin.partition("://")[2] == client.host else origin,
        kept_none=count == 0,
        refused=count == 1,
    )
