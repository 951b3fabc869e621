"""Headers that a route adds to its answers if the application does not set them.

Knows names and the headers of an answer; must not know the connection. Whatever is the same for
every answer is built once per route.
"""

from collections.abc import Iterable
from math import isfinite

from doorward.accounts.sessions.sessions import Session
from doorward.http1.headers import Header
from doorward.http1.response_head import ResponseHead
from doorward.settings import Route, SecurityHeaders

# A stored answer may have the application's own policy, and a client that gets NOT_MODIFIED applies
# that answer's headers to it (RFC 9111 3.2): the policy would be replaced by Doorward's.
NOT_MODIFIED = 304

EXPIRES_IN = b"x-doorward-session-expires-in"  # seconds

_POLICY = b"content-security-policy"
_FRAME_OPTIONS = b"x-frame-options"
_ANCESTORS = b"frame-ancestors"
# RFC 7034 2.1, and the same in Content Security Policy 3 6.4.2.
_FRAMES = {"same-origin": (b"SAMEORIGIN", b"'self'"), "deny": (b"DENY", b"'none'")}


class AddedHeaders:
    """The headers that one route adds: missing `security` headers, and the session's remaining
    time."""

    def __init__(self, security: SecurityHeaders | None, *, tells_expiry: bool = False) -> None:
        self._tells_expiry = tells_expiry
        self._hsts: Header | None = None
        self._plain: tuple[Header, ...] = ()
        self._policy: bytes | None = None
        self._frame: tuple[bytes, bytes] | None = None
        if security is not None:
            self._take(security)

    def _take(self, security: SecurityHeaders) -> None:
        if security.hsts is not None:
            age = b"max-age=%d" % security.hsts.total_seconds()
            self._hsts = (b"strict-transport-security", age)
        self._plain = tuple(_list_plain(security))
        if security.csp is not None:
            self._policy = security.csp.encode()
        if security.frame is not None:
            self._frame = _FRAMES[security.frame]

    def complete(self, head: ResponseHead, *, secure: bool) -> ResponseHead:
        """The head with missing headers added. `secure`: the client uses https."""
        missing = self._find_missing(head.text.lower(), head.status, secure)
        head.text += b"".join([b"%b: %b\r\n" % line for line in missing])
        return head

    def missing(self, headers: Iterable[Header], status: int, *, secure: bool) -> list[Header]:
        """The headers that an answer lacks."""
        said = b"".join([b"\r\n%b: %b" % (name, value) for name, value in headers])
        return self._find_missing(said.lower() + b"\r\n", status, secure)

    def expiry(self, session: Session | None, private: bool, now: float) -> list[Header]:
        """The header with the time that the session lasts if it is not used, for answers to that
        session only. Empty for a session that never expires."""
        if not self._tells_expiry or session is None or not private:
            return []
        ends_at = session.ends_at()
        if not isfinite(ends_at):
            return []
        return [(EXPIRES_IN, b"%d" % max(0, ends_at - now))]

    def _find_missing(self, said: bytes, status: int, secure: bool) -> list[Header]:
        """`said`: lines in lower case, each after a line break."""
        found = []
        if secure and self._hsts is not None and not _has(said, self._hsts[0]):
            found.append(self._hsts)
        if status == NOT_MODIFIED:
            return found
        found += [line for line in self._plain if not _has(said, line[0])]
        said_policies = policies = _list_policies(said)
        if self._policy is not None and not policies:
            found.append((_POLICY, self._policy))
            policies = [self._policy.lower()]
        # Two headers for one purpose: browsers that support frame-ancestors ignore X-Frame-Options.
        is_said = _has(said, _FRAME_OPTIONS) or any(map(_names_ancestors, said_policies))
        if self._frame is not None and not is_said:
            options, ancestors = self._frame
            found.append((_FRAME_OPTIONS, options))
            if not any(map(_names_ancestors, policies)):  # browsers enforce all policies together
                found.append((_POLICY, b"%b %b" % (_ANCESTORS, ancestors)))
        return found


def build_added_headers(route: Route) -> AddedHeaders | None:
    """The headers that a route adds, or None."""
    if route.security_headers is None and not route.session_expires:
        return None
    return AddedHeaders(route.security_headers, tells_expiry=route.session_expires)


def _list_plain(security: SecurityHeaders) -> Iterable[Header]:
    """Headers that are added unless the answer has one of the same name."""
    if security.nosniff:
        yield b"x-content-type-options", b"nosniff"
    if security.referrer is not None:
        yield b"referrer-policy", security.referrer.encode()


def _has(said: bytes, name: bytes) -> bool:
    return b"\r\n%b:" % name in said


def _list_policies(said: bytes) -> list[bytes]:
    """The policies that browsers enforce; those that are only reported have another name."""
    _, *rest = said.split(b"\r\n%b:" % _POLICY)
    lines = [each.partition(b"\r\n")[0] for each in rest]
    return [policy for line in lines for policy in line.split(b",")]


def _names_ancestors(policy: bytes) -> bool:
    return any(part.split()[:1] == [_ANCESTORS] for part in policy.split(b";"))
