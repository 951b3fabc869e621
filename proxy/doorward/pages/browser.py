"""The cookie that identifies a known browser at later logins. It contains a value made by the core.

Browsers send it only to Doorward's pages, so no application sees it. The core knows what it means.
"""

from starlette.requests import Request

from doorward.gate.cookies import Cookies, Header, read_cookie
from doorward.web.session_cookie import page_cookie

NAME = "browser"  # appended to the session cookie's name


def get_note(request: Request, cookies: Cookies) -> str | None:
    return read_cookie(request.headers.raw, cookies.companion_name(NAME))


def note_line(note: str, age_s: float, cookies: Cookies) -> Header:
    """The Set-Cookie line. Strict: it is needed only when Doorward's own form is posted."""
    return page_cookie(
        cookies.companion_name(NAME),
        note,
        same_site="Strict",
        secure=cookies.secure,
        max_age_s=age_s,
    )
