"""The pure-Python twin of `_heads.pyx`: the same verdicts and the same fields, more slowly.

Knows bytes of heads; names come from `Actions`. See `heads.py`.
"""

from typing import Generic, TypeVar

from doorward.header_names import forget_with
from doorward.http1 import head_tables as tables
from doorward.http1.head_tables import Actions
from doorward.http1.headers import OWS, Header

# As variables of this module they are found at once.
_PASS, _DROP, _CONNECTION = tables.PASS, tables.DROP, tables.CONNECTION
_CONTENT_LENGTH, _TRANSFER_ENCODING = tables.CONTENT_LENGTH, tables.TRANSFER_ENCODING
_ONCE, _ONCE_END = tables.ONCE, tables.ONCE + tables.ONCE_NAMES
_HOST, _COOKIE, _PAIR, _TE = tables.HOST, tables.COOKIE, tables.PAIR, tables.TE
_REQUEST_ID = tables.REQUEST_ID
_SET_COOKIE, _CACHE_CONTROL = tables.SET_COOKIE, tables.CACHE_CONTROL
_SHARED_CACHES, _KEEP_ALIVE = tables.SHARED_CACHES, tables.KEEP_ALIVE
_DATE, _EXPIRES = tables.DATE, tables.EXPIRES

# What may come in several lines, each of which counts: a field for each.
_SEVERAL = {
    tables.AUTHORIZATION: "authorizations",
    tables.FORWARDED: "forwarded",
    tables.FORWARDED_FOR: "forwarded_for",
    tables.FORWARDED_PROTO: "forwarded_proto",
    tables.FORWARDED_HOST: "forwarded_host",
    tables.FORWARDED_PORT: "forwarded_port",
    tables.FORWARDED_PREFIX: "forwarded_prefix",
}
# Of an answer's, those of which two would say two things.
_SINGLE = frozenset((_CONNECTION, _CONTENT_LENGTH, _TRANSFER_ENCODING, _KEEP_ALIVE, _EXPIRES))
# What Connection may say; anything else names headers, or asks for another protocol.
_OPTIONS = frozenset((b"keep-alive", b"close"))


class RequestFields:
    """What a request head says, as far as it differs from these."""

    method = target = text = passing_text = host = b""
    keep_alive = True
    has_body = chunked = trailers = False
    content_length: bytes | None = None
    request_id: bytes | None = None
    cookies: tuple[bytes, ...] = ()
    authorizations: tuple[bytes, ...] = ()
    pairs: tuple[Header, ...] = ()
    forwarded: tuple[bytes, ...] = ()
    forwarded_for: tuple[bytes, ...] = ()
    forwarded_proto: tuple[bytes, ...] = ()
    forwarded_host: tuple[bytes, ...] = ()
    forwarded_port: tuple[bytes, ...] = ()
    forwarded_prefix: tuple[bytes, ...] = ()


class AnswerFields:
    """What the head of an answer says, as far as it differs from these."""

    status = 0
    text = passing_text = b""
    keep_alive = True
    chunked = is_dated = False
    length = -1
    kept: bytes | None = None
    set_cookies: tuple[bytes, ...] = ()
    cache_control: bytes | None = None
    expires_at = expires_end = 0


_Request = TypeVar("_Request", bound=RequestFields)
_Answer = TypeVar("_Answer", bound=AnswerFields)

# An action, what the line begins with where it continues (including the end of the previous line),
# and the line's value.
_Line = tuple[int, bytes, bytes]


class _Names:
    """Actions by names as they are spelled, with the beginning of a line of that name. `passing`
    has the beginnings alone, of those that pass whatever else there is."""

    def __init__(self, actions: Actions, *, lowers: bool) -> None:
        self._actions = actions
        self._lowers = lowers
        self.known: dict[bytes, tuple[int, bytes]] = {}
        self.passing: dict[bytes, bytes] = {}
        forget_with(self._forget)

    def _forget(self) -> None:
        self.known.clear()
        self.passing.clear()

    def read(self, line: bytes) -> _Line | None:
        """Read a header line; None if it is not plain."""
        name, colon, raw = line.partition(b":")
        value = raw.strip(OWS)
        known = self.known.get(name) or self._learn(name)
        if known is None or not colon or not raw.endswith(value):
            return None
        return (*known, value)

    def is_single(self, begin: bytes) -> bool:
        """Whether this is the beginning of a line of which there may be one."""
        return _ONCE <= self._actions.find(begin[2:-2]) < _ONCE_END

    def _learn(self, name: bytes) -> tuple[int, bytes] | None:
        """None for what is no name, or too long a one."""
        if not 0 < len(name) <= tables.NAME_BYTES or name.translate(None, tables.TOKEN_BYTES):
            return None
        if len(self.known) >= tables.LEARNT:
            self._forget()
        lowered = name.lower()
        begin = b"\r\n%b: " % (lowered if self._lowers else name)
        known = self.known[name] = self._actions.find(lowered), begin
        if known[0] == _PASS or _ONCE <= known[0] < _ONCE_END:
            self.passing[name] = begin
        return known


def _whole(data: bytes | bytearray, start: int, head_bytes: int) -> bytes:
    """The head at `start` up to and including the empty line; empty if it is not whole."""
    most = max(0, min(head_bytes, tables.HEAD_BYTES))
    end = -1 if start < 0 else data.find(b"\r\n\r\n", start, start + most)
    return b"" if end < 0 else bytes(data[start : end + 4])


def _split_lines(text: bytes, most: int) -> list[bytes]:
    """The first line and the header lines of a head; empty if there are too many, or a byte that
    may stand in none of them, so for a CR or LF that is no end of a line."""
    lines = text[:-4].split(b"\r\n")
    if len(lines) > min(most, tables.LINES) + 1:
        return []
    left = text.translate(None, tables.VALUE_BYTES)
    return lines if left == b"\r\n" * (len(lines) + 1) else []


def _is_length(value: bytes) -> bool:
    """Whether it is a body's length, written in the one usual way."""
    if not value.isdigit() or len(value) > tables.LENGTH_DIGITS:
        return False
    return value[:1] != b"0" or value == b"0"


class RequestReader(Generic[_Request]):
    """Reads heads of requests into objects of the type `head`."""

    def __init__(self, actions: Actions, head: type[_Request]) -> None:
        self._names = _Names(actions, lowers=True)
        self._head = head

    def read(
        self,
        data: bytes | bytearray,
        start: int = 0,
        head_bytes: int = tables.HEAD_BYTES,
        target_bytes: int = tables.REQUEST_TARGET_BYTES,
        lines: int = tables.LINES,
    ) -> _Request | None:
        text = _whole(data, start, head_bytes)
        first, *rest = _split_lines(text, lines) or (b"",)
        method, _, behind = first.partition(b" ")
        target, _, version = behind.partition(b" ")
        if version != b"HTTP/1.1" or method not in tables.METHODS or len(target) > target_bytes:
            return None
        if target[:1] != b"/" or target.translate(None, tables.TARGET_BYTES):
            return None
        head = self._head()
        head.method, head.target, head.text = method, target, text
        return head if _sort_request(head, rest, self._names) else None


def _sort_request(head: RequestFields, lines: list[bytes], names: _Names) -> bool:
    """Keep what the gate reads and join what passes. False for what is unusual."""
    passing: list[bytes] = []
    seen, passes, others = 0, names.passing.get, names.known.get
    for line in lines:
        name, _, value = line.partition(b": ")
        begin = passes(name)
        # `strip` returns what it was given if nothing has to be removed.
        is_plain = value and value.strip(OWS) is value
        if begin is not None and is_plain:
            passing += (begin, value)
            continue
        known = others(name) if is_plain else None
        found = names.read(line) if known is None else (*known, value)
        if found is None:
            return False
        action, begin, value = found
        if action == _PASS or _ONCE <= action < _ONCE_END:
            passing += (begin, value)
        elif action == _COOKIE:
            head.cookies += (value,)
        elif action == _DROP:
            continue
        elif action in _SEVERAL:
            field = _SEVERAL[action]
            setattr(head, field, (*getattr(head, field), value))
        elif action == _PAIR:
            head.pairs += ((begin[2:-2], value),)
        elif seen >> action & 1 and action != _TE:
            return False
        elif not _keep_single(head, action, value):
            return False
        seen |= 1 << action
    if passing:
        head.passing_text = b"".join(passing)[2:] + b"\r\n"
        begins = passing[::2]
        if len(set(begins)) < len(begins) and _has_two(begins, names):
            return False
    head.has_body = head.chunked or head.content_length not in (None, b"0")
    return bool(head.host) and not (head.chunked and head.content_length is not None)


def _has_two(begins: list[bytes], names: _Names) -> bool:
    """Whether there are two lines of a name of which there may be one."""
    return any(begins.count(begin) > 1 and names.is_single(begin) for begin in set(begins))


def _keep_single(head: RequestFields, action: int, value: bytes) -> bool:
    """Keep what stands in one line. False for what is unusual."""
    if action == _HOST:
        head.host = value
        return value != b""
    if action == _CONNECTION:
        head.keep_alive = value.lower() != b"close"
        return value.lower() in _OPTIONS
    if action == _CONTENT_LENGTH:
        head.content_length = value
        return _is_length(value)
    if action == _TRANSFER_ENCODING:
        head.chunked = True
        return value.lower() == b"chunked"
    if action == _REQUEST_ID:
        head.request_id = value
        return True
    head.trailers = action == _TE
    return head.trailers and value.lower() == b"trailers"


class AnswerReader(Generic[_Answer]):
    """Reads heads of answers into objects of the type `head`."""

    def __init__(self, actions: Actions, head: type[_Answer]) -> None:
        self._names = _Names(actions, lowers=False)
        self._head = head

    def read(
        self,
        data: bytes | bytearray,
        start: int = 0,
        private: bool = False,
        head_bytes: int = tables.HEAD_BYTES,
        lines: int = tables.LINES,
    ) -> _Answer | None:
        text = _whole(data, start, head_bytes)
        first, *rest = _split_lines(text, lines) or (b"",)
        digits = first[9:12]
        if first[:9] != b"HTTP/1.1 " or first[12:13] != b" " or not digits.isdigit():
            return None
        head = self._head()
        head.text, head.status = text, int(digits)
        if not 200 <= head.status < 600:
            return None
        is_plain = _sort_answer(head, rest, self._names, private) and _find_end(head)
        return head if is_plain else None


def _sort_answer(head: AnswerFields, lines: list[bytes], names: _Names, private: bool) -> bool:
    """Keep what connections and the gate read, and join what passes. False for what is unusual."""
    passing: list[bytes] = []
    seen, passes, others = 0, names.passing.get, names.known.get
    for line in lines:
        name, _, value = line.partition(b": ")
        begin = passes(name)
        is_plain = value and value.strip(OWS) is value
        if begin is not None and is_plain:
            passing += (begin, value)
            continue
        known = others(name) if is_plain else None
        found = names.read(line) if known is None else (*known, value)
        if found is None:
            return False
        action, begin, value = found
        if action != _PASS:
            if seen >> action & 1 and action in _SINGLE:
                return False
            seen |= 1 << action
            goes_on = _keep(head, action, value, private)
            if goes_on is None:
                return False
            if not goes_on:
                continue
            if action == _EXPIRES:
                head.expires_at = sum(map(len, passing))
                head.expires_end = head.expires_at + len(begin) + len(value)
        passing += (begin, value)
    if passing:
        head.passing_text = b"".join(passing)[2:] + b"\r\n"
    return True


def _keep(head: AnswerFields, action: int, value: bytes, private: bool) -> bool | None:
    """Whether the line passes; None for what is unusual."""
    if action == _DROP:
        return False
    if action == _DATE:
        head.is_dated = True
    elif action == _SET_COOKIE:
        head.set_cookies += (value,)
    elif action == _CONTENT_LENGTH:
        if not _is_length(value):
            return None
        head.length = int(value)
    elif action == _CACHE_CONTROL:
        if private:
            before = head.cache_control
            head.cache_control = value if before is None else before + b"," + value
        return not private
    elif action == _SHARED_CACHES:
        return not private
    elif action == _KEEP_ALIVE:
        head.kept = value
        return False
    elif action == _CONNECTION:
        head.keep_alive = value.lower() != b"close"
        return False if value.lower() in _OPTIONS else None
    elif action == _TRANSFER_ENCODING:
        head.chunked = True
        return False if value.lower() == b"chunked" else None
    elif action != _EXPIRES:
        return None
    return True


def _find_end(head: AnswerFields) -> bool:
    """Say what happens to the connection (RFC 9112 6.3, 9.3). False for contradictions."""
    bodiless = head.status in (204, 304)
    if head.chunked and (head.length >= 0 or bodiless):
        return False
    if head.status == 204 and head.length >= 0:
        return False
    head.keep_alive = head.keep_alive and (head.chunked or head.length >= 0 or bodiless)
    return True
