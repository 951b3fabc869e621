"""The headers that a refusal's status requires, for pages and dialects.

Knows statuses; must not know why something is refused.
"""

from starlette.responses import Response

from doorward.gate.cookies import Header

# RFC 9110 15.5.2: a 401 names a scheme. This one opens no dialog in a browser.
CHALLENGE: Header = (b"www-authenticate", b'Bearer realm="doorward"')
# Seconds; by then a full queue of password hashes is done.
RETRY_LATER: Header = (b"retry-after", b"5")


def refusal_headers(status: int, wait_s: int | None = None) -> list[Header]:
    """The challenge of a 401; Retry-After if the wait is known, and for every 503."""
    challenge = [CHALLENGE] if status == 401 else []
    if wait_s is not None:
        return [*challenge, (b"retry-after", b"%d" % wait_s)]
    return [*challenge, RETRY_LATER] if status == 503 else challenge


def set_retry_after(response: Response, wait_s: int | None) -> None:
    """Replaces Retry-After (RFC 9110 10.2.3) if the wait is known."""
    if wait_s is not None:
        response.headers["retry-after"] = str(wait_s)
