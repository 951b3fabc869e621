"""The cookie by which a browser is known at later logins. It holds the core's note as it is.

It is sent to pages of ours alone, so that no application sees it; what it means the core knows.
"""

from starlette.requests import Request

from doorward import paths
from doorward.gate.cookies import MAX_AGE_LIMIT_S, Cookies, Header, cookie_of

NAME = "browser"  # beside the session cookie's


def note_of(request: Request, cookies: Cookies) -> str | None:
    return cookie_of(request.headers.raw, cookies.beside(NAME))


def note_line(note: str, age_s: float, cookies: Cookies) -> Header:
    """The Set-Cookie line. Strict: it is wanted when our own form is posted, and nowhere else."""
    age = min(int(age_s), MAX_AGE_LIMIT_S)
    line = f"{cookies.beside(NAME)}={note}; Max-Age={age}; Path={paths.PREFIX}"
    line += "; HttpOnly; SameSite=Strict" + ("; Secure" if cookies.secure else "")
    return b"set-cookie", line.encode()
