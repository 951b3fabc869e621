"""Access tokens in requests: distinguished from the application's own, and the sessions they belong
to.

Knows bytes of a query and of a header value; must not know rules, routes or which requests may have
tokens.
"""

import re
from urllib.parse import unquote_plus, unquote_to_bytes

from doorward.accounts.sessions.access import AccessSecrets
from doorward.accounts.sessions.access_token import HEADER, AccessToken
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import FULL, Found, Session

PARAMETER = "token"
# The parameter's name, with any of its characters percent-encoded.
_NAMED = re.compile(rb"(?:t|%74)(?:o|%6[Ff])(?:k|%6[Bb])(?:e|%65)(?:n|%6[Ee])=")
# Applications that follow HTML 4.01 (B.2.2) read `;` as `&`.
_SEPARATORS = re.compile(rb"([&;])")
# Its value in the form that Doorward and its clients write.
_WRITTEN = b"=" + HEADER
_OVER = Found(None, known=True)
_BEARER = re.compile(rb"bearer +([^ ]+) *", re.IGNORECASE)  # RFC 6750 2.1


def get_credential(token: AccessToken) -> bytes:
    """The cache key for every access token of a session. It contains a semicolon, which ends a
    cookie's value and occurs in no token, so no client can send it: the id alone proves nothing."""
    return b";access " + token.session.encode()


class AccessCarrier:
    """The access tokens of the dialect that issues them. An expired one still counts as
    Doorward's."""

    __slots__ = ("_access", "_live")

    def __init__(self, live: Live, access: AccessSecrets) -> None:
        self._live = live
        self._access = access

    def take(self, target: bytes) -> tuple[bytes, AccessToken | None]:
        """A request target without Doorward's tokens in its query, and the last of those tokens.

        A target without one is returned unchanged; other parameters stay byte for byte.
        """
        path, _, query = target.partition(b"?")
        if _NAMED.search(query) is None:
            return target, None
        found: AccessToken | None = None
        kept: list[bytes] = []
        parts = _SEPARATORS.split(query)
        for separator, pair in zip([b"", *parts[1::2]], parts[::2], strict=True):
            token = self._in_pair(pair)
            if token is not None:
                found = token
            else:
                kept.append(separator + pair if kept else pair)
        if found is None:
            return target, None
        rest = b"".join(kept)
        return (path + b"?" + rest if rest else path), found

    def take_repeated(self, text: bytes) -> bytes:
        """Header lines without Doorward's tokens in the addresses that they contain.

        Browsers and scripts repeat the address of their page, in Referer and others, as it was
        written.
        """
        if _WRITTEN not in text:
            return text
        return b"\r\n".join(map(self._take_from_line, text.split(b"\r\n")))

    def _take_from_line(self, line: bytes) -> bytes:
        address, mark, fragment = line.partition(b"#")
        return self.take(address)[0] + mark + fragment

    def _in_pair(self, pair: bytes) -> AccessToken | None:
        name, _, value = pair.partition(b"=")
        if unquote_plus(name.decode("latin-1")) != PARAMETER:
            return None
        return self._access.tokens.read(unquote_to_bytes(value))

    def in_bearer(self, line: bytes) -> AccessToken | None:
        """Doorward's token in an Authorization value, if it is one."""
        found = _BEARER.fullmatch(line)
        return None if found is None else self._access.tokens.read(found[1])

    def opens(self, token: AccessToken, session: Session, now: float) -> bool:
        """Whether the token is valid for this session, of which it has the id. One that was issued
        before a change to the account is not."""
        return (
            token.is_due(now)
            and session.level is FULL
            and session.user.number == token.user
            and session.renewals == token.renewals
        )

    async def find(self, token: AccessToken, now: float) -> Found:
        """The complete, live session of the token; None if the session has ended or the token has
        expired.

        Raises StorageUnavailable.
        """
        if not token.is_due(now):
            return _OVER
        credential = get_credential(token)
        session = self._live.peek(credential, now)
        if session is None:
            found = await self._live.find_by(
                credential, lambda: self._access.by_id(token.session, now), now
            )
            if found.session is None:
                return found
            session = found.session
        return Found(session, known=True) if self.opens(token, session, now) else _OVER
