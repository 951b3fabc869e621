"""The headers that identify the user to an application: each sent once, with safe values.

Knows users' attributes; must not know how a session was found.
"""

import base64
import re
from collections.abc import Callable, Iterable

import structlog

from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.identity_policy import UnfitIdentity
from doorward.settings.identity import LINES, IdentityHeader

_log = structlog.get_logger("doorward.gate")

# Maximum bytes of a header's value: common servers limit lines (nginx's
# large_client_header_buffers, Apache's LimitRequestFieldSize). Cutting a list would silently remove
# groups.
VALUE_BYTES = 8 * 1024
ASSERTION = "X-Doorward-Assertion"

# Two tables, so that a value of one session cannot be cached for all sessions of its user.
_OF_USER: dict[str, Callable[[User], tuple[str, ...]]] = {
    "username": lambda user: (user.username,),
    "name": lambda user: (user.name or "",),
    "email": lambda user: (user.email or "",),
    "groups": lambda user: user.groups,
    "roles": lambda user: user.roles,
    "id": lambda user: (user.id,),
}
_OF_SESSION: dict[str, Callable[[Session], tuple[str, ...]]] = {
    "session": lambda session: (session.id,),
    "level": lambda session: (
        "authenticated" if session.second_factor_at is None else "two_factor",
    ),
    "auth_time": lambda session: (str(int(session.created_at)),),
}


def _percent(value: str) -> bytes:
    """Visible ASCII unchanged; every other byte of the UTF-8, and `%`, percent-encoded.

    `%` too, because a user named `%C3%A9` must not look like the user named `é`.
    """
    return b"".join(
        b"%c" % byte if 0x20 <= byte < 0x7F and byte != 0x25 else b"%%%02X" % byte
        for byte in value.encode("utf-8", "surrogatepass")
    )


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _utf_8(value: str) -> bytes:
    if _CONTROL.search(value):
        raise UnfitIdentity("contains a control character")
    return value.encode()


# RFC 2047 2: a word has at most 75 characters and contains whole characters.
_WORD_BYTES = 45


def _rfc2047(value: str) -> bytes:
    """ASCII unchanged, unless it looks encoded; anything else in encoded words of RFC 2047."""
    raw = _utf_8(value)
    if value.isascii() and "=?" not in value:
        return raw
    words, word = [], b""
    for character in value:
        encoded = character.encode()
        if len(word) + len(encoded) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    return b" ".join([b"=?utf-8?B?%b?=" % base64.b64encode(each) for each in (*words, word)])


def _refuse(value: str) -> bytes:
    if not value.isascii():
        raise UnfitIdentity("is not ASCII, as this route requires")
    return _utf_8(value)


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "percent": _percent,
    "utf-8": _utf_8,
    "rfc2047": _rfc2047,
    "refuse": _refuse,
}


class IdentityHeaders:
    """The identity headers of one route, computed once for each user, or for each session if one of
    them depends on that."""

    def __init__(self, headers: Iterable[IdentityHeader], encoding: str) -> None:
        self._headers = tuple(headers)
        self._encode = ENCODINGS[encoding]
        self._is_of_session = any(header.value in _OF_SESSION for header in self._headers)

    def __call__(self, session: Session, now: float) -> bytes:
        """The header lines. Empty values are omitted, so that an application cannot take one for a
        name. Raises UnfitIdentity for a value that cannot be sent, and logs which."""
        derived = session.derived if self._is_of_session else session.user.derived
        known = derived.get(self)
        if isinstance(known, bytes):
            return known
        lines = b"".join(self._lines(header, session) for header in self._headers)
        derived[self] = lines
        return lines

    def _lines(self, header: IdentityHeader, session: Session) -> bytes:
        try:
            values = [self._value(each) for each in _list_values(header, session)]
        except UnfitIdentity as unfit:
            user = session.user.username
            _log.warning("identity_unfit", user=user, header=header.header, reason=str(unfit))
            raise
        name = header.header.encode()
        return b"".join([b"%b: %b\r\n" % (name, value) for value in values if value])

    def _value(self, text: str) -> bytes:
        value = self._encode(text).strip(b" ")
        if len(value) > VALUE_BYTES:
            raise UnfitIdentity(f"is longer than {VALUE_BYTES} bytes")
        return value


def _list_values(header: IdentityHeader, session: Session) -> tuple[str, ...]:
    """The values of a header, one per line."""
    if (of_user := _OF_USER.get(header.value)) is not None:
        values = of_user(session.user)
    elif (of_session := _OF_SESSION.get(header.value)) is not None:
        values = of_session(session)
    else:
        return (header.value,)
    if not header.is_list or header.delimiter == LINES:
        return values
    if inside := next((value for value in values if header.delimiter in value), None):
        raise UnfitIdentity(f"{inside!r} contains the delimiter {header.delimiter!r}")
    return (header.delimiter.join(values),)
