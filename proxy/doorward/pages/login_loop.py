"""A login that did not last: the browser comes straight back from it. The loop stops here, and the
page says why that can be.

Knows causes and how a request shows them; it must not know rules or passwords.
"""

from dataclasses import dataclass

from starlette.requests import Request

from doorward import paths
from doorward.web.endpoint import get_client, referer
from doorward.web.session_service import SessionService

# Set when a half-done login ran out, or a form of the account found no session.
EXPLAINED = "expired"


@dataclass(frozen=True, slots=True)
class Causes:
    """What this request says of why; the page names the rest as possible."""

    doubled: bool  # several cookies of our name
    insecure: bool  # a Secure cookie, and the page was asked for over http
    public_url: str | None  # where people should be, when they are elsewhere
    kept_none: bool  # no session cookie came along
    refused: bool  # one came, and no session is behind it


def is_login_loop(request: Request) -> bool:
    """Whether the login page was asked for straight after its own form was posted. Browsers keep
    the Referer of a form over the redirects that follow it (Fetch 4.4)."""
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
